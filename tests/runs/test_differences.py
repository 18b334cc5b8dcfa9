from pathlib import Path

import pytest
from run_folders import CHOICES, CONFIG

from fashion_transfer.runs.differences import (
    Spread,
    differing,
    over_seeds,
    settings,
    short_names,
    typed_keys,
    value_text,
)
from fashion_transfer.runs.record import RunRecord


def record(*overrides: str, choices: dict | None = None, **config) -> RunRecord:
    return RunRecord(
        Path(),
        overrides=list(overrides),
        choices=CHOICES | (choices or {}),
        config=CONFIG | {key.replace("__", "."): value for key, value in config.items()},
    )


def test_settings_leave_out_paths_and_copies_of_the_seed():
    values = settings(record())
    assert "paths.logs" not in values
    assert "data.seed" not in values
    assert values["seed"] == 0


def test_settings_keep_a_seed_of_its_own():
    assert settings(record(data__seed=3))["data.seed"] == 3


def test_settings_name_the_chosen_file_instead_of_a_class():
    values = settings(record())
    assert values["model.optimizer"] == "adamw"
    assert values["data"] == "fashion_mnist"
    assert "model.optimizer._target_" not in values


def test_settings_name_the_class_that_was_given_by_override():
    values = settings(record("data._target_=x.Mine", data___target_="x.Mine"))
    assert values["data"] == "Mine"


def test_settings_show_the_experiment_and_null():
    values = settings(record(choices={"experiment": "fast"}, model__backbone__weights=None))
    assert values["experiment"] == "fast"
    assert values["model.backbone.weights"] == "null"
    assert "debug" not in values


def test_settings_fill_in_the_interpolations_of_old_runs():
    values = settings(
        record(data__seed="${oc.select:seed,0}", data__dir="${paths.logs}/x", x="${hydra:a}/b")
    )
    assert "data.seed" not in values
    assert values["data.dir"] == "logs/x"
    assert "x" not in values


def test_typed_keys_are_those_of_the_overrides():
    keys = typed_keys(record("+a.b=1", "model/head@model.head=mlp", "~c", "seed=1"))
    assert keys == {"a.b", "model.head", "c", "seed"}


def test_differing_returns_keys_with_more_than_one_value():
    rows = [{"a": 1, "b": 2, "c": [1, 2]}, {"a": 1.0, "b": 3, "c": [1, 2]}]
    assert differing(rows) == ["b"]


def test_differing_tells_true_from_one():
    assert differing([{"a": True}, {"a": 1}]) == ["a"]


def test_differing_counts_a_missing_key_only_if_the_user_gave_it():
    rows = [{"a": 1}, {"a": 1, "momentum": 0.9}]
    assert differing(rows) == []
    assert differing(rows, {"momentum"}) == ["momentum"]


def test_differing_is_empty_for_one_run_and_for_none():
    assert differing([{"a": 1}]) == differing([]) == []


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["model.optimizer.lr", "seed"], ["lr", "seed"]),
        (["a.lr", "b.lr", "lr"], ["a.lr", "b.lr", "lr"]),
        (["model.head.name"], ["head.name"]),
        (["x.a.size.n", "y.a.size.n"], ["x.a.size.n", "y.a.size.n"]),
        (["name"], ["name"]),
        ([], []),
    ],
)
def test_short_names_are_the_shortest_unambiguous_ends(keys, names):
    assert short_names(keys) == dict(zip(keys, names, strict=True))


def test_over_seeds_returns_mean_and_deviation():
    rows = [{"seed": seed, "lr": 1} for seed in (0, 1)] + [{"seed": 0, "lr": 2}]
    first, second = over_seeds(rows, [{"m": 1.0}, {"m": 3.0}, {"m": 5.0, "text": "x"}])
    assert first.members == [0, 1]
    assert first.seeds == 2
    assert first.metrics["m"].mean == 2.0
    assert first.metrics["m"].deviation == pytest.approx(2**0.5)
    assert second.metrics == {"m": Spread(5.0, None)}


def test_over_seeds_counts_a_seed_once():
    rows = [{"seed": 0}, {"seed": 0}, {"seed": 1}]
    [group] = over_seeds(rows, [{"m": 1.0}, {"m": 9.0}, {"m": 3.0}])
    assert group.members == [0, 1, 2]
    assert group.seeds == 2
    assert group.metrics["m"].mean == 2.0


def test_over_seeds_leaves_out_a_metric_that_one_run_lacks():
    [group] = over_seeds([{"seed": 0}, {"seed": 1}], [{"a": 1.0, "b": 1.0}, {"a": 2.0}])
    assert group.metrics.keys() == {"a"}


def test_over_seeds_separates_runs_that_lack_a_key():
    assert len(over_seeds([{"seed": 0}, {"seed": 1, "momentum": 0.9}], [{}, {}])) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (3.0, "3"),
        (0.1, "0.1"),
        (1e-5, "1e-05"),
        (float("nan"), "nan"),
        (["layer2@2", 3], "[layer2@2,3]"),
        ({"a": [1]}, "{a:[1]}"),
        ("x", "x"),
    ],
)
def test_value_text_is_as_in_an_override(value, text):
    assert value_text(value) == text
