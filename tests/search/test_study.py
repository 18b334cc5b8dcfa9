import json

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.search.pruning import build_pruner
from fashion_transfer.search.space import read_space
from fashion_transfer.search.study import DEFINITION, JOURNAL, JournalLock, SearchStudy

SPACE = read_space({"lr": {"low": 0.0001, "high": 0.1, "log": True}, "n": {"low": 1, "high": 9}})
DEFINITION_A = {"search.lr": "0.0001 to 0.1", "data.images_per_class": 500}


@pytest.fixture
def opened(tmp_path):
    """`opened(**changes)`: a process's view of the study in one folder."""
    studies = []

    def open_study(definition=DEFINITION_A, seed=0, mode="min", folder="study"):
        pruner = build_pruner("halving", 9)
        studies.append(SearchStudy(tmp_path / folder, definition, seed, mode, pruner))
        return studies[-1]

    yield open_study
    for study in studies:
        study.close()


def test_trials_are_numbered_and_end_at_the_total(opened):
    study = opened()
    for number in range(3):
        trial = study.claim(SPACE, 3)
        assert trial.number == number
        study.complete(number, 1.0 - number)
    assert study.claim(SPACE, 3) is None
    assert study.best().number == 2
    assert study.claim(SPACE, 4).number == 3


def test_trials_in_the_queue_are_run_first_and_count_once(opened):
    study = opened()
    study.complete(study.claim(SPACE, 1).number, 1.0)
    for n in (7, 8):
        study.study.enqueue_trial({"lr": 0.01, "n": n})
    assert study.claim(SPACE, 1) is None
    assert [study.claim(SPACE, 4).params["n"] for _ in range(2)] == [7, 8]
    assert study.claim(SPACE, 4).number == 3
    assert study.claim(SPACE, 4) is None


def test_best_is_the_highest_where_the_mode_says_so(opened):
    study = opened(mode="max")
    for value in (0.1, 0.3, 0.2):
        study.complete(study.claim(SPACE, 3).number, value)
    assert study.best().number == 1


def test_continued_study_draws_what_an_uninterrupted_one_draws(opened):
    whole = opened(folder="whole")
    for _ in range(12):
        trial = whole.claim(SPACE, 12)
        whole.complete(trial.number, trial.params["lr"])
    for _ in range(12):
        part = opened(folder="parts")
        trial = part.claim(SPACE, 12)
        part.complete(trial.number, trial.params["lr"])
        part.close()
    assert [t.params for t in part.trials()] == [t.params for t in whole.trials()]


def test_trial_under_way_is_left_to_its_process(opened):
    first, second = opened(), opened()
    assert first.claim(SPACE, 2).number == 0
    assert second.claim(SPACE, 2).number == 1
    assert second.claim(SPACE, 2) is None
    assert first.claim(SPACE, 2) is None
    assert len(second.running()) == 2


def test_trial_of_a_process_that_is_gone_is_taken_over_with_its_values(opened):
    gone = opened()
    trial = gone.claim(SPACE, 2)
    gone.report(trial.number, 0.5, 1)
    gone._own_lock.release()  # as the end of its process does
    study = opened()
    again = study.claim(SPACE, 2)
    assert (again.number, again.params) == (trial.number, trial.params)
    assert study.trials()[0].intermediate_values == {1: 0.5}
    study.complete(again.number, 0.4)
    assert len(study.trials()) == 1


def test_trial_killed_before_it_named_its_lock_is_taken_over(opened):
    study = opened()
    study.study.ask()
    assert study.claim(SPACE, 1).params.keys() == {"lr", "n"}


def test_repeated_report_changes_nothing(opened):
    study = opened()
    study.claim(SPACE, 1)
    study.report(0, 0.5, 1)
    study.report(0, 0.7, 1)
    assert study.trials()[0].intermediate_values == {1: 0.5}


def test_failed_and_pruned_trials_say_why_and_count(opened):
    study = opened()
    study.claim(SPACE, 2)
    study.fail(0, "no room")
    study.claim(SPACE, 2)
    study.report(1, float("nan"), 2)
    study.prune(1, "val/loss is nan")
    failed, pruned = study.trials()
    assert (failed.state, failed.user_attrs["error"]) == (TrialState.FAIL, "no room")
    assert (pruned.state, pruned.user_attrs["error"]) == (TrialState.PRUNED, "val/loss is nan")
    assert study.claim(SPACE, 2) is None
    assert study.best() is None


def test_sampler_goes_on_after_trials_that_came_to_no_number(opened):
    study = opened()
    for number in range(14):
        study.claim(SPACE, 14)
        study.report(number, float("nan") if number % 2 else 0.5, 1)
        if number % 2:
            study.prune(number)
        else:
            study.complete(number, 0.5)
    assert len(study.trials()) == 14


def test_another_definition_is_refused_with_what_differs(opened):
    opened()
    with pytest.raises(FashionTransferError) as error:
        opened({"search.lr": "0.0001 to 0.2", "data.images_per_class": 500, "seed": 1})
    assert 'search.lr was "0.0001 to 0.1" and is "0.0001 to 0.2"' in str(error.value)
    assert "seed was not there and is 1" in str(error.value)
    assert "study=NAME" in str(error.value)
    assert "\n" not in str(error.value)
    opened()  # which changed nothing


def test_damaged_definition_is_one_line(opened):
    (opened().folder / DEFINITION).write_text("{")
    with pytest.raises(FashionTransferError, match=r"study\.json cannot be read"):
        opened()


def test_study_whose_first_trial_was_a_mistake_can_begin_anew(opened):
    study = opened()
    study.claim(SPACE, 2)
    study.discard_first()
    study.close()
    other = opened(DEFINITION_A | {"data.images_per_class": 100})
    assert other.claim(SPACE, 2).number == 0


def test_locks_of_processes_that_are_gone_are_removed(opened):
    gone = opened()
    gone._own_lock.release()
    study = opened()
    assert [f.name for f in (study.folder / "workers").iterdir()] == [study.worker.split("/")[1]]
    study.close()
    assert not list((study.folder / "workers").iterdir())


def test_journal_is_one_that_optuna_reads(opened):
    study = opened()
    study.complete(study.claim(SPACE, 1).number, 0.25)
    backend = optuna.storages.journal.JournalFileBackend(str(study.folder / JOURNAL))
    loaded = optuna.load_study(study_name=None, storage=optuna.storages.JournalStorage(backend))
    assert loaded.best_value == 0.25
    assert loaded.best_params.keys() == {"lr", "n"}


def test_half_a_line_of_a_killed_process_is_removed_from_the_journal(opened):
    study = opened()
    study.complete(study.claim(SPACE, 2).number, 0.25)
    study.close()
    journal = study.folder / JOURNAL
    with journal.open("ab") as file:
        file.write(b'{"op_code": 5, "trial_')
    again = opened()
    again.complete(again.claim(SPACE, 2).number, 0.5)
    assert [trial.value for trial in again.trials()] == [0.25, 0.5]
    for line in journal.read_text().splitlines():
        json.loads(line)


def test_journal_lock_is_free_once_its_holder_is_gone(tmp_path):
    journal = tmp_path / "journal.log"
    journal.touch()
    lock = JournalLock(str(journal))
    lock.acquire()
    with pytest.raises(TimeoutError), FileLock(f"{journal}.flock", timeout=0):
        pass
    lock.release()
    with FileLock(f"{journal}.flock", timeout=0):
        pass
