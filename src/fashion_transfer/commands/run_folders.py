"""Run folders: what a run leaves, and how later commands find it. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text

METRICS = "metrics.json"
BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Writes `metrics.json`, one flat object; a run that has it is finished."""
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")


def run_lock(folder: Path) -> FileLock:
    """Returns a lock to hold while a run is under way.

    The operating system releases it when the process is killed.
    """
    return FileLock(folder / ".lock", timeout=0)


def newest_checkpoint(logs: Path) -> Path:
    """Returns the best checkpoint of the training run that finished last.

    Args:
        logs: the folder of all runs.

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
