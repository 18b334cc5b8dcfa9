"""Two runs that start at the same moment, with one empty store or in one folder."""

from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.full_disk import MANY_LINES, TRIED
from fashion_transfer.benchmarks.kill_runs import COMPUTING, FEATURES, stored_features
from fashion_transfer.benchmarks.killing import DIFFERENT, LOST, TINY, Process, same_run
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError


def count_defects(scratch: Path, overrides: Sequence[str]) -> dict[str, int]:
    """Returns the counts of what must not happen, and of the pairs.

    Args:
        scratch: an empty folder.
        overrides: of every run.
    """
    counts = {TRIED: 0, LOST: 0, MANY_LINES: 0, DIFFERENT: 0, FEATURES: 0}
    whole = scratch / "whole"
    given = [*TINY, *COMPUTING.overrides, *overrides]
    _start(given, whole, whole).wait()
    for folders in (("store-1", "store-2"), ("folder", "folder")):
        counts[TRIED] += 1
        log_progress(f"two at once in {' and '.join(folders)}")
        places = [scratch / name for name in folders]
        runs = [_start(given, folder, places[0], number) for number, folder in enumerate(places)]
        outcomes = [_outcome(run) for run in runs]
        # In one folder, one runs; the other one finds it in use, or finished.
        in_use = [line for line in outcomes if line is not None and "is in use" in line]
        errors = [line for line in outcomes if line is not None]
        counts[LOST] += len(errors) > (places[0] == places[1])
        counts[MANY_LINES] += errors != in_use
        counts[DIFFERENT] += sum(not same_run(whole, folder) for folder in set(places))
        counts[FEATURES] += stored_features(whole) != stored_features(places[0])
    return counts


def _start(overrides: Sequence[str], folder: Path, store: Path, number: int = 0) -> Process:
    places = [f"hydra.run.dir={folder}", f"paths.cache={store.with_suffix('.cache')}"]
    return Process([*overrides, *places], folder.with_suffix(f".{number}.log"))


def _outcome(run: Process) -> str | None:
    """Returns how a run failed, in one line; None if it did not."""
    try:
        run.wait()
    except FashionTransferError as error:
        log_progress(str(error))
        return str(error)
    return None
