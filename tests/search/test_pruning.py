import optuna
import pytest
from optuna.pruners import HyperbandPruner, NopPruner
from optuna.trial import TrialState

from fashion_transfer.errors import ArgumentError
from fashion_transfer.search.pruning import Hyperband, build_pruner

EPOCHS = 10
VALUES = [5, 4, 6, 3, 7, 8, 2, 9, 1, 10, 11, 12, 5, 4, 3, 2, 1, 0.5, 0.6, 0.7, 0.8]


def create(pruner, direction="minimize"):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(study_name="study", pruner=pruner, direction=direction)


def run(study, value, asked=1, epochs=range(1, EPOCHS + 1)):
    """Runs a trial whose value changes little; returns the epochs until it was pruned."""
    trial = study.ask()
    for epoch in epochs:
        trial.report(value - epoch / 1000, epoch)
        if [trial.should_prune() for _ in range(asked)][-1]:
            study.tell(trial, state=TrialState.PRUNED)
            return epoch
    study.tell(trial, value)
    return epoch


def test_hyperband_prunes_bad_trials_at_its_rungs_and_no_good_one():
    study = create(Hyperband(0, EPOCHS))
    epochs = [run(study, value) for value in VALUES]
    assert epochs[0] == EPOCHS  # it had nobody to compare with
    assert all(epochs[VALUES.index(best)] == EPOCHS for best in (1, 0.5))
    assert set(epochs) == {3, 6, EPOCHS}


def test_highest_values_stay_where_the_study_maximises():
    epochs = [run(create(Hyperband(0, EPOCHS)), value) for value in VALUES]
    study = create(Hyperband(0, EPOCHS), "maximize")
    negative = [-value for value in VALUES]
    assert [run(study, value) for value in negative][0] == epochs[0]
    best = negative.index(-0.5)
    assert study.trials[best].state == TrialState.COMPLETE


def test_verdicts_are_those_of_optunas_pruner_in_the_same_brackets(monkeypatch):
    ours = Hyperband(0, EPOCHS)
    monkeypatch.setattr(
        HyperbandPruner, "_get_bracket_id", lambda self, study, trial: ours.bracket(trial.number)
    )
    theirs = create(HyperbandPruner(min_resource=3, max_resource=EPOCHS, reduction_factor=2))
    epochs = [run(theirs, value) for value in VALUES]
    study = create(ours)
    assert [run(study, value) for value in VALUES] == epochs


def test_verdict_is_the_same_when_asked_again():
    study, again = create(Hyperband(0, EPOCHS)), create(Hyperband(0, EPOCHS))
    assert [run(study, v) for v in VALUES] == [run(again, v, asked=3) for v in VALUES]


def test_rung_between_two_validations_is_judged_at_the_second():
    study = create(Hyperband(0, EPOCHS))
    epochs = [run(study, value, epochs=(2, 4, 6, 8, 10)) for value in VALUES]
    assert set(epochs) == {4, 6, 10}


def test_brackets_are_drawn_from_seed_and_number_by_their_weights():
    pruner = Hyperband(0, EPOCHS)
    assert pruner.weights == [4, 1]
    brackets = [pruner.bracket(number) for number in range(500)]
    assert [round(brackets.count(b) / 100) for b in range(2)] == [4, 1]
    assert brackets == [Hyperband(0, EPOCHS).bracket(number) for number in range(500)]
    assert brackets != [Hyperband(1, EPOCHS).bracket(number) for number in range(500)]


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, {1}), (2, {1, 2}), (3, {1, 2}), (9, {3, 6}), (10, {3, 6}), (50, {15, 30})],
)
def test_trials_are_judged_after_three_and_six_tenths_of_the_epochs(epochs, rungs):
    study = create(Hyperband(0, epochs))
    ended = {run(study, value, epochs=range(1, epochs + 1)) for value in 3 * VALUES}
    assert ended == rungs | {epochs}


def test_value_that_is_no_number_is_pruned_and_no_competitor():
    study = create(Hyperband(0, 1))
    assert run(study, 1.0) == EPOCHS
    assert run(study, float("nan")) == 1
    assert run(study, 0.9) == EPOCHS


def test_pruner_none_needs_no_epochs():
    assert isinstance(build_pruner("none", 0, None), NopPruner)


@pytest.mark.parametrize(
    ("name", "epochs", "message"),
    [
        ("median", 9, "pruner must be one of hyperband, none, got 'median'"),
        ("hyperband", None, "trainer.max_epochs=N, or pruner=none"),
        ("hyperband", -1, "trainer.max_epochs=N, or pruner=none"),
    ],
)
def test_impossible_pruners_are_refused(name, epochs, message):
    with pytest.raises(ArgumentError, match=message):
        build_pruner(name, 0, epochs)
