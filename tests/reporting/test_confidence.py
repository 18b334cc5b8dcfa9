"""Figures show the numbers they were given; the table says them in words."""

import math
import sys

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from fashion_transfer.confidence.metrics import calibration_error
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting import confidence as module
from fashion_transfer.reporting.confidence import (
    WarningRow,
    as_array,
    confidence_histograms,
    reliability_diagram,
    risk_coverage_figure,
    save_figure,
    warnings_markdown,
    warnings_table,
)

SURE = torch.tensor([0.90, 0.92, 0.62, 0.97])
RIGHT = torch.tensor([True, False, True, True])
ROWS = (
    WarningRow("single", 10_000, 0.131, {"ambiguous": 0.125, "several items": 0.006}, 0.203),
    WarningRow("side_by_side", 1000, 0.998, {"several items": 0.998}, math.nan),
)


def heights(axis) -> list[list[float]]:
    return [[bar.get_height() for bar in bars] for bars in axis.containers]


# Saving


def test_a_figure_is_written_whole_and_leaves_no_scratch_file(tmp_path):
    figure = Figure(figsize=(2, 1))
    save_figure(figure, tmp_path / "it.png", dpi=50)
    save_figure(figure, tmp_path / "it.png", dpi=50)
    assert [file.name for file in tmp_path.iterdir()] == ["it.png"]
    with Image.open(tmp_path / "it.png") as image:
        assert (image.format, image.size) == ("PNG", (100, 50))


def test_a_figure_that_cannot_be_drawn_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "it.png"
    path.write_bytes(b"old")
    figure = Figure()
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"


# Figures


def test_the_reliability_diagram_shows_accuracy_gap_count_and_error(tmp_path):
    figure = reliability_diagram((SURE, RIGHT), (SURE.numpy(), RIGHT.numpy()))
    top, other, low, _ = figure.axes
    accuracy, gap = heights(top)
    # Bins of 1/15: 0.62, then 0.90 and 0.92, then 0.97.
    assert accuracy == pytest.approx([1, 0.5, 1])
    assert gap == pytest.approx([0.62 - 1, 0.91 - 0.5, 0.97 - 1])
    assert [height for height in heights(low)[0] if height] == [1, 2, 1]
    assert top.get_title() == f"before calibration: ECE {calibration_error(SURE, RIGHT):.2%}"
    assert other.get_title() == f"after calibration: ECE {calibration_error(SURE, RIGHT):.2%}"
    assert (top.get_ylabel(), low.get_xlabel()) == ("accuracy", "confidence")
    save_figure(figure, tmp_path / "it.png")


def test_confidences_of_0_and_1_are_in_the_first_and_last_bin():
    ends = torch.tensor([0.0, 1.0]), torch.tensor([False, True])
    low = reliability_diagram(ends, ends).axes[2]
    assert heights(low)[0] == [1] + [0] * 13 + [1]


def test_no_answers_have_no_reliability():
    none = torch.zeros(0), torch.zeros(0, dtype=torch.bool)
    with pytest.raises(FashionTransferError, match="at least one"):
        reliability_diagram(none, none)


def test_the_risk_coverage_figure_has_a_curve_and_an_area_for_each():
    coverage, risk = torch.tensor([0.5, 1.0]), torch.tensor([0.0, 0.1])
    curves = {"ours": (coverage, risk, 0.05), "reference rule": (coverage, 2 * risk, 0.1)}
    [axis] = risk_coverage_figure(curves).axes
    assert [line.get_ydata().tolist() for line in axis.lines] == [
        pytest.approx([0, 0.1]),
        pytest.approx([0, 0.2]),
    ]
    told = [text.get_text() for text in axis.get_legend().get_texts()]
    assert told == ["ours: AURC 0.0500", "reference rule: AURC 0.1000"]
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 2


def test_histograms_are_shares_of_each_group_with_what_is_under_the_threshold(tmp_path):
    groups = {"right": SURE, "wrong": np.array([0.1, 0.2, 0.85]), "unfamiliar": torch.zeros(0)}
    figure = confidence_histograms(groups, 0.8)
    first, second, third = figure.axes
    assert sum(heights(first)[0]) == pytest.approx(1)
    assert sum(heights(third)[0]) == 0
    told = [axis.texts[0].get_text().splitlines() for axis in figure.axes]
    assert told[0] == ["right", "4 images", "25.0% under 80%"]
    assert told[1][2] == "66.7% under 80%"
    assert told[2][1:] == ["0 images", "none under 80%"]
    assert [line.get_xdata()[0] for line in second.lines] == [0.8]
    save_figure(figure, tmp_path / "it.png")


def test_values_may_be_of_any_kind():
    half = torch.tensor([0.5], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(half, float).tolist() == [0.5]
    fixed = np.array([1.0])
    fixed.flags.writeable = False
    assert as_array(fixed, float).flags.writeable
    third = torch.tensor([1 / 3], dtype=torch.float64)
    assert as_array(third, float)[0] == 1 / 3


def test_matplotlib_is_imported_only_to_draw(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    warnings_markdown(ROWS)
    with pytest.raises(ImportError):
        module.risk_coverage_figure({})


# Table


def test_the_markdown_has_a_row_a_kind_and_a_column_a_reason():
    assert warnings_markdown(ROWS).splitlines() == [
        "| kind | images | warned | ambiguous | several items | reference |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| single | 10,000 | 13.1 | 12.5 | 0.6 | 20.3 |",
        "| side by side | 1,000 | 99.8 | 0.0 | 99.8 | – |",
    ]


def test_the_table_says_the_same_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    row = WarningRow("a_kind_of_a_long_name", 9, 1.0, {"unfamiliar": 1.0}, 0.5)
    warnings_table((*ROWS, row))
    told = capsys.readouterr().out
    words = ("10,000", "13.1", "12.5", "20.3", "99.8", "–", "several", "unfamiliar", "reference")
    assert all(word in told for word in words)
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told


def test_no_rows_are_an_empty_table(capsys):
    warnings_table([])
    assert "kind" in capsys.readouterr().out
    assert warnings_markdown([]).count("\n") == 2
