"""Kills single runs at random moments and continues them with `ckpt_path=last`.

`python -m fashion_transfer.benchmarks.kill_runs`: checkpoints and metrics, less the seconds, must
be those of the run that nobody killed.
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.killing import (
    DIFFERENT,
    KILLS,
    TINY,
    Process,
    arguments,
    report,
    same_run,
    scratch_folder,
)
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import LAST, METRICS

LONGER = ("trainer.max_epochs=6", "model/head=mlp", "data.views=null")
"""More epochs, dropout, and views that are drawn anew: what continuing could get wrong."""

LOST = "runs that could not be continued"


def count_defects(scratch: Path, kills: int, seed: int, overrides: Sequence[str]) -> dict[str, int]:
    """Returns the counts of what must not happen, and of the kills.

    Args:
        scratch: an empty folder for the runs.
        kills: number of runs, each of which is killed once.
        seed: of the moments.
        overrides: of every run.
    """
    counts = {KILLS: 0, LOST: 0, DIFFERENT: 0}
    moments = random.Random(seed)
    given = [*TINY, *LONGER, *overrides]
    whole = scratch / "whole"
    process = Process([*given, f"hydra.run.dir={whole}"], scratch / "whole.log")
    process.wait_for((whole / "run.json").is_file)
    seconds = process.wait_for(lambda: False)
    process.wait()
    number = 0
    while counts[KILLS] < kills:
        number += 1
        folder = scratch / f"killed-{number}"
        process = Process([*given, f"hydra.run.dir={folder}"], folder.with_suffix(".log"))
        process.wait_for((folder / "run.json").is_file)
        if process.wait(moments.uniform(0, seconds)):
            continue  # it was faster than the first one
        process.kill()
        counts[KILLS] += 1
        log_progress(f"kill {counts[KILLS]} of {kills}")
        if not (folder / METRICS).is_file():  # else it had finished, and was about to end
            # Without a finished epoch nothing can be continued: the same command starts it again.
            again = ["ckpt_path=last"] if (folder / LAST).is_file() else given
            try:
                Process([*again, f"hydra.run.dir={folder}"], folder.with_suffix(".log")).wait()
            except FashionTransferError as error:
                log_progress(str(error))
                counts[LOST] += 1
                continue
        counts[DIFFERENT] += not same_run(whole, folder)
    return counts


def main() -> int:
    """Prints the counts; returns the exit status."""
    options = arguments("Kills runs at random moments and continues them.", kills=20)
    with scratch_folder() as scratch:
        counts = count_defects(scratch, options.kills, options.seed, options.overrides)
    return report(counts, options.output)


if __name__ == "__main__":
    sys.exit(main())
