"""Run folders: the files of a run, its lock, and how later commands find it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import Lock, write_text

METRICS = "metrics.json"
BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader takes a tenth of the time, where PyYAML was built with it."""


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Writes `metrics.json`, one flat object; a run that has it is finished."""
    write_text(folder / METRICS, json.dumps(metrics, indent=2) + "\n")


def run_lock(folder: Path) -> Lock:
    """Returns a lock to hold while a run is under way.

    The operating system releases it when the process is killed.
    """
    return Lock(folder / ".lock", timeout=0)


def newest_checkpoint(logs: Path) -> Path:
    """Returns the best checkpoint of the training run that finished last, debug runs left out.

    Args:
        logs: the folder of all runs.

    Raises:
        FashionTransferError: none has finished.
    """
    finished = [file for file in logs.glob(f"train/**/{METRICS}") if (file.parent / BEST).is_file()]
    finished.sort(key=lambda file: file.stat().st_mtime_ns, reverse=True)
    for file in finished:
        if not is_debug_run(file.parent):
            return file.parent / BEST
    none = "training runs but those with debug=" if finished else "finished training run"
    raise FashionTransferError(
        f"no {none} under {logs / 'train'}: run `python train.py` first, or name a checkpoint with "
        "ckpt_path=PATH"
    )


def is_debug_run(folder: Path) -> bool:
    """Returns whether a run was started with a file of `conf/debug`, and so has learned nothing."""
    file = folder / ".hydra" / "hydra.yaml"
    if not file.is_file():
        return False
    hydra = yaml.load(file.read_text(encoding="utf-8"), YAML_LOADER)["hydra"]
    return hydra["runtime"]["choices"].get("debug") is not None
