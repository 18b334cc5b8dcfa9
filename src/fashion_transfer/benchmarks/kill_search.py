"""Kills a search at random moments and continues it.

`python -m fashion_transfer.benchmarks.kill_search`: what results must be the search that nobody
killed. No trial that has ended is touched again, there are as many trials as were asked for, and
each has the same values, reports and metrics, less the seconds.
"""

import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from fashion_transfer.benchmarks.killing import (
    DIFFERENT,
    KILLS,
    TINY,
    Hashes,
    Process,
    arguments,
    file_hashes,
    less_seconds,
    report,
    scratch_folder,
)
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.search.study import JOURNAL, JournalLock

TRIALS = 6
LONGER = ("trainer.max_epochs=4",)
"""Two rungs at which trials are pruned."""

CHANGED = "ended trials executed again or changed"
TOTALS = "wrong totals"


class SearchKiller:
    """Counts what goes wrong with searches that are killed and continued.

    Args:
        scratch: an empty folder for the searches.
        seed: of the moments.
        overrides: of every search.
    """

    def __init__(self, scratch: Path, seed: int, overrides: Sequence[str]) -> None:
        self.scratch = scratch
        self.moments = random.Random(seed)
        self.given = [*TINY, *LONGER, f"trials={TRIALS}", *overrides]
        self.counts = Counter({KILLS: 0, CHANGED: 0, TOTALS: 0, DIFFERENT: 0})
        self.startup = 0.0  # seconds to the first trial
        self.work = 0.0  # seconds from there to the end

    def run(self, kills: int) -> dict[str, int]:
        """Returns the counts after some kills; a search that ends before is followed by another."""
        whole = self.scratch / "whole"
        process = self._start(whole)
        self.startup = process.wait_for(lambda: any(whole.glob("trials/*/run.json")))
        self.work = process.wait_for(lambda: False)
        process.wait()
        self._count_total(whole)
        number = 0
        while self.counts[KILLS] < kills:
            number += 1
            self._compare(whole, self._run_killed(self.scratch / f"killed-{number}", kills))
        return dict(self.counts)

    def _run_killed(self, folder: Path, kills: int) -> Path:
        """Runs a search to its end, and kills it again and again until there were some kills."""
        # Twice the mean: so the moments are spread over one search.
        longest = self.startup + 2 * self.work / kills
        while True:
            before = _ended_files(folder)
            process = self._start(folder)
            delay = self.moments.uniform(0.5 * self.startup, longest)
            ended = process.wait(delay if self.counts[KILLS] < kills else None)
            if not ended:
                process.kill()
                self.counts[KILLS] += 1
                log_progress(f"kill {self.counts[KILLS]} of {kills}")
            after = _ended_files(folder)
            self.counts[CHANGED] += sum(
                after.get(trial) != files for trial, files in before.items()
            )
            if ended:
                return folder

    def _start(self, folder: Path) -> Process:
        """Starts or continues a search."""
        folder.mkdir(exist_ok=True)
        overrides = [*self.given, f"hydra.run.dir={folder}"]
        return Process(overrides, folder.with_suffix(".log"), "search.py")

    def _count_total(self, folder: Path) -> None:
        trials = read_trials(folder)
        folders = {path.name for path in (folder / "trials").iterdir()}
        ended = all(trial.state.is_finished() for trial in trials)
        winners = len(list((folder / "winner").glob("*/metrics.json")))
        self.counts[TOTALS] += not (
            len(trials) == TRIALS == len(folders) and ended and winners == 1
        )

    def _compare(self, whole: Path, folder: Path) -> None:
        """Counts what a search has otherwise than the one that nobody killed."""
        self._count_total(folder)
        pairs = zip(read_trials(whole), read_trials(folder), strict=False)
        self.counts[DIFFERENT] += sum(
            _outcome(first) != _outcome(second)
            or _metrics(whole, first.number) != _metrics(folder, second.number)
            for first, second in pairs
        )
        self.counts[DIFFERENT] += _winner(whole) != _winner(folder)


def read_trials(folder: Path) -> list[FrozenTrial]:
    """Returns the trials of the study in a folder; none if it has not begun."""
    journal = folder / JOURNAL
    if not journal.is_file():
        return []
    storage = JournalStorage(JournalFileBackend(str(journal), JournalLock(str(journal))))
    studies = storage.get_all_studies()
    return storage.get_all_trials(studies[0]._study_id) if studies else []


def _outcome(trial: FrozenTrial) -> tuple[TrialState, object, object, object]:
    return trial.state, trial.params, trial.values, trial.intermediate_values


def _metrics(folder: Path, number: int) -> dict[str, object]:
    return less_seconds(folder / "trials" / f"{number:04d}")


def _winner(folder: Path) -> dict[str, dict[str, object]]:
    return {path.name: less_seconds(path) for path in (folder / "winner").iterdir()}


def _ended_files(folder: Path) -> dict[int, Hashes]:
    """Returns the hash of every file of each trial that has ended, by its number."""
    return {
        trial.number: file_hashes(folder / "trials" / f"{trial.number:04d}")
        for trial in read_trials(folder)
        if trial.state.is_finished()
    }


def main() -> int:
    """Prints the counts; returns the exit status."""
    options = arguments("Kills a search at random moments and continues it.", kills=10)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with scratch_folder() as scratch:
        counts = SearchKiller(scratch, options.seed, options.overrides).run(options.kills)
    return report(counts, options.output)


if __name__ == "__main__":
    sys.exit(main())
