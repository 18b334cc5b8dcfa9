"""Kills a sweep at random moments and continues it.

`python -m fashion_transfer.benchmarks.kill_sweep`: what results must be the sweep that nobody
killed. No finished run is touched again, every run is there once, and its checkpoints and metrics,
less the seconds, are the same.
"""

import csv
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.killing import (
    DIFFERENT,
    KILLS,
    TINY,
    Hashes,
    Process,
    arguments,
    file_hashes,
    report,
    same_run,
    scratch_folder,
)
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.record import read_record

SWEEP = "sweep.json"
GRID = ("seed=0,1,2", "model/head=linear,mlp")
TOTAL = 6
CHANGED = "finished runs executed again or changed"
TOTALS = "wrong totals"


class SweepKiller:
    """Counts what goes wrong with sweeps that are killed and continued.

    Args:
        scratch: an empty folder for the sweeps.
        seed: of the moments.
        overrides: of every run.
    """

    def __init__(self, scratch: Path, seed: int, overrides: Sequence[str]) -> None:
        self.scratch = scratch
        self.moments = random.Random(seed)
        self.given = ["-m", *TINY, *GRID, *overrides]
        self.counts = Counter({KILLS: 0, CHANGED: 0, TOTALS: 0, DIFFERENT: 0})
        self.startup = 0.0  # seconds from the first line of a sweep to its first run
        self.work = 0.0  # seconds from there to the end

    def run(self, kills: int) -> dict[str, int]:
        """Returns the counts after some kills; a sweep that ends before is followed by another."""
        whole = self.run_whole()
        number = 0
        while self.counts[KILLS] < kills:
            number += 1
            folder = self.scratch / f"killed-{number}"
            self.run_killed(folder, kills)
            self.compare(whole, folder)
        return dict(self.counts)

    def run_whole(self) -> Path:
        """Runs a sweep that nobody kills, and returns its folder."""
        folder = self.scratch / "whole"
        process = self._start(folder)
        self.startup = process.wait_for(lambda: any(folder.glob("*/run.json")))
        self.work = process.wait_for(lambda: False)
        process.wait()
        self.counts[TOTALS] += not _is_complete(folder)
        return folder

    def run_killed(self, folder: Path, kills: int) -> None:
        """Runs a sweep to its end, and kills it again and again until there were some kills."""
        # Twice the mean: so the moments are spread over one sweep.
        longest = self.startup + 2 * self.work / kills
        while True:
            before = _finished_files(folder)
            process = self._start(folder)
            delay = self.moments.uniform(0.8 * self.startup, longest)
            ended = process.wait(delay if self.counts[KILLS] < kills else None)
            if not ended:
                process.kill()
                self.counts[KILLS] += 1
                log_progress(f"kill {self.counts[KILLS]} of {kills}")
            after = _finished_files(folder)
            self.counts[CHANGED] += sum(after.get(run) != files for run, files in before.items())
            if ended:
                return

    def compare(self, whole: Path, killed: Path) -> None:
        """Counts what a sweep has otherwise than the one that nobody killed."""
        self.counts[TOTALS] += not _is_complete(killed)
        for expected, job in zip(_jobs(whole), _jobs(killed), strict=False):
            same = expected["overrides"] == job["overrides"] and same_run(
                whole / expected["folder"], killed / job["folder"]
            )
            self.counts[DIFFERENT] += not same

    def _start(self, folder: Path) -> Process:
        """Starts or continues a sweep; returns once it says so."""
        resume = ["sweep.resume=true"] if (folder / SWEEP).is_file() else []
        overrides = [*self.given, *resume, f"hydra.sweep.dir={folder}"]
        process = Process(overrides, folder.with_suffix(".log"))
        process.wait_for(lambda: process.has_printed("sweep "))
        return process


def _jobs(folder: Path) -> list[dict[str, Any]]:
    """Returns the jobs of a sweep; none before it has started."""
    file = folder / SWEEP
    return list(json.loads(file.read_bytes())["jobs"]) if file.is_file() else []


def _is_complete(folder: Path) -> bool:
    """Returns whether all runs are there, finished, each once, in the table, too."""
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        rows = [int(row["job"]) for row in csv.DictReader(file)]
    jobs = _jobs(folder)
    numbers = [job["number"] for job in jobs if job["status"] == "finished"]
    folders = {job["folder"] for job in jobs}
    return numbers == list(range(TOTAL)) == sorted(rows) and len(folders) == TOTAL


def _finished_files(folder: Path) -> dict[str, Hashes]:
    """Returns the hash of every file of each finished run, by the run's folder."""
    return {
        job["folder"]: file_hashes(folder / job["folder"])
        for job in _jobs(folder)
        if job["folder"] and _has_finished(folder / job["folder"])
    }


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
