import optuna
import pytest
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from fashion_transfer.errors import ArgumentError
from fashion_transfer.search.pruning import SuccessiveHalving, build_pruner

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


def test_trials_are_pruned_at_a_rung_unless_they_are_among_the_best_there():
    study = create(SuccessiveHalving(EPOCHS))
    # Two fifths pass the first rung, and of those that reach it a quarter the second.
    assert [run(study, value) for value in (5, 6, 7, 4, 8, 4.5, 3)] == [10, 4, 4, 10, 4, 6, 10]


def test_trial_that_falls_behind_later_is_pruned_at_the_second_rung():
    study = create(SuccessiveHalving(EPOCHS))
    run(study, 2.0)
    trial = study.ask()
    for epoch, value in enumerate((3.0, 3.0, 3.0, 1.9, 1.9), 1):
        trial.report(value, epoch)
        assert not trial.should_prune()
    run(study, 1.0)
    trial.report(1.8, 6)
    assert trial.should_prune()


def test_best_value_so_far_counts():
    study = create(SuccessiveHalving(EPOCHS))
    run(study, 2.0)
    trial = study.ask()
    for epoch, value in enumerate((1.0, 9.0, 9.0, 9.0), 1):
        trial.report(value, epoch)
        assert not trial.should_prune()


def test_highest_values_stay_where_the_study_maximises():
    epochs = [run(create(SuccessiveHalving(EPOCHS)), value) for value in VALUES]
    study = create(SuccessiveHalving(EPOCHS), "maximize")
    assert run(study, -VALUES[0]) == epochs[0]
    for value in VALUES[1:]:
        run(study, -value)
    assert study.trials[VALUES.index(0.5)].state == TrialState.COMPLETE
    assert study.trials[VALUES.index(12)].state == TrialState.PRUNED


def test_verdict_is_the_same_when_asked_again():
    study, again = (create(SuccessiveHalving(EPOCHS)) for _ in range(2))
    assert [run(study, v) for v in VALUES] == [run(again, v, asked=3) for v in VALUES]


def test_rung_between_two_validations_is_judged_at_the_second():
    study = create(SuccessiveHalving(EPOCHS))
    epochs = [run(study, value, epochs=(3, 5, 8, 10)) for value in VALUES]
    assert set(epochs) == {5, 8, 10}


@pytest.mark.parametrize(
    ("epochs", "rungs"),
    [(1, [1]), (2, [1, 2]), (3, [2]), (9, [4, 6]), (10, [4, 6]), (50, [20, 30])],
)
def test_rungs_are_four_and_six_tenths_of_the_epochs(epochs, rungs):
    assert list(SuccessiveHalving(epochs).rungs) == rungs


def test_value_that_is_no_number_is_pruned_and_no_competitor():
    study = create(SuccessiveHalving(EPOCHS))
    assert run(study, float("nan")) == 4
    assert run(study, 1.0) == EPOCHS
    assert run(study, 0.9) == EPOCHS


def test_pruner_none_needs_no_epochs():
    assert isinstance(build_pruner("none", None), NopPruner)


@pytest.mark.parametrize(
    ("name", "epochs", "message"),
    [
        ("median", 9, "pruner must be one of halving, none, got 'median'"),
        ("halving", None, "trainer.max_epochs=N, or pruner=none"),
        ("halving", -1, "trainer.max_epochs=N, or pruner=none"),
    ],
)
def test_impossible_pruners_are_refused(name, epochs, message):
    with pytest.raises(ArgumentError, match=message):
        build_pruner(name, epochs)
