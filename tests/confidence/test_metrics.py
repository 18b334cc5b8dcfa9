"""Metrics by hand, also for rows of probabilities that sum to less than 1."""

import math

import pytest
import torch
from torch import tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from fashion_transfer.confidence import metrics
from fashion_transfer.confidence.metrics import (
    adaptive_ece,
    aurc,
    auroc,
    brier,
    calibration_error,
    confidence_and_correct,
    ece,
    nll,
    risk_coverage,
    selective_accuracy,
)
from fashion_transfer.errors import ArgumentError

OF_ROWS = (ece, adaptive_ece, nll, brier, confidence_and_correct)
# The second row leaves 0.4 to several items.
ROWS, LABELS = tensor([[0.7, 0.2, 0.1], [0.1, 0.5, 0.0]]), tensor([0, 2])


def shuffled(*values: torch.Tensor) -> list[torch.Tensor]:
    order = torch.randperm(len(values[0]), generator=torch.Generator().manual_seed(1))
    return [value[order] for value in values]


# Calibration


def test_ece_by_hand():
    # Bins of 1/15: 0.90 and 0.92 share one, 0.6 is alone: (|1.82 - 1| + |0.6 - 1|) / 3.
    confidence, correct = tensor([0.90, 0.92, 0.6]), tensor([True, False, True])
    assert calibration_error(confidence, correct) == pytest.approx((0.82 + 0.4) / 3)


def test_confidence_is_the_maximum_of_a_row_that_sums_to_less_than_1():
    confidence, correct = confidence_and_correct(ROWS, LABELS)
    assert confidence.tolist() == pytest.approx([0.7, 0.5])
    assert correct.tolist() == [True, False]
    assert ece(ROWS, LABELS) == adaptive_ece(ROWS, LABELS) == pytest.approx((0.3 + 0.5) / 2)


@pytest.mark.parametrize("mass", [1.0, 0.6])
def test_ece_equals_torchmetrics_without_its_rescaling(mass):
    generator = torch.Generator().manual_seed(0)
    rows = mass * torch.randn(500, 10, generator=generator).mul(2).softmax(1)
    labels = torch.randint(0, 10, (500,), generator=generator)
    expected = float(multiclass_calibration_error(rows, labels, 10, n_bins=15))
    assert ece(rows, labels) == pytest.approx(expected, abs=1e-6)
    # One probability rounded to over 1, and torchmetrics would take the softmax of all rows.
    rows[0] = 0
    rows[0, labels[0]] = 1
    before = ece(rows, labels)
    rows[0, labels[0]] = 1.000001
    assert ece(rows, labels) == pytest.approx(before, abs=1e-6)


def test_calibration_error_puts_a_confidence_of_1_in_the_last_bin():
    confidence, correct = tensor([1.0, 0.95]), tensor([False, True])
    assert calibration_error(confidence, correct) == pytest.approx(0.95 / 2)


def test_adaptive_ece_puts_equally_many_images_in_a_bin(monkeypatch):
    monkeypatch.setattr(metrics, "BINS", 2)
    confidence, labels = tensor([0.9, 0.8, 0.6, 0.5]), tensor([0, 0, 0, 1])
    rows = torch.stack([confidence, 1 - confidence], 1)
    rows[3, 1] = 0.4
    # Half and half: |1.7 - 2| and |1.1 - 1| of four.
    assert adaptive_ece(*shuffled(rows, labels)) == pytest.approx((0.3 + 0.1) / 4)


def test_adaptive_ece_ignores_the_order_of_equal_confidences():
    rows = torch.full((100, 2), 0.3)
    rows[:, 0] = 0.7
    labels = (torch.arange(100) >= 70).long()
    assert adaptive_ece(rows, labels) == pytest.approx(0, abs=1e-6)
    assert adaptive_ece(*shuffled(rows, labels)) == pytest.approx(0, abs=1e-6)


def test_nll_by_hand_and_finite_for_a_probability_rounded_to_0():
    expected = -(math.log(0.7) + math.log(0.5)) / 2
    assert nll(ROWS, tensor([0, 1])) == pytest.approx(expected)
    assert nll(ROWS[1:], tensor([2])) == pytest.approx(-math.log(torch.finfo(torch.float32).tiny))


def test_brier_by_hand_with_what_a_row_lacks_as_one_more_class():
    first = 0.3**2 + 0.2**2 + 0.1**2
    second = 0.1**2 + 0.5**2 + 1**2 + 0.4**2
    assert brier(ROWS, LABELS) == pytest.approx((first + second) / 2)
    assert brier(torch.eye(3), torch.arange(3)) == 0
    assert brier(torch.eye(3), tensor([1, 2, 0])) == 2
    assert brier(torch.zeros(1, 3), tensor([0])) == 2  # all of it on several items


@pytest.mark.parametrize("function", OF_ROWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_metrics_of_rows_take_any_precision(function, dtype):
    rows = (3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0))).softmax(1)
    assert function(rows.to(dtype), torch.arange(50) % 10) is not None


