"""A study: its trials in a journal, shared by the processes that work on them.

The folder of a study holds

    study.json       what is searched: the space and the configuration that all trials share
    journal.log      Optuna's journal, which optuna-dashboard reads
    trials/0007/     the run folder of a trial
    workers/*.lock   one lock per process, held while it lives

The journal notes no sign of life. A trial that is under way names the lock of its process: if that
lock is free, the process is gone, and whoever looks for work takes the trial over, with its number,
its values and its run folder.
"""

import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from filelock import Timeout
from optuna.pruners import BasePruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, Trial, TrialState

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import Lock, remove_temporary, write_text
from fashion_transfer.search.sampler import SeededSampler
from fashion_transfer.search.space import Parameter, Value

JOURNAL = "journal.log"
DEFINITION = "study.json"
FORMAT = 1

WORKER = "worker"
"""Attribute of a trial: the lock of its process, relative to the study's folder."""

ERROR = "error"
"""Attribute of a trial that failed or came to no number: why, in one line."""

Definition = Mapping[str, Value | list[Any]]


class SearchStudy:
    """The study in a folder, as one process sees it, which holds a lock until `close`.

    Args:
        folder: of the study; it is created.
        definition: what is searched, by key. A study is continued only with the same.
        seed: of the sampler.
        mode: "min" or "max": which value is best.
        pruner: asked after every report.

    Raises:
        FashionTransferError: the folder has a study of something else.
    """

    def __init__(
        self, folder: Path, definition: Definition, seed: int, mode: str, pruner: BasePruner
    ) -> None:
        self.folder = folder.resolve()
        self.pruner = pruner
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        (self.folder / "workers").mkdir(parents=True, exist_ok=True)
        self.lock = Lock(self.folder / "study.lock")
        name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}.lock"
        self.worker = f"workers/{name}"
        with self.lock:
            _check_definition(self.folder, definition)
            self._own_lock = Lock(self.folder / self.worker, timeout=0)
            self._own_lock.acquire()
            self._remove_free_locks()
            remove_temporary(self.folder.glob(".*"))
            journal = str(self.folder / JOURNAL)
            self.storage = JournalStorage(JournalFileBackend(journal, JournalLock(journal)))
            if not self.storage.get_all_studies():
                optuna.create_study(
                    storage=self.storage,
                    study_name=self.folder.name,
                    direction="minimize" if mode == "min" else "maximize",
                )
            self.study = optuna.load_study(
                study_name=None, storage=self.storage, sampler=SeededSampler(seed), pruner=pruner
            )

    def close(self) -> None:
        """Gives up the lock: what this process had under way can be taken over."""
        self._own_lock.release()
        (self.folder / self.worker).unlink(missing_ok=True)

    def claim(self, space: tuple[Parameter, ...], trials: int) -> Trial | None:
        """Returns a trial to work on: one whose process is gone, else a new one, with all values.

        Args:
            space: of the study.
            trials: most that the study has in all.

        Returns:
            None if there is nothing to do, though another process may be at work.
        """
        with self.lock:
            trial = next((t for t in self.running() if self._is_abandoned(t)), None)
            # What another program has put into the queue is the next to be asked for.
            begun = [t for t in self.trials() if t.state != TrialState.WAITING]
            if trial is None and len(begun) >= trials:
                return None
            claimed = (
                self.study.ask() if trial is None else Trial(self.study, self._id(trial.number))
            )
            claimed.set_user_attr(WORKER, self.worker)
            for parameter in space:
                parameter.suggest(claimed)
        return claimed

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials so far, by number."""
        return self.study.get_trials(deepcopy=False)

    def running(self) -> list[FrozenTrial]:
        """Returns the trials that have no outcome yet."""
        return [trial for trial in self.trials() if trial.state == TrialState.RUNNING]

    def run_folder(self, number: int) -> Path:
        """Returns the run folder of a trial."""
        return self.folder / "trials" / f"{number:04d}"

    def report(self, number: int, value: float, step: int) -> None:
        """Notes the value of a trial after an epoch; one that is noted already stays."""
        trial = self.storage.get_trial(self._id(number))
        if step not in trial.intermediate_values:
            self.storage.set_trial_intermediate_value(self._id(number), step, value)

    def should_prune(self, number: int, max_epochs: int | None) -> bool:
        """Returns whether a trial should end after its last report, unless that is of the end."""
        trial = self.storage.get_trial(self._id(number))
        return trial.last_step != max_epochs and self.pruner.prune(self.study, trial)

    def complete(self, number: int, value: float) -> None:
        """Notes the value that a trial ended with."""
        self.study.tell(number, value)

    def prune(self, number: int, reason: str = "") -> None:
        """Notes that a trial was pruned; its last report counts."""
        if reason:
            self.storage.set_trial_user_attr(self._id(number), ERROR, reason)
        self.study.tell(number, state=TrialState.PRUNED)

    def fail(self, number: int, error: str) -> None:
        """Notes that a trial failed, and why."""
        self.storage.set_trial_user_attr(self._id(number), ERROR, error)
        self.study.tell(number, state=TrialState.FAIL)

    def best(self) -> FrozenTrial | None:
        """Returns the trial with the best value; None as long as none is complete."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        sign = 1 if self.study.direction == optuna.study.StudyDirection.MINIMIZE else -1
        return min(complete, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def has_outcome(self) -> bool:
        """Returns whether a trial has ended."""
        return any(trial.state.is_finished() for trial in self.trials())

    def all_failed(self, number: int) -> bool:
        """Returns whether that many trials or more have ended, all of them by failing."""
        ended = [trial for trial in self.trials() if trial.state.is_finished()]
        return len(ended) >= number and all(trial.state == TrialState.FAIL for trial in ended)

    def discard_first(self) -> None:
        """Forgets the first trial, and with it the study; not while others have joined."""
        with self.lock:
            if len(self.trials()) == 1:
                (self.folder / DEFINITION).unlink()
                (self.folder / JOURNAL).unlink()
                shutil.rmtree(self.run_folder(0), ignore_errors=True)

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)

    def _is_abandoned(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        # Without one its process was killed while it claimed the trial, which takes this lock.
        return worker is None or _is_free(self.folder / worker)

    def _remove_free_locks(self) -> None:
        for file in (self.folder / "workers").glob("*.lock"):
            if file.name != Path(self.worker).name and _is_free(file):
                file.unlink(missing_ok=True)


class JournalLock(JournalFileOpenLock):
    """The journal's lock, which the operating system releases when its process is killed.

    Optuna's own is a file that stays behind: the others wait for half a minute until they break it.

    Args:
        journal: path of the journal.
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self.journal = Path(journal)
        self.file_lock = Lock(f"{journal}.flock")

    def acquire(self) -> bool:
        """Waits for the lock; what a killed process left of half a line is removed."""
        self.file_lock.acquire()
        if self.journal.stat().st_size:
            with self.journal.open("r+b") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    whole = self.journal.read_bytes().rpartition(b"\n")[0]
                    file.truncate(len(whole) + 1 if whole else 0)
        return True

    def release(self) -> None:
        """Gives up the lock."""
        self.file_lock.release()


def _is_free(lock: Path) -> bool:
    try:
        with Lock(lock, timeout=0):
            return True
    except Timeout:
        return False


def _check_definition(folder: Path, definition: Definition) -> None:
    """Writes the definition of a new study; checks that of one that is there."""
    file = folder / DEFINITION
    text = json.dumps({"format": FORMAT, "definition": dict(definition)}, indent=1)
    if not file.is_file():
        write_text(file, text + "\n")
        return
    try:
        earlier = json.loads(file.read_bytes())["definition"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FashionTransferError(
            f"{file} cannot be read ({error}): give study=NAME for another study"
        ) from error
    now = json.loads(text)["definition"]
    differing = [
        f"{key} was {_shown(earlier, key)} and is {_shown(now, key)}"
        for key in dict.fromkeys([*now, *earlier])
        if earlier.get(key) != now.get(key) or (key in earlier) != (key in now)
    ]
    if differing:
        more = f", and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise FashionTransferError(
            f"the study in {folder} searches something else ({'; '.join(differing[:3])}{more}): "
            "give study=NAME for another study, or the former values to continue this one"
        )


def _shown(definition: Mapping[str, Any], key: str) -> str:
    return json.dumps(definition[key]) if key in definition else "not there"
