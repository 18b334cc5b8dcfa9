"""Processes of a command that are killed, and what they left, for checks of continuing."""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import TEMPORARY, write_text
from fashion_transfer.paths import user_path
from fashion_transfer.runs.folders import BEST, LAST
from fashion_transfer.runs.record import read_metrics

TINY = ("debug=tiny", "logger=none")
KILLS = "kills"
DIFFERENT = "runs with other parameters or metrics"
LOST = "runs that could not be continued"
CHANGED = "ended runs executed again or changed"
TOTALS = "wrong totals"
LEFT = "temporary files left behind"

Hashes = dict[Path, str]


def arguments(description: str, kills: int) -> argparse.Namespace:
    """Returns the options of the command line.

    Args:
        description: of the command.
        kills: how many there are by default.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--kills", type=int, default=kills, help="number of random moments")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--output", type=user_path, help="JSON file to write the counts to")
    parser.add_argument("overrides", nargs="*", help=f"of every run, beside {' '.join(TINY)}")
    return parser.parse_args()


class Process:
    """A running command whose output goes to a file.

    Args:
        overrides: of the command.
        log: the file; one of an earlier process is replaced.
        script: that is run.
    """

    def __init__(self, overrides: Sequence[str], log: Path, script: str = "train.py") -> None:
        self.command = [sys.executable, script, *overrides]
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(self.command, stdout=file, stderr=file)

    def wait(self, timeout: float | None = None) -> bool:
        """Returns whether it has ended within some seconds.

        Raises:
            FashionTransferError: it has ended with an error.
        """
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        if status:
            last = (self.log.read_text().strip().splitlines() or [""])[-1]
            raise FashionTransferError(f"{' '.join(self.command)} failed: {last}")
        return True

    def wait_for(self, happened: Callable[[], bool]) -> float:
        """Waits for something to happen, or for the end, and returns the seconds that it took."""
        start = time.monotonic()
        while not happened() and self.process.poll() is None:
            time.sleep(0.01)
        return time.monotonic() - start

    def has_printed(self, text: str) -> bool:
        """Returns whether a text is in its output."""
        return text in self.log.read_text()

    def kill(self) -> None:
        """Ends the process as `kill -9` does."""
        self.process.kill()
        self.process.wait()


class Killer(ABC):
    """Counts what goes wrong with jobs of many runs that are killed and continued.

    What results must be what nobody killed: no run that has ended is touched again, all are there,
    and each is the same.

    Args:
        scratch: an empty folder for the jobs.
        seed: of the moments.
        given: overrides of every job.
    """

    earliest: float
    """Part of the time to the first run before which no job is killed."""

    def __init__(self, scratch: Path, seed: int, given: Sequence[str]) -> None:
        self.scratch = scratch
        self.moments = random.Random(seed)
        self.given = given
        self.counts = Counter({KILLS: 0, CHANGED: 0, TOTALS: 0, DIFFERENT: 0})
        self.startup = 0.0  # seconds to the first run
        self.work = 0.0  # seconds from there to the end

    @abstractmethod
    def start(self, folder: Path) -> Process:
        """Starts or continues the job in a folder."""

    @abstractmethod
    def has_run(self, folder: Path) -> bool:
        """Returns whether the first run has started."""

    @abstractmethod
    def ended_files(self, folder: Path) -> Mapping[Hashable, Hashes]:
        """Returns the hash of every file of each run that has ended."""

    @abstractmethod
    def is_complete(self, folder: Path) -> bool:
        """Returns whether all runs are there, ended, each once."""

    @abstractmethod
    def count_different(self, whole: Path, killed: Path) -> int:
        """Returns how many runs are other ones than in the folder that nobody killed."""

    def run(self, kills: int) -> dict[str, int]:
        """Returns the counts after some kills; a job that ends before is followed by another."""
        whole = self.run_whole()
        number = 0
        while self.counts[KILLS] < kills:
            number += 1
            folder = self.scratch / f"killed-{number}"
            self.run_killed(folder, kills)
            self.counts[TOTALS] += not self.is_complete(folder)
            self.counts[DIFFERENT] += self.count_different(whole, folder)
        return dict(self.counts)

    def run_whole(self) -> Path:
        """Runs a job that nobody kills, and returns its folder."""
        folder = self.scratch / "whole"
        process = self.start(folder)
        self.startup = process.wait_for(lambda: self.has_run(folder))
        self.work = process.wait_for(lambda: False)
        process.wait()
        self.counts[TOTALS] += not self.is_complete(folder)
        return folder

    def run_killed(self, folder: Path, kills: int) -> None:
        """Runs a job to its end, and kills it again and again until there were some kills."""
        # Twice the mean: so the moments are spread over one job.
        longest = self.startup + 2 * self.work / kills
        while True:
            before = self.ended_files(folder)
            process = self.start(folder)
            delay = self.moments.uniform(self.earliest * self.startup, longest)
            ended = process.wait(delay if self.counts[KILLS] < kills else None)
            if not ended:
                process.kill()
                self.counts[KILLS] += 1
                log_progress(f"kill {self.counts[KILLS]} of {kills}")
            after = self.ended_files(folder)
            self.counts[CHANGED] += sum(after.get(run) != files for run, files in before.items())
            if ended:
                return


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        yield Path(folder)


def same_run(first: Path, second: Path) -> bool:
    """Returns whether two run folders have equal checkpoints and metrics, less the seconds."""
    return less_seconds(first) == less_seconds(second) and all(
        _same(_state(first / name), _state(second / name)) for name in (BEST, LAST)
    )


def less_seconds(run: Path) -> dict[str, Any]:
    """Returns the metrics of a run without its seconds; none if it has not finished."""
    metrics = read_metrics(run).items()
    return {name: value for name, value in metrics if not name.startswith("seconds/")}


def file_hashes(folder: Path) -> Hashes:
    """Returns the SHA-256 of every file in a folder, at any depth."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def count_left(folder: Path) -> int:
    """Returns how many files are in a folder, at any depth, that were not written to the end."""
    return sum(bool(TEMPORARY.fullmatch(file.name)) for file in folder.rglob(".*"))


def report(counts: Mapping[str, int], output: Path | None) -> int:
    """Prints counts, writes them to a JSON file if there is one, and returns the exit status.

    Args:
        counts: by name; all but the number of kills must be 0.
        output: the file.
    """
    width = max(map(len, counts))
    for name, count in counts.items():
        print(f"{name:<{width}}  {count:>4}")
    if output is not None:
        write_text(output, json.dumps(counts, indent=1) + "\n")
    return int(any(count for name, count in counts.items() if name != KILLS))


def _state(checkpoint: Path) -> Any:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def _same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