# Selection


def test_risk_coverage_and_aurc_by_hand():
    confidence, correct = tensor([0.2, 0.9, 0.5, 0.7]), tensor([False, True, True, False])
    coverage, risk = risk_coverage(confidence, correct)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert aurc(confidence, correct) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_risk_coverage_of_equal_confidences_is_the_mean_over_their_orders():
    confidence, correct = tensor([0.9, 0.5, 0.5]), tensor([True, True, False])
    _, risk = risk_coverage(confidence, correct)
    assert risk.tolist() == pytest.approx([0, 0.25, 1 / 3])
    assert torch.equal(risk, risk_coverage(confidence.flip(0), correct.flip(0))[1])


@pytest.mark.parametrize(("value", "expected"), [(True, 0.0), (False, 1.0)])
def test_aurc_where_all_are_correct_or_all_wrong(value, expected):
    confidence = torch.rand(7, generator=torch.Generator().manual_seed(0))
    assert aurc(confidence, torch.full((7,), value)) == expected


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [([True] * 4, 0.5), ([True, True, False, True], 2 / 3), ([False] * 4, math.nan)],
)
def test_selective_accuracy_is_that_of_the_accepted(accepted, expected):
    correct = tensor([True, True, False, False])
    accuracy = selective_accuracy(correct, tensor(accepted))
    assert accuracy == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("correct", "accepted", "message"),
    [
        (torch.ones(2, dtype=torch.bool), torch.ones(3, dtype=torch.bool), r"\(3,\)"),
        (torch.ones(2, dtype=torch.bool), tensor([0.9, 0.8]), "float32"),
        (tensor([1, 0]), torch.ones(2, dtype=torch.bool), "int64"),
    ],
)
def test_selective_accuracy_rejects_what_is_not_boolean(correct, accepted, message):
    with pytest.raises(ArgumentError, match=f"^accepted and correct must .*{message}"):
        selective_accuracy(correct, accepted)


def test_auroc_by_hand_with_ties_as_half():
    assert auroc(tensor([0.9, 0.4]), tensor([0.5, 0.1, 0.4])) == pytest.approx(4.5 / 6)
    assert auroc(tensor([1.0]), tensor([1.0])) == 0.5


def test_auroc_takes_any_scale():
    assert auroc(tensor([1000.0, 2000.0]), tensor([100.0, 500.0])) == 1
    assert auroc(tensor([-2000.0, math.inf]), tensor([-1000.0, -math.inf])) == 0.75


# Refusals


@pytest.mark.parametrize("function", OF_ROWS)
@pytest.mark.parametrize(
    ("rows", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), r"^probabilities must .*\(0, 3\)"),
        (torch.zeros(3), tensor([0, 1, 2]), r"\(3,\)"),
        (torch.zeros(2, 3), tensor([0]), r"\(1,\)"),
        (torch.zeros(2, 3), tensor([0, 3]), "^labels must .*0 to 3"),
        (torch.zeros(2, 3), tensor([-100, 0]), "-100 to 0"),
        (torch.zeros(2, 3), tensor([0.0, 1.0]), "float32"),
        (tensor([[3.0, -1.0]]), tensor([0]), "-1 to 3"),
        (tensor([[math.nan, 0.5]]), tensor([0]), "nan"),
        (tensor([[0.9, 0.9]]), tensor([0]), r"1\.8"),
    ],
)
def test_metrics_of_rows_reject_impossible_probabilities_and_labels(
    function, rows, labels, message
):
    with pytest.raises(ArgumentError, match=message) as caught:
        function(rows, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("function", [calibration_error, risk_coverage, aurc])
@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        (torch.zeros(0), torch.zeros(0, dtype=torch.bool), r"\(0,\)"),
        (torch.zeros(2), torch.ones(3, dtype=torch.bool), r"\(3,\)"),
        (torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), r"\(2, 2\)"),
        (torch.zeros(2), torch.ones(2), "float32"),
        (tensor([math.nan, 0.5]), tensor([True, True]), "1 nan of 2"),
    ],
)
def test_metrics_of_confidence_reject_what_does_not_match(function, confidence, correct, message):
    with pytest.raises(ArgumentError, match=f"^confidence must .*{message}"):
        function(confidence, correct)


def test_calibration_error_rejects_a_confidence_over_1():
    with pytest.raises(ArgumentError, match="^confidence must be from 0 to 1, got 80 to 80"):
        calibration_error(tensor([80.0]), tensor([True]))


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        (torch.zeros(0), torch.zeros(2), "^positive_scores must .* got 0 with"),
        (torch.zeros(2), torch.zeros(0), "^negative_scores must .* got 0 with"),
        (tensor([math.nan]), torch.zeros(1), "^positive_scores must .* 1 nan$"),
    ],
)
def test_auroc_rejects_missing_scores(positive, negative, message):
    with pytest.raises(ArgumentError, match=message):
        auroc(positive, negative)
