"""Figures about confidence show the numbers they are given."""

import numpy as np
import pytest
import torch

from fashion_transfer.confidence.metrics import calibration_error
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting import (
    confidence_histograms,
    reliability_diagram,
    risk_coverage_figure,
    save_figure,
)

CONFIDENCE = torch.tensor([0.90, 0.92, 0.62, 0.97])
CORRECT = torch.tensor([True, False, True, True])


def heights(axis) -> list[list[float]]:
    return [[bar.get_height() for bar in bars] for bars in axis.containers]


def test_reliability_diagram_shows_accuracy_gap_count_and_error(assert_texts_fit, tmp_path):
    figure = reliability_diagram((CONFIDENCE, CORRECT), (CONFIDENCE.numpy(), CORRECT.numpy()))
    upper, other, lower, _ = figure.axes
    accuracy, gap = heights(upper)
    # Bins of 1/15: 0.62, then 0.90 and 0.92, then 0.97.
    assert accuracy == pytest.approx([1, 0.5, 1])
    assert gap == pytest.approx([0.62 - 1, 0.91 - 0.5, 0.97 - 1])
    assert [height for height in heights(lower)[0] if height] == [1, 2, 1]
    error = f"{calibration_error(CONFIDENCE, CORRECT):.2%}"
    assert upper.get_title() == f"before calibration: ECE {error}"
    assert other.get_title() == f"after calibration: ECE {error}"
    assert (upper.get_ylabel(), lower.get_xlabel()) == ("accuracy", "confidence")
    assert_texts_fit(figure)
    save_figure(figure, tmp_path / "figure.png")


def test_reliability_diagram_puts_confidences_of_0_and_1_in_the_first_and_last_bin():
    ends = torch.tensor([0.0, 1.0]), torch.tensor([False, True])
    lower = reliability_diagram(ends, ends).axes[2]
    assert heights(lower)[0] == [1] + [0] * 13 + [1]


def test_reliability_diagram_rejects_an_empty_set():
    none = torch.zeros(0), torch.zeros(0, dtype=torch.bool)
    with pytest.raises(FashionTransferError, match="at least one"):
        reliability_diagram(none, none)


def test_risk_coverage_figure_has_a_curve_and_an_area_for_each_name(assert_texts_fit):
    coverage, risk = torch.tensor([0.5, 1.0]), torch.tensor([0.0, 0.1])
    curves = {"ours": (coverage, risk, 0.05), "reference rule": (coverage, 2 * risk, 0.1)}
    figure = risk_coverage_figure(curves)
    [axis] = figure.axes
    assert [line.get_ydata().tolist() for line in axis.lines] == [
        pytest.approx([0, 0.1]),
        pytest.approx([0, 0.2]),
    ]
    legend = [text.get_text() for text in axis.get_legend().get_texts()]
    assert legend == ["ours: AURC 0.0500", "reference rule: AURC 0.1000"]
    assert len({(line.get_color(), line.get_linestyle()) for line in axis.lines}) == 2
    assert_texts_fit(figure)


def test_confidence_histograms_show_fractions_below_the_threshold(assert_texts_fit, tmp_path):
    groups = {
        "correct": CONFIDENCE,
        "wrong": np.array([0.1, 0.2, 0.85]),
        "out-of-distribution": torch.zeros(0),
    }
    figure = confidence_histograms(groups, 0.8)
    first, second, third = figure.axes
    assert sum(heights(first)[0]) == pytest.approx(1)
    assert sum(heights(third)[0]) == 0
    captions = [axis.texts[0].get_text().splitlines() for axis in figure.axes]
    assert captions[0] == ["correct", "4 images", "25.0% below 80%"]
    assert captions[1][2] == "66.7% below 80%"
    assert captions[2][1:] == ["0 images", "none below 80%"]
    assert [line.get_xdata()[0] for line in second.lines] == [0.8]
    assert_texts_fit(figure)
    save_figure(figure, tmp_path / "figure.png")


def test_confidence_histograms_name_a_fitted_threshold_exactly_enough():
    assert "76.6%" in confidence_histograms({"test": CONFIDENCE}, 0.7661).get_suptitle()
