"""Kills single runs at random moments and continues them.

`python -m fashion_transfer.benchmarks.kill_runs`: checkpoints and metrics, less the seconds, must
be those of the run that nobody killed.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fashion_transfer.benchmarks.killing import (
    DIFFERENT,
    KILLS,
    LEFT,
    LOST,
    TINY,
    Hashes,
    Process,
    arguments,
    count_left,
    file_hashes,
    report,
    same_run,
    scratch_folder,
)
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import LAST, METRICS
from fashion_transfer.runs.record import RECORD, read_metrics

LONGER = ("trainer.max_epochs=6", "model/head=mlp", "data.views=null")
"""More epochs, dropout, and views that are drawn anew: what continuing could get wrong."""

FEATURES = "other features in the store"


@dataclass(frozen=True)
class Phase:
    """A part of a run in which it is killed.

    Attributes:
        overrides: of every run.
        has_begun: whether a process, with its run folder, is in it.
        seconds: how long it takes, by the folder of a whole run; None: until the end of the run.
        moment: what is waited for after a part of these seconds; None: nothing.
    """

    overrides: tuple[str, ...] = ()
    has_begun: Callable[[Process, Path], bool] = lambda _, folder: (folder / RECORD).is_file()
    seconds: Callable[[Path], float] | None = None
    moment: Callable[[Path], bool] | None = None


RUN = Phase()
COMPUTING = Phase(
    # As many images as take some seconds (10,000 test images take long), and views that are stored.
    (
        "store=true",
        "data.images_per_class=40",
        "test=false",
        "data.views=2",
        "trainer.max_epochs=2",
    ),
    has_begun=lambda process, _: process.has_printed("computing the features"),
    seconds=lambda whole: float(read_metrics(whole)["seconds/features"]),
)
SAVING = Phase(
    # Writing a checkpoint of 100 MB takes some hundredths of a second.
    ("model.head.hidden=2048", "trainer.max_epochs=3"),
    moment=lambda folder: any(folder.glob("checkpoints/.*")),
)


def count_defects(
    scratch: Path, kills: int, seed: int, overrides: Sequence[str], phase: Phase = RUN
) -> dict[str, int]:
    """Returns the counts of what must not happen, and of the kills.

    Args:
        scratch: an empty folder for the runs.
        kills: number of runs, each of which is killed once.
        seed: of the moments.
        overrides: of every run.
        phase: when they are killed.
    """
    counts = Counter({KILLS: 0, LOST: 0, DIFFERENT: 0, FEATURES: 0, LEFT: 0})
    moments = random.Random(seed)
    given = [*TINY, *LONGER, *phase.overrides, *overrides]
    whole = scratch / "whole"
    process = _start(given, whole)
    process.wait_for(lambda: phase.has_begun(process, whole))
    seconds = process.wait_for(lambda: False)
    process.wait()
    if phase.seconds is not None:
        seconds = phase.seconds(whole)
    number = 0
    while counts[KILLS] < kills:
        number += 1
        folder = scratch / f"killed-{number}"
        if not _killed(_start(given, folder), folder, phase, moments, seconds):
            continue
        counts[KILLS] += 1
        log_progress(f"kill {counts[KILLS]} of {kills}")
        if not (folder / METRICS).is_file():  # else it had finished, and was about to end
            # Without a finished epoch nothing can be continued: the same command starts it again.
            again = ["ckpt_path=last"] if (folder / LAST).is_file() else given
            try:
                _start(again, folder).wait()
            except FashionTransferError as error:
                log_progress(str(error))
                counts[LOST] += 1
                continue
        counts[DIFFERENT] += not same_run(whole, folder)
        counts[FEATURES] += stored_features(whole) != stored_features(folder)
        counts[LEFT] += count_left(folder)
    return dict(counts)


def _start(overrides: Sequence[str], folder: Path) -> Process:
    places = [f"hydra.run.dir={folder}"]
    if "ckpt_path=last" not in overrides:  # which brings it along
        places.append(f"paths.cache={folder.with_suffix('.cache')}")
    return Process([*overrides, *places], folder.with_suffix(".log"))


def _killed(
    process: Process, folder: Path, phase: Phase, moments: random.Random, seconds: float
) -> bool:
    """Kills a process in a phase; returns whether it did, as some are faster than the first one."""
    process.wait_for(lambda: phase.has_begun(process, folder))
    if process.wait(moments.uniform(0, seconds)):
        return False
    if phase.moment is not None:
        moment = phase.moment
        process.wait_for(lambda: moment(folder))
        if process.wait(0):
            return False
    process.kill()
    return True


def stored_features(run: Path) -> Hashes:
    """Returns the hash of every file of features and checksums in the store of a run."""
    store = run.with_suffix(".cache")
    files = file_hashes(store).items()
    return {path.relative_to(store): h for path, h in files if path.suffix == ".npy"}


def main() -> int:
    """Prints the counts; returns the exit status."""
    options = arguments("Kills runs at random moments and continues them.", kills=20)
    with scratch_folder() as scratch:
        counts = count_defects(scratch, options.kills, options.seed, options.overrides)
    return report(counts, options.output)


if __name__ == "__main__":
    sys.exit(main())
