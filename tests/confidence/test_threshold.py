"""The threshold, by hand."""

import math

import pytest
import torch

from fashion_transfer.confidence import fit_threshold
from fashion_transfer.errors import ArgumentError

# Sorted: correct, correct, wrong, correct, wrong.
CONFIDENCE = torch.tensor([0.5, 0.9, 0.6, 0.8, 0.7])
CORRECT = torch.tensor([False, True, True, True, False])


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [(1.0, 0.8), (0.76, 0.8), (0.75, 0.6), (0.7, 0.6), (0.61, 0.6), (0.6, 0.5), (0.0, 0.5)],
)
def test_fit_threshold_takes_the_lowest_that_reaches_the_accuracy(accuracy, expected):
    # Accuracy of the most confident one, two … five: 1, 1, 2/3, 3/4, 3/5.
    threshold = fit_threshold(CONFIDENCE, CORRECT, selective_accuracy=accuracy)
    assert threshold == pytest.approx(expected)
    accepted = CONFIDENCE.double() >= threshold
    assert CORRECT[accepted].double().mean() >= accuracy


def test_fit_threshold_takes_predictions_of_equal_confidence_together():
    confidence = torch.tensor([0.9, 0.7, 0.7, 0.7, 0.6])
    correct = torch.tensor([True, True, True, False, False])
    # Down to 0.7: three of four. The first two of its three would be better, in one order.
    for order in ([0, 1, 2, 3, 4], [3, 2, 4, 1, 0]):
        thresholds = [
            fit_threshold(confidence[order], correct[order], accuracy) for accuracy in (0.75, 0.9)
        ]
        assert thresholds == pytest.approx([0.7, 0.9])


@pytest.mark.parametrize(
    ("warned", "expected"), [(0.0, 0.5), (0.2, 0.6), (0.4, 0.7), (0.6, 0.8), (0.8, 0.9)]
)
def test_fit_threshold_warns_about_the_fraction(warned, expected):
    threshold = fit_threshold(CONFIDENCE, CORRECT, warned=warned)
    assert threshold == pytest.approx(expected)
    assert (CONFIDENCE.double() < threshold).double().mean() == pytest.approx(warned)


@pytest.mark.parametrize("warned", [0.01, 0.03, 0.12, 0.5, 0.997])
def test_fit_threshold_warns_about_the_fraction_of_many_to_an_image(warned):
    confidence = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    threshold = fit_threshold(confidence, confidence > 0.5, warned=warned)
    assert int((confidence.double() < threshold).sum()) == round(1000 * warned)


def test_fit_threshold_warns_about_no_more_than_the_fraction_of_equal_confidences():
    confidence = torch.tensor([0.9, 0.7, 0.7, 0.7])
    threshold = fit_threshold(confidence, torch.ones(4, dtype=torch.bool), warned=0.5)
    assert threshold == pytest.approx(0.7)


def test_fit_threshold_prefers_the_fraction_to_the_accuracy():
    target = {"selective_accuracy": 1.0, "warned": 0.2}
    assert fit_threshold(CONFIDENCE, CORRECT, **target) == pytest.approx(0.6)


@pytest.mark.parametrize("count", [1, 3, 30])
def test_fit_threshold_rejects_an_accuracy_out_of_reach(count):
    confidence = torch.linspace(0.1, 0.9, count)
    message = rf"^selective_accuracy must be at most 0\.000, .* {count} validation .*got 0\.97$"
    with pytest.raises(ArgumentError, match=message):
        fit_threshold(confidence, torch.zeros(count, dtype=torch.bool))


def test_fit_threshold_reaches_the_accuracy_that_its_error_names():
    confidence = torch.tensor([0.9, 0.9, 0.9, 0.5])
    correct = torch.tensor([True, False, True, False])
    with pytest.raises(ArgumentError, match=r"at most 0\.666, "):
        fit_threshold(confidence, correct, 0.7)
    assert fit_threshold(confidence, correct, 0.666) == pytest.approx(0.9)


@pytest.mark.parametrize("target", [{}, {"warned": 0.3}])
def test_fit_threshold_takes_one_image_and_rejects_none(target):
    threshold = fit_threshold(torch.tensor([0.7]), torch.tensor([True]), **target)
    assert threshold == pytest.approx(0.7)
    with pytest.raises(ArgumentError, match=r"^confidence and correct must .*\(0,\)"):
        fit_threshold(torch.zeros(0), torch.zeros(0, dtype=torch.bool), **target)


@pytest.mark.parametrize("name", ["selective_accuracy", "warned"])
@pytest.mark.parametrize("value", [-0.1, 1.1, 97, math.nan, "many", True])
def test_fit_threshold_rejects_what_is_no_fraction(name, value):
    with pytest.raises(ArgumentError, match=f"^{name} must .* got {value!r}"):
        fit_threshold(CONFIDENCE, CORRECT, **{name: value})


def test_fit_threshold_rejects_no_target():
    with pytest.raises(ArgumentError, match="^selective_accuracy must .* got None"):
        fit_threshold(CONFIDENCE, CORRECT, selective_accuracy=None)


def test_fit_threshold_rejects_different_lengths():
    with pytest.raises(ArgumentError, match=r"\(5,\) and \(3,\)"):
        fit_threshold(CONFIDENCE, CORRECT[:3])
