"""Accuracy over images per class: the table and the figure."""

import pytest

from fashion_transfer.reporting import curves_figure, save_figure
from fashion_transfer.reporting.learning_curves import STYLES, curves_markdown


def row(mean: float, spread: float = 0.0, seeds: int = 5) -> dict:
    return {"seeds": seeds, "test/accuracy": {"mean": mean, "spread": spread}}


CURVES = {
    "ours": {500: row(0.9161, 0.0007), 1: row(0.5, 0.04), 5900: row(0.93)},
    "HOG and RBF-SVM, no pretrained network": {1: row(0.4, 0.05), 500: row(0.89, seeds=1)},
}


def test_table_has_a_column_per_number_and_a_row_per_curve():
    lines = [line.strip("| ").split(" | ") for line in curves_markdown(CURVES).splitlines()]
    assert lines[0] == ["images per class", "1", "500", "5,900"]
    assert lines[2] == ["ours", "50.0 ± 4.0", "91.6 ± 0.1", "93.0 ± 0.0"]
    assert lines[3][1:3] == ["40.0 ± 5.0", "89.0"]
    assert curves_markdown({}) == ""


def test_figure_has_a_line_with_error_bars_per_curve(assert_texts_fit, tmp_path):
    figure = curves_figure(CURVES)
    [axis] = figure.axes
    lines = [container.lines[0] for container in axis.containers]
    assert [line.get_xdata().tolist() for line in lines] == [[1, 500, 5900], [1, 500]]
    assert lines[1].get_ydata().tolist() == pytest.approx([40, 89])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(CURVES)
    assert axis.get_xscale() == "log"
    assert_texts_fit(figure)
    save_figure(figure, tmp_path / "curves.png")


def test_curves_differ_in_colour_and_marker():
    assert len({color for color, _ in STYLES}) == len({marker for _, marker in STYLES}) == 6


def test_figure_without_curves_is_empty():
    assert curves_figure({}).axes[0].get_legend() is None
