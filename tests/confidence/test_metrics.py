"""Metrics by hand, also for rows of probabilities that sum to less than 1."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from fashion_transfer.confidence import metrics
from fashion_transfer.confidence.metrics import (
    adaptive_ece,
    augrc,
    aurc,
    auroc,
    brier,
    calibration_error,
    confidence_and_correct,
    coverage_at_risk,
    ece,
    fpr_at_tpr,
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


def test_augrc_by_hand():
    # Accepted and wrong, of 4 images: 0, 0, 1, 1, 2 at coverage 0 to 4 / 4.
    confidence, correct = shuffled(tensor([0.9, 0.8, 0.7, 0.6]), tensor([True, False, True, False]))
    assert augrc(confidence, correct) == pytest.approx((0 + 0.5 + 1 + 1.5) / 4 / 4)


@pytest.mark.parametrize(("value", "expected"), [(True, 0.0), (False, 0.5)])
def test_augrc_where_all_are_correct_or_all_wrong(value, expected):
    assert augrc(torch.rand(9), torch.full((9,), value)) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [4, 10_000], ids=["many ties", "hardly any tie"])
def test_augrc_is_what_its_authors_derive_from_accuracy_and_auroc(levels):
    generator = torch.Generator().manual_seed(0)
    confidence = torch.randint(0, levels, (400,), generator=generator) / levels
    correct = torch.rand(400, generator=generator) < 0.5 + 0.4 * confidence
    accuracy = float(correct.double().mean())
    separation = roc_auc_score(correct, confidence)
    # Traub et al. 2024, equation 6.
    expected = (1 - separation) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    assert augrc(confidence, correct) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("risk", "expected"), [(0, 0.2), (0.2, 0.2), (0.25, 0.8), (0.4, 1), (1, 1)]
)
def test_coverage_at_risk_by_hand(risk, expected):
    # Risk 0, 1/2, 1/3, 1/4, 2/5: it need not grow with coverage.
    confidence, correct = shuffled(
        tensor([0.9, 0.8, 0.7, 0.6, 0.5]), tensor([True, False, True, True, False])
    )
    assert coverage_at_risk(confidence, correct, risk) == pytest.approx(expected)


def test_coverage_at_risk_accepts_equal_confidences_together_or_not_at_all():
    confidence, correct = tensor([0.9, 0.9, 0.9, 0.5]), tensor([True, True, False, False])
    assert coverage_at_risk(confidence, correct, 0.2) == 0
    assert coverage_at_risk(confidence, correct, 1 / 3) == 0.75


@pytest.mark.parametrize("risk", [0.05, 0.2, 0.4])
def test_coverage_at_risk_equals_a_search_over_all_thresholds(risk):
    generator = torch.Generator().manual_seed(1)
    confidence = torch.randint(0, 50, (300,), generator=generator) / 50
    correct = torch.rand(300, generator=generator) < confidence
    accepted = [confidence >= threshold for threshold in confidence.unique()]
    passing = [a.double().mean() for a in accepted if (~correct[a]).double().mean() <= risk]
    assert coverage_at_risk(confidence, correct, risk) == pytest.approx(
        float(max(passing, default=0))
    )


@pytest.mark.parametrize("risk", [-0.1, 1.5, "low"])
def test_coverage_at_risk_rejects_an_impossible_risk(risk):
    with pytest.raises(ArgumentError, match="^risk must be a number from 0 to 1"):
        coverage_at_risk(torch.rand(3), torch.ones(3, dtype=torch.bool), risk)


def test_fpr_at_tpr_by_hand():
    # 19 of the 20 in-distribution images are up to 19, where two of four others are.
    within = torch.arange(1, 21)
    assert fpr_at_tpr(tensor([3.0, 19.0, 19.5, 40.0]), within) == 0.5
    assert fpr_at_tpr(tensor([3.0, 19.0, 19.5, 40.0]), within, tpr=1) == 0.75
    assert fpr_at_tpr(tensor([3.0]), tensor([4.0])) == 1
    assert fpr_at_tpr(tensor([math.inf]), tensor([4.0])) == 0


@pytest.mark.parametrize("tpr", [0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("levels", [6, 10_000], ids=["many ties", "hardly any tie"])
def test_fpr_at_tpr_equals_that_of_the_roc_curve(tpr, levels):
    generator = torch.Generator().manual_seed(0)
    within = torch.rand(230, generator=generator).mul(levels).round()
    ood = torch.rand(170, generator=generator).add(0.4).mul(levels).round()
    # In-distribution is positive; its scores are the lower ones.
    positive = torch.cat([torch.ones(230), torch.zeros(170)])
    false, true, _ = roc_curve(positive, -torch.cat([within, ood]), drop_intermediate=False)
    expected = false[(true >= tpr).argmax()]
    assert fpr_at_tpr(ood, within, tpr) == pytest.approx(expected)


def test_fpr_at_tpr_rejects_missing_scores_and_impossible_rates():
    with pytest.raises(ArgumentError, match="^ood_scores must be at least one score"):
        fpr_at_tpr(torch.zeros(0), torch.zeros(2))
    with pytest.raises(ArgumentError, match="^id_scores must .* 1 nan$"):
        fpr_at_tpr(torch.zeros(2), tensor([math.nan]))
    with pytest.raises(ArgumentError, match="^tpr must be a number from 0 to 1, got 95"):
        fpr_at_tpr(torch.zeros(2), torch.zeros(2), tpr=95)


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
