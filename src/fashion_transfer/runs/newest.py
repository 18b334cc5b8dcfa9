"""How later commands find a run."""

from pathlib import Path

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import BEST, METRICS
from fashion_transfer.runs.record import read_record


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
        if not _is_debug_run(file.parent):
            return file.parent / BEST
    none = "training runs but those with debug=" if finished else "finished training run"
    raise FashionTransferError(
        f"no {none} under {logs / 'train'}: run `python train.py` first, or name a checkpoint with "
        "ckpt_path=PATH"
    )


def _is_debug_run(folder: Path) -> bool:
    """Returns whether a run was started with a file of `conf/debug`, and so has learned nothing."""
    try:
        return read_record(folder).debug
    except FashionTransferError:  # nothing says so
        return False
