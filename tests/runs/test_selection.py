import pytest
from run_folders import write_run

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.collection import collect
from fashion_transfer.runs.differences import Spread
from fashion_transfer.runs.selection import (
    default_metric,
    full_name,
    parse_condition,
    sort_runs,
    sorted_positions,
)

NAMES = {
    "data.images_per_class": True,
    "data.synthetic.images_per_class": False,
    "model.optimizer": True,
    "model.optimizer.lr": True,
    "val/accuracy": True,
    "test/accuracy": True,
    "status": False,
    "date": True,
}
ROW = {
    "data.images_per_class": 500,
    "model.optimizer": "adamw",
    "model.optimizer.lr": 0.001,
    "val/accuracy": 0.92,
    "status": "finished",
    "date": "2026-11-26 09:30",
    "pool": ["layer2@2", "layer3"],
    "compile": True,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("data.images_per_class=500", True),
        ("data.images_per_class = 500.0", True),
        ("images_per_class=50", False),
        ("images_per_class!=50", True),
        ("lr=1e-3", True),
        ("lr<0.001", False),
        ("lr<=0.001", True),
        ("val/accuracy>=0.9", True),
        ("val/accuracy>0.92", False),
        ("model/optimizer=adamw", True),
        ("optimizer~adam", True),
        ("optimizer~sgd", False),
        ("date>=2026-11-26", True),
        ("date<2026-11-26", False),
        ("pool=[layer2@2, layer3]", True),
        ("pool~layer3", True),
        ("compile=True", True),
        ("test/accuracy=0.9", False),
        ("test/accuracy!=0.9", True),
        ("status=", False),
    ],
)
def test_condition_holds(text, holds):
    names = NAMES | dict.fromkeys(ROW, True) | {"data.synthetic.images_per_class": False}
    assert parse_condition(text, names).holds(ROW) is holds


@pytest.mark.parametrize("text", ["", "500", "=500", "a b=1", "lr"])
def test_parse_condition_refuses_what_is_none(text):
    with pytest.raises(FashionTransferError, match="is no condition"):
        parse_condition(text, NAMES)


def test_full_name_takes_an_unambiguous_end():
    assert full_name("lr", NAMES, "--sort") == "model.optimizer.lr"
    assert full_name("images_per_class", NAMES, "--sort") == "data.images_per_class"


def test_full_name_refuses_an_ambiguous_end():
    with pytest.raises(FashionTransferError, match="fits test/accuracy, val/accuracy"):
        full_name("accuracy", NAMES, "--sort")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("test/acuracy", "test/accuracy"),
        ("data.image_per_class", "data.images_per_class"),
        ("optimiser", "model.optimizer"),
    ],
)
def test_full_name_names_the_nearest(name, nearest):
    with pytest.raises(
        FashionTransferError, match=f"{name}: no run has it; the nearest is {nearest}"
    ):
        full_name(name, NAMES, "--where")


@pytest.mark.parametrize(
    ("name", "values", "order"),
    [
        ("val/loss", [0.3, None, 0.1, float("nan"), 0.2], [2, 4, 0, 1, 3]),
        ("val/accuracy", [0.3, None, 0.1, 0.4], [3, 0, 2, 1]),
        ("val/accuracy", [Spread(0.3, 0.1), 0.5], [1, 0]),
        ("run", ["job10", "job9"], [1, 0]),
        ("data.images_per_class", [500, "all", 50], [2, 0, 1]),
        ("date", ["2026-01-01", "2026-01-02"], [1, 0]),
        ("x", [], []),
    ],
)
def test_sorted_positions_puts_the_best_first_and_missing_last(name, values, order):
    assert sorted_positions(values, name) == order


def test_sorted_positions_reversed_leaves_missing_last():
    assert sorted_positions([0.3, None, 0.1], "val/loss", reverse=True) == [0, 2, 1]


def test_sort_runs_and_default_metric(tmp_path):
    write_run(tmp_path, "a", accuracy=0.5)
    write_run(tmp_path, "b", accuracy=0.75)
    runs = collect(tmp_path)
    assert default_metric(runs) == "val/loss"
    assert [run.name for run in sort_runs(runs, "val/loss")] == ["b", "a"]
    write_run(tmp_path, "c", {"monitor.metric": "val/accuracy"}, accuracy=0.5)
    assert default_metric(collect(tmp_path)) is None


def test_default_metric_is_none_without_metrics(tmp_path):
    write_run(tmp_path, "a")
    write_run(tmp_path, "b", {"monitor.metric": None}, accuracy=0.5)
    assert default_metric(collect(tmp_path)) is None
