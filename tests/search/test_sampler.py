import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution

from fashion_transfer.search.sampler import SeededSampler, rounded
from fashion_transfer.search.space import read_space

SPACE = read_space(
    {
        "lr": {"low": 0.0001, "high": 0.1, "log": True},
        "hidden": {"low": 8, "high": 64},
        "head": {"choices": ["mlp", "linear"]},
    }
)


def study(seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=SeededSampler(seed))


def values(study: optuna.Study, trials: int) -> list[dict]:
    for _ in range(trials):
        trial = study.ask()
        for parameter in SPACE:
            parameter.suggest(trial)
        study.tell(trial, trial.params["lr"] * trial.params["hidden"])
    return [trial.params for trial in study.trials]


@pytest.fixture(scope="module")
def reference() -> list[dict]:
    return values(study(0), 14)


def test_same_seed_gives_the_same_values_with_and_without_a_model_of_them(reference):
    assert values(study(0), 14) == reference


def test_another_seed_or_trial_gives_other_values(reference):
    assert values(study(1), 1) != reference[:1]
    assert len({tuple(params.values()) for params in reference}) == len(reference)


@pytest.mark.parametrize("number", [2, 12])
def test_study_that_goes_on_with_a_new_sampler_draws_the_same_values(reference, number):
    earlier = study(0)
    values(earlier, number)
    earlier.sampler = SeededSampler(0)
    assert values(earlier, 14 - number) == reference


@pytest.mark.parametrize("number", [2, 12])
def test_trial_killed_between_two_values_gets_the_others_unchanged(reference, number):
    earlier = study(0)
    values(earlier, number)
    SPACE[0].suggest(earlier.ask())
    again = optuna.trial.Trial(earlier, earlier.trials[-1]._trial_id)
    for parameter in SPACE:
        parameter.suggest(again)
    assert again.params == reference[number]


def test_continuous_values_have_four_digits_and_stay_in_their_range():
    assert rounded(0.123456, FloatDistribution(0, 1)) == 0.1235
    assert rounded(0.123521, FloatDistribution(0.12352, 1)) == 0.12352
    assert rounded(12345, IntDistribution(1, 99999)) == 12345
