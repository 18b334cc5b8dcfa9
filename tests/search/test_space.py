import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.search.space import override_text, read_space

LR = {"low": 0.0001, "high": 0.01, "log": True}


def distribution(entry):
    [parameter] = read_space({"key": entry})
    return parameter.distribution


def test_space_is_nested_as_the_configuration_is():
    space = read_space({"model": {"optimizer": {"lr": LR}, "mixup": {"low": 0.0, "high": 2.0}}})
    assert [parameter.key for parameter in space] == ["model.optimizer.lr", "model.mixup"]
    assert space[0].distribution == FloatDistribution(0.0001, 0.01, log=True)


def test_keys_of_the_space_may_be_dotted_or_groups():
    space = read_space({"model.optimizer.lr": LR, "model/head": {"choices": ["mlp", "linear"]}})
    assert [parameter.key for parameter in space] == ["model.optimizer.lr", "model/head"]


def test_whole_numbers_at_both_ends_give_whole_numbers():
    assert distribution({"low": 32, "high": 512}) == IntDistribution(32, 512)
    assert distribution({"low": 0, "high": 2.0}) == FloatDistribution(0.0, 2.0)
    assert distribution({"low": 1, "high": 8, "log": True}) == IntDistribution(1, 8, log=True)


def test_high_is_the_last_value_that_the_steps_reach():
    assert distribution({"low": 10, "high": 25, "step": 10}) == IntDistribution(10, 20, step=10)
    assert distribution({"low": 0.0, "high": 0.35, "step": 0.1}).high == 0.3
    assert distribution({"low": 0.0, "high": 0.3, "step": 0.1}).high == 0.3


def test_choices_may_be_of_every_plain_type():
    choices = [None, True, 3, 0.5, "[layer2,layer3]"]
    assert distribution({"choices": choices}) == CategoricalDistribution(choices)


def test_fixed_and_removed_keys_are_not_searched():
    node = {"a": LR, "b": LR, "c": None}
    assert [parameter.key for parameter in read_space(node, ["b"])] == ["a"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"low": 1, "high": 1}, "search.key.low must be under its high, 1, got 1"),
        ({"low": 2.0, "high": 1}, "search.key.low must be under its high, 1, got 2.0"),
        ({"low": 0, "high": 1, "log": True}, "search.key.low must be above 0 where log is true"),
        ({"low": 1}, "search.key.high must be a number, got none"),
        ({"low": "a", "high": 1}, "search.key.low must be a number, got 'a'"),
        ({"low": True, "high": 2}, "search.key.low must be a number, got True"),
        ({"low": 0.1, "high": float("inf")}, "search.key.high must be a number, got inf"),
        ({"low": 1, "high": 9, "step": 0}, "search.key.step must be above 0, got 0"),
        ({"low": 1, "high": 9, "step": 0.5}, "search.key.step must be a whole number"),
        ({"low": 1, "high": 9, "step": 2, "log": True}, "search.key.step=2 is not possible"),
        ({"low": 1, "high": 9, "log": "yes"}, "search.key.log must be true or false, got 'yes'"),
        ({"low": 1, "high": 9, "steps": 2}, "search.key.steps is read by nothing"),
        ({"choices": []}, "search.key must have a list of choices"),
        ({"choices": "mlp"}, "search.key must have a list of choices"),
        ({"choices": [1], "low": 1}, "search.key must have a list of choices"),
        ({"choices": [[1, 2]]}, "search.key.choices must be numbers or texts, got [1, 2]"),
        (0.1, "search.key=0.1 is no range"),
    ],
)
def test_impossible_entries_are_refused_in_one_line(entry, message):
    with pytest.raises(FashionTransferError) as error:
        read_space({"key": entry})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_space_without_parameters_is_refused():
    with pytest.raises(FashionTransferError, match="nothing to search"):
        read_space({"lr": LR}, ["lr"])


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (0.1, "0.1"), (1e-05, "1e-05"), ("a", "a")]
)
def test_values_are_written_as_overrides(value, text):
    assert override_text(value) == text


def test_description_tells_spaces_apart():
    entries = [
        LR,
        LR | {"log": False},
        LR | {"high": 0.02},
        {"low": 0, "high": 10},
        {"low": 0, "high": 10, "step": 5},
        {"low": 0.0, "high": 10.0},
        {"choices": [0, 10]},
        {"choices": [10, 0]},
    ]
    assert len({read_space({"key": entry})[0].describe() for entry in entries}) == len(entries)
