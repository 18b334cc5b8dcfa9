"""Metrics against values worked out by hand, rows that lack mass among them."""

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
    confidence_and_right,
    ece,
    nll,
    risk_coverage,
    selective_accuracy,
)
from fashion_transfer.errors import FashionTransferError

OF_ROWS = (ece, adaptive_ece, nll, brier, confidence_and_right)
# The second row leaves 0.4 to several items.
ROWS, LABELS = tensor([[0.7, 0.2, 0.1], [0.1, 0.5, 0.0]]), tensor([0, 2])


def shuffled(*values: torch.Tensor) -> list[torch.Tensor]:
    order = torch.randperm(len(values[0]), generator=torch.Generator().manual_seed(1))
    return [value[order] for value in values]


# Calibration


def test_ece_by_hand():
    # Bins of 1/15: 0.90 and 0.92 share one, 0.6 is alone: (|1.82 - 1| + |0.6 - 1|) / 3.
    confidence, right = tensor([0.90, 0.92, 0.6]), tensor([True, False, True])
    assert calibration_error(confidence, right) == pytest.approx((0.82 + 0.4) / 3)


def test_a_row_that_lacks_mass_has_its_maximum_as_confidence():
    confidence, right = confidence_and_right(ROWS, LABELS)
    assert confidence.tolist() == pytest.approx([0.7, 0.5])
    assert right.tolist() == [True, False]
    assert ece(ROWS, LABELS) == adaptive_ece(ROWS, LABELS) == pytest.approx((0.3 + 0.5) / 2)


@pytest.mark.parametrize("mass", [1.0, 0.6])
def test_ece_is_torchmetrics_and_none_of_its_rescaling(mass):
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


def test_a_confidence_of_1_is_in_the_last_bin_and_in_none_of_its_own():
    confidence, right = tensor([1.0, 0.95]), tensor([False, True])
    assert calibration_error(confidence, right) == pytest.approx(0.95 / 2)


def test_adaptive_ece_has_equally_many_images_in_a_bin(monkeypatch):
    monkeypatch.setattr(metrics, "BINS", 2)
    confidence, labels = tensor([0.9, 0.8, 0.6, 0.5]), tensor([0, 0, 0, 1])
    rows = torch.stack([confidence, 1 - confidence], 1)
    rows[3, 1] = 0.4
    # Half and half: |1.7 - 2| and |1.1 - 1| of four.
    assert adaptive_ece(*shuffled(rows, labels)) == pytest.approx((0.3 + 0.1) / 4)


def test_adaptive_ece_does_not_depend_on_the_order_of_equal_confidences():
    rows = torch.full((100, 2), 0.3)
    rows[:, 0] = 0.7
    labels = (torch.arange(100) >= 70).long()
    assert adaptive_ece(rows, labels) == pytest.approx(0, abs=1e-6)
    assert adaptive_ece(*shuffled(rows, labels)) == pytest.approx(0, abs=1e-6)


def test_nll_by_hand_and_finite_for_what_was_rounded_to_0():
    found = nll(ROWS, tensor([0, 1]))
    assert found == pytest.approx(-(math.log(0.7) + math.log(0.5)) / 2)
    assert nll(ROWS[1:], tensor([2])) == pytest.approx(-math.log(torch.finfo(torch.float32).tiny))


def test_brier_by_hand_with_what_is_missing_as_a_class_of_its_own():
    first = 0.3**2 + 0.2**2 + 0.1**2
    second = 0.1**2 + 0.5**2 + 1**2 + 0.4**2
    assert brier(ROWS, LABELS) == pytest.approx((first + second) / 2)
    assert brier(torch.eye(3), torch.arange(3)) == 0
    assert brier(torch.eye(3), tensor([1, 2, 0])) == 2
    assert brier(torch.zeros(1, 3), tensor([0])) == 2  # all of it on several items


