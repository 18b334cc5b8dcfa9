"""Kills a sweep at random moments and continues it.

`python -m fashion_transfer.benchmarks.kill_sweep`: what results must be the sweep that nobody
killed. No finished run is touched again, every run is there once, and its checkpoints and metrics,
less the seconds, are the same.
"""

import csv
import json
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.killing import (
    TINY,
    Hashes,
    Killer,
    Process,
    arguments,
    file_hashes,
    report,
    same_run,
    scratch_folder,
)
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.record import read_record

SWEEP = "sweep.json"
GRID = ("seed=0,1,2", "model/head=linear,mlp")
TOTAL = 6


class SweepKiller(Killer):
    """Counts what goes wrong with sweeps that are killed and continued.

    Args:
        scratch: an empty folder for the sweeps.
        seed: of the moments.
        overrides: of every run.
    """

    earliest = 0.8

    def __init__(self, scratch: Path, seed: int, overrides: Sequence[str]) -> None:
        super().__init__(scratch, seed, ["-m", *TINY, *GRID, *overrides])

    def start(self, folder: Path) -> Process:
        """Starts or continues a sweep; returns once it says so."""
        resume = ["sweep.resume=true"] if (folder / SWEEP).is_file() else []
        overrides = [*self.given, *resume, f"hydra.sweep.dir={folder}"]
        process = Process(overrides, folder.with_suffix(".log"))
        process.wait_for(lambda: process.has_printed("sweep "))
        return process

    def has_run(self, folder: Path) -> bool:
        """Returns whether the first run has started."""
        return any(folder.glob("*/run.json"))

    def ended_files(self, folder: Path) -> dict[Hashable, Hashes]:
        """Returns the hash of every file of each finished run, by the run's folder."""
        return {
            job["folder"]: file_hashes(folder / job["folder"])
            for job in _jobs(folder)
            if job["folder"] and _has_finished(folder / job["folder"])
        }

    def is_complete(self, folder: Path) -> bool:
        """Returns whether all runs are there, finished, each once, in the table, too."""
        with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
            rows = [int(row["job"]) for row in csv.DictReader(file)]
        jobs = _jobs(folder)
        numbers = [job["number"] for job in jobs if job["status"] == "finished"]
        folders = {job["folder"] for job in jobs}
        return numbers == list(range(TOTAL)) == sorted(rows) and len(folders) == TOTAL

    def count_different(self, whole: Path, killed: Path) -> int:
        """Returns how many runs are other ones than in the sweep that nobody killed."""
        return sum(
            expected["overrides"] != job["overrides"]
            or not same_run(whole / expected["folder"], killed / job["folder"])
            for expected, job in zip(_jobs(whole), _jobs(killed), strict=False)
        )


def _jobs(folder: Path) -> list[dict[str, Any]]:
    """Returns the jobs of a sweep; none before it has started."""
    file = folder / SWEEP
    return list(json.loads(file.read_bytes())["jobs"]) if file.is_file() else []


def _has_finished(run: Path) -> bool:
    try:
        return read_record(run).state == "finished"
    except FashionTransferError:  # it has not started
        return False


def main() -> int:
    """Prints the counts; returns the exit status."""
    options = arguments("Kills a sweep at random moments and continues it.", kills=10)
    with scratch_folder() as scratch:
        counts = SweepKiller(scratch, options.seed, options.overrides).run(options.kills)
    return report(counts, options.output)


if __name__ == "__main__":
    sys.exit(main())
