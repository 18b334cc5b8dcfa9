"""Run folders: what a run leaves, and how later commands find it. Imports no torch."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from fashion_transfer.errors import FashionTransferError

METRICS = "metrics.json"
BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"


def write_text(path: Path, text: str) -> None:
    """Writes a file, which is there whole or not at all."""
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text)
    scratch.replace(path)


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Writes `metrics.json`, one flat object; that it is there says the run has finished."""
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")


@contextmanager
def interruptible(trainer: Any, hint: Callable[[], str] = str) -> Iterator[None]:
    """Lets Ctrl-C be a KeyboardInterrupt: Lightning ends the process on it.

    Args:
        trainer: the `lightning.Trainer` at work.
        hint: what to tell the user who pressed it.
    """
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt(hint()) from None


def run_lock(folder: Path) -> FileLock:
    """Held while a run is under way; the operating system frees it when a run is killed."""
    return FileLock(folder / ".lock", timeout=0)


def newest_checkpoint(logs: Path) -> Path:
    """The best checkpoint of the training run that finished last.

    Raises:
        FashionTransferError: none has finished.
    """
    finished = [file for file in logs.glob(f"train/**/{METRICS}") if (file.parent / BEST).is_file()]
    if not finished:
        raise FashionTransferError(
            f"no finished training run under {logs / 'train'}: run `python train.py` first, or "
            "name a checkpoint with ckpt_path=PATH"
        )
    return max(finished, key=lambda file: file.stat().st_mtime_ns).parent / BEST