@pytest.mark.parametrize("function", OF_ROWS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_will_do(function, dtype):
    rows = (3 * torch.randn(50, 10, generator=torch.Generator().manual_seed(0))).softmax(1)
    function(rows.to(dtype), torch.arange(50) % 10)


# Selection


def test_risk_and_coverage_by_hand():
    confidence, right = tensor([0.2, 0.9, 0.5, 0.7]), tensor([False, True, True, False])
    coverage, risk = risk_coverage(confidence, right)
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert aurc(confidence, right) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidences_give_what_a_random_order_gives_on_average():
    confidence, right = tensor([0.9, 0.5, 0.5]), tensor([True, True, False])
    _, risk = risk_coverage(confidence, right)
    assert risk.tolist() == pytest.approx([0, 0.25, 1 / 3])
    assert torch.equal(risk, risk_coverage(confidence.flip(0), right.flip(0))[1])


@pytest.mark.parametrize(("right", "expected"), [(True, 0.0), (False, 1.0)])
def test_all_right_or_all_wrong(right, expected):
    answers = torch.rand(7, generator=torch.Generator().manual_seed(0)), torch.full((7,), right)
    assert aurc(*answers) == expected
    assert selective_accuracy(*answers, 0) == 1 - expected


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0, 0.5), (0.5, 2 / 3), (0.75, 1), (0.7501, math.nan)]
)
def test_selective_accuracy_is_of_those_at_or_over_the_threshold(threshold, expected):
    confidence, right = tensor([0.75, 0.5, 0.25, 0.5]), tensor([True, True, False, False])
    found = selective_accuracy(confidence, right, threshold)
    assert found == pytest.approx(expected, nan_ok=True)


def test_a_threshold_is_compared_as_the_policy_compares_it():
    # float32 has no 0.9: what is nearest lies under it, and ThresholdPolicy warns.
    assert math.isnan(selective_accuracy(tensor([0.9]), tensor([True]), 0.9))


def test_auroc_by_hand_and_ties_count_half():
    assert auroc(tensor([0.9, 0.4]), tensor([0.5, 0.1, 0.4])) == pytest.approx(4.5 / 6)
    assert auroc(tensor([1.0]), tensor([1.0])) == 0.5


def test_auroc_takes_any_scale():
    # As probabilities these would all be 1.
    assert auroc(tensor([1000.0, 2000.0]), tensor([100.0, 500.0])) == 1
    assert auroc(tensor([-2000.0, math.inf]), tensor([-1000.0, -math.inf])) == 0.75


# Refusals


@pytest.mark.parametrize("function", OF_ROWS)
@pytest.mark.parametrize(
    ("rows", "labels", "told"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), r"\(0, 3\)"),
        (torch.zeros(3), tensor([0, 1, 2]), r"\(3,\)"),
        (torch.zeros(2, 3), tensor([0]), r"\(1,\)"),
        (torch.zeros(2, 3), tensor([0, 3]), "0 to 3"),
        (torch.zeros(2, 3), tensor([-100, 0]), "-100 to 0"),
        (torch.zeros(2, 3), tensor([0.0, 1.0]), "float32"),
        (tensor([[3.0, -1.0]]), tensor([0]), "-1 to 3"),
        (tensor([[math.nan, 0.5]]), tensor([0]), "nan"),
        (tensor([[0.9, 0.9]]), tensor([0]), r"1\.8"),
    ],
)
def test_what_are_no_probabilities_or_labels_is_refused(function, rows, labels, told):
    with pytest.raises(FashionTransferError, match=told) as caught:
        function(rows, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "function",
    [calibration_error, risk_coverage, aurc, lambda *answers: selective_accuracy(*answers, 0.5)],
)
@pytest.mark.parametrize(
    ("confidence", "right", "told"),
    [
        (torch.zeros(0), torch.zeros(0, dtype=torch.bool), r"\(0,\)"),
        (torch.zeros(2), torch.ones(3, dtype=torch.bool), r"\(3,\)"),
        (torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), r"\(2, 2\)"),
        (torch.zeros(2), torch.ones(2), "float32"),
        (tensor([math.nan, 0.5]), tensor([True, True]), "1 nan"),
    ],
)
def test_confidence_that_does_not_fit_is_refused(function, confidence, right, told):
    with pytest.raises(FashionTransferError, match=told):
        function(confidence, right)


def test_a_calibration_error_needs_probabilities():
    with pytest.raises(FashionTransferError, match="from 0 to 1"):
        calibration_error(tensor([80.0]), tensor([True]))


@pytest.mark.parametrize(
    ("positive", "negative", "told"),
    [
        (torch.zeros(0), torch.zeros(2), "0 positive"),
        (torch.zeros(2), torch.zeros(0), "0 negative"),
        (tensor([math.nan]), torch.zeros(1), "1 nan"),
    ],
)
def test_auroc_needs_scores_of_both(positive, negative, told):
    with pytest.raises(FashionTransferError, match=told):
        auroc(positive, negative)
