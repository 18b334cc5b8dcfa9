"""Processes of a command that are killed, and what they left, for checks of continuing."""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.paths import user_path
from fashion_transfer.runs.folders import BEST, LAST
from fashion_transfer.runs.record import read_metrics

TINY = ("debug=tiny", "logger=none")
KILLS = "kills"
DIFFERENT = "runs with other parameters or metrics"

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
