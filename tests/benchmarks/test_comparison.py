"""What counts as equal, and which differences are documented."""

import numpy as np
import pytest

from fashion_transfer.benchmarks.comparison import (
    PREPARED_ANEW,
    compare_arrays,
    compare_metrics,
    print_comparison,
)


def compare(base, head, check="default: features", name="test"):
    [row] = compare_arrays(check, {name: np.asarray(base)}, {name: np.asarray(head)})
    return row


def test_equal_arrays_are_equal():
    row = compare(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))
    assert row.equal
    assert (row.total, row.differing, row.largest) == (3, 0, 0.0)


def test_last_bit_of_one_number_is_a_difference():
    base = np.ones((3, 2), np.float32)
    head = base.copy()
    head[1, 0] = np.nextafter(np.float32(1), np.float32(2))
    row = compare(base, head)
    assert not row.accepted
    assert (row.differing, row.rows) == (1, (1,))
    assert row.largest == pytest.approx(1.2e-7, rel=0.1)


def test_sign_of_zero_is_a_difference_and_nan_equals_itself():
    assert not compare([0.0], [-0.0]).equal
    assert compare([np.nan], [np.nan]).equal


def test_other_shape_or_type_differs_as_a_whole():
    assert compare(np.ones(3), np.ones(4)).differing == 4
    assert compare(np.ones(3), np.ones(3, np.float32)).differing == 3


def test_array_of_one_revision_alone_is_a_difference():
    [row] = compare_arrays("x", {}, {"test": np.ones(1)})
    assert row.what == "test, only in the head"
    assert not row.accepted


@pytest.mark.parametrize(("gap", "equal"), [(0.5e-4, True), (2e-4, False)])
def test_temperature_has_a_tolerance(gap, equal):
    row = compare(1.0, 1.0 + gap, name="best/calibrator.temperature")
    assert row.equal == equal
    [metric] = compare_metrics("x", {"test/temperature": 1.0}, {"test/temperature": 1.0 + gap})
    assert metric.equal == equal


def test_differing_images_are_named_by_their_row_in_the_source():
    rows = {"rows/training": np.array([10, 20, 30])}
    base = rows | {"small/training": np.array([1, 2, 3], np.uint64)}
    head = rows | {"small/training": np.array([1, 5, 3], np.uint64)}
    row = compare_arrays("default: pixels", base, head)[1]
    assert row.rows == (20,)
    assert np.isnan(row.largest)


@pytest.mark.parametrize("name", PREPARED_ANEW)
@pytest.mark.parametrize("group", ["small/", "whole/", ""])
def test_images_that_are_prepared_anew_are_documented(name, group):
    check = "default: pixels" if group else "default: features"
    source = np.arange(7000)
    base = np.zeros(7000)
    head = base.copy()
    head[PREPARED_ANEW[name][0]] = 1
    key = f"{group}{name}"
    arrays = [{f"rows/{name}": source, key: array} for array in (base, head)]
    assert compare_arrays(check, *arrays)[1].accepted
    head[0] = 1
    assert not compare_arrays(check, *arrays)[1].accepted


@pytest.mark.parametrize(
    ("name", "gap", "accepted"),
    [
        ("multi_item/side_by_side/warned", 1 / 200, True),
        ("multi_item/side_by_side/warned", 2 / 200, False),
        ("multi_item/stacked/warned", 1 / 200, False),
        ("multi_item/trained/warned", 1 / 1600, True),
        ("out_of_distribution/warned", 1 / 800, True),
        ("test/warned", 1 / 200, False),
    ],
)
def test_warnings_may_differ_by_the_image_that_is_prepared_anew(name, gap, accepted):
    [row] = compare_metrics("default, seed 0: evaluation", {name: 0.5}, {name: 0.5 + gap})
    assert not row.equal
    assert row.accepted == accepted


def test_metrics_are_equal_if_they_are_printed_alike():
    base = {"test/accuracy": 0.91234, "test/ece": 0.0071, "weights/name": "a"}
    head = {"test/accuracy": 0.91229, "test/ece": 0.0073, "weights/name": "b"}
    differing = [row.what for row in compare_metrics("x", base, head) if not row.equal]
    assert differing == ["test/ece", "weights/name"]


def test_metrics_on_two_sides_of_a_rounding_limit_are_equal():
    [row] = compare_metrics("x", {"m": 0.00015 - 1e-9}, {"m": 0.00015 + 1e-9})
    assert row.equal


def test_times_and_versions_are_not_compared():
    names = ("seconds/fit", "versions/torch", "checkpoint")
    assert compare_metrics("x", dict.fromkeys(names, 1), dict.fromkeys(names, 2)) == []


@pytest.mark.parametrize(
    ("before", "today"),
    [
        ("multi/several_items", "multi_item/reason_multi_item"),
        ("multi/trained/warned", "multi_item/trained/warned"),
        ("unfamiliar/noise/warned", "out_of_distribution/noise/warned"),
        ("single/warned", "test/warned"),
        ("control/warned", "control/warned"),
    ],
)
def test_metrics_of_version_0_1_0_are_compared_under_their_new_names(before, today):
    [row] = compare_metrics("x", {before: 0.5}, {today: 0.5}, renamed=True)
    assert row.equal


def test_table_has_a_line_per_check_and_one_per_difference(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    base = {"a": np.zeros(3), "b": np.zeros(3)}
    head = {"a": np.zeros(3), "b": np.array([0.0, 0.25, 0.0])}
    print_comparison(compare_arrays("fast: features", base, head))
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    cells = [[cell.strip() for cell in line] for line in lines]
    assert cells[0] == ["fast: features", "NO", "", "1", "6"]
    assert cells[1] == ["b [1]", "NO", "0.25", "1", "3"]
    assert len(cells) == 2


def test_table_does_not_list_hundreds_of_differences(capsys):
    names = [f"array{number}" for number in range(100)]
    print_comparison(
        compare_arrays("x", dict.fromkeys(names, np.zeros(1)), dict.fromkeys(names, np.ones(1)))
    )
    out = capsys.readouterr().out
    assert "88 more" in out
    assert len(out.splitlines()) < 40
