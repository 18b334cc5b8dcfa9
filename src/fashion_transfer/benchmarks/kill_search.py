"""Kills a search at random moments and continues it.

`python -m fashion_transfer.benchmarks.kill_search`: what results must be the search that nobody
killed. No trial that has ended is touched again, there are as many trials as were asked for, and
each has the same values, reports and metrics, less the seconds.
"""

import sys
from collections.abc import Hashable, Sequence
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from fashion_transfer.benchmarks.killing import (
    TINY,
    Hashes,
    Killer,
    Process,
    arguments,
    file_hashes,
    less_seconds,
    report,
    scratch_folder,
)
from fashion_transfer.search.study import JOURNAL, JournalLock

TRIALS = 6
LONGER = ("trainer.max_epochs=4",)
"""Two rungs at which trials are pruned."""


class SearchKiller(Killer):
    """Counts what goes wrong with searches that are killed and continued.

    Args:
        scratch: an empty folder for the searches.
        seed: of the moments.
        overrides: of every search.
    """

    earliest = 0.5

    def __init__(self, scratch: Path, seed: int, overrides: Sequence[str]) -> None:
        super().__init__(scratch, seed, [*TINY, *LONGER, f"trials={TRIALS}", *overrides])
        optuna.logging.set_verbosity(optuna.logging.WARNING)

    def start(self, folder: Path) -> Process:
        """Starts or continues a search."""
        folder.mkdir(exist_ok=True)
        overrides = [*self.given, f"hydra.run.dir={folder}"]
        return Process(overrides, folder.with_suffix(".log"), "search.py")

    def has_run(self, folder: Path) -> bool:
        """Returns whether the first trial has started."""
        return any(folder.glob("trials/*/run.json"))

    def ended_files(self, folder: Path) -> dict[Hashable, Hashes]:
        """Returns the hash of every file of each trial that has ended, by its number."""
        return {
            trial.number: file_hashes(folder / "trials" / f"{trial.number:04d}")
            for trial in read_trials(folder)
            if trial.state.is_finished()
        }

    def is_complete(self, folder: Path) -> bool:
        """Returns whether all trials are there, ended, and one winner was tested."""
        trials = read_trials(folder)
        folders = {path.name for path in (folder / "trials").iterdir()}
        ended = all(trial.state.is_finished() for trial in trials)
        winners = len(list((folder / "winner").glob("*/metrics.json")))
        return len(trials) == TRIALS == len(folders) and ended and winners == 1

    def count_different(self, whole: Path, killed: Path) -> int:
        """Returns how many trials are other ones than in the search that nobody killed."""
        pairs = zip(read_trials(whole), read_trials(killed), strict=False)
        different = sum(
            _outcome(first) != _outcome(second)
            or _metrics(whole, first.number) != _metrics(killed, second.number)
            for first, second in pairs
        )
        return different + (_winner(whole) != _winner(killed))


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


def main() -> int:
    """Prints the counts; returns the exit status."""
    options = arguments("Kills a search at random moments and continues it.", kills=10)
    with scratch_folder() as scratch:
        counts = SearchKiller(scratch, options.seed, options.overrides).run(options.kills)
    return report(counts, options.output)


if __name__ == "__main__":
    sys.exit(main())
