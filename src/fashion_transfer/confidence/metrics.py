"""How good probabilities are, and how well confidence tells correct predictions from wrong ones.

Rows of probabilities may sum to less than 1: the rest is the probability of a multi-item image.
Confidence is the maximum of a row as it is; no row is rescaled. Everything is computed in float64,
on the CPU. Arguments of impossible values or shapes raise `ArgumentError`.
"""

import math

import numpy as np
import torch
from torch import Tensor

from fashion_transfer.confidence.checks import check_fraction, check_rows
from fashion_transfer.errors import ArgumentError

BINS = 15
"""Bins of the calibration errors, as in Guo et al. 2017."""

ROUNDING = 1e-2
"""Tolerance of a probability, or of the sum of a row: half precision rounds by as much."""

ROUNDING_OF_SUMS = 1e-12
"""Tolerance of a fraction of images, which is a quotient of whole numbers but for rounding."""


def ece(probabilities: Tensor, labels: Tensor) -> float:
    """Returns the expected calibration error, see `calibration_error`.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    return calibration_error(*confidence_and_correct(probabilities, labels))


def adaptive_ece(probabilities: Tensor, labels: Tensor) -> float:
    """Returns the expected calibration error over `BINS` bins of equally many images, or nearly.

    Nguyen & O'Connor 2015, "Posterior calibration and exploratory analysis for natural language
    processing models", section 4.1; Nixon et al. 2019, "Measuring calibration in deep learning",
    section 4. Images of equal confidence share their mean accuracy, so their order does not matter.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    confidence, accuracy = _ranked(*confidence_and_correct(probabilities, labels))
    gaps = [part.sum().abs() for part in (accuracy - confidence).tensor_split(BINS)]
    return float(sum(gaps) / len(accuracy))


def nll(probabilities: Tensor, labels: Tensor) -> float:
    """Returns the mean negative log-likelihood of the labels in nats, -log p[label].

    A probability that was rounded to 0 counts as the smallest normal number of its type, so that
    the mean is finite.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    rows = _checked(probabilities, labels)
    smallest = torch.finfo(probabilities.dtype).tiny
    return float(-rows.gather(1, labels.cpu().long()[:, None]).clamp(min=smallest).log().mean())


def brier(probabilities: Tensor, labels: Tensor) -> float:
    """Returns the Brier score, the mean over images of the summed squared error, 0 to 2.

    Brier 1950, "Verification of forecasts expressed in terms of probability". What a row lacks to 1
    is one more class, whose probability should be 0.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    rows = _checked(probabilities, labels)
    targets = torch.nn.functional.one_hot(labels.cpu().long(), rows.shape[1])
    return float(((rows - targets).square().sum(1) + (1 - rows.sum(1)).square()).mean())


def confidence_and_correct(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each row's maximum, and whether it is at the label.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).

    Returns:
        Confidence, float64, (N,), and correct, bool, (N,).

    Raises:
        ArgumentError: the shapes or labels do not match, there are no images, or the rows are not
            probabilities.
    """
    confidence, predicted = _checked(probabilities, labels).max(1)
    return confidence, predicted == labels.cpu()


def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """Returns the expected calibration error (ECE), 0 to 1, over `BINS` bins of equal width.

    Guo et al. 2017, "On calibration of modern neural networks", section 2.

    Args:
        confidence: (N,), 0 to 1.
        correct: bool, (N,).
    """
    # Half a second or more to import: only where it is needed.
    from torchmetrics.functional.classification import binary_calibration_error

    confidence = _paired(confidence, correct)
    _check_range("confidence", confidence)
    # torchmetrics takes the sigmoid of all where one is over 1, and has a bin more for 1 itself.
    inside = confidence.clamp(0, 1 - torch.finfo(confidence.dtype).eps)
    return float(binary_calibration_error(inside, correct.cpu().long(), n_bins=BINS, norm="l1"))


def risk_coverage(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the risk–coverage curve: the error of the k most confident predictions, k = 1 to N.

    Geifman & El-Yaniv 2017, "Selective classification for deep neural networks", section 2. Among
    predictions of equal confidence it is the mean over all their orders.

    Args:
        confidence: (N,), any scale.
        correct: bool, (N,).

    Returns:
        Coverage k / N and risk, both float64, (N,), starting with the most confident prediction.
    """
    _, accuracy = _ranked(_paired(confidence, correct), correct.cpu())
    counts = torch.arange(1, len(accuracy) + 1, dtype=torch.float64)
    return counts / len(accuracy), (1 - accuracy).cumsum(0).clamp(min=0) / counts


def aurc(confidence: Tensor, correct: Tensor) -> float:
    """Returns the area under the risk–coverage curve: the mean risk over all N coverages.

    Geifman et al. 2019, "Bias-reduced uncertainty estimation for deep neural classifiers",
    section 3. 0 is best.

    Args:
        confidence: (N,), any scale.
        correct: bool, (N,).
    """
    return float(risk_coverage(confidence, correct)[1].mean())


def augrc(confidence: Tensor, correct: Tensor) -> float:
    """Returns the area under the generalised-risk–coverage curve, 0 to 0.5.

    The generalised risk at a coverage is the fraction of all images that are accepted and wrong, so
    the area is the mean risk of a silent failure, whatever the threshold; 0 is best. Traub et al.
    2024, "Overcoming common flaws in the evaluation of selective classification systems", section
    3; by trapezoids from coverage 0, for which their equation with accuracy and AUROC is exact.

    Args:
        confidence: (N,), any scale.
        correct: bool, (N,).
    """
    coverage, risk = risk_coverage(confidence, correct)
    generalised = coverage * risk
    return float(generalised.mean() - generalised[-1] / (2 * len(risk)))


def coverage_at_risk(confidence: Tensor, correct: Tensor, risk: float) -> float:
    """Returns the highest coverage, 0 to 1, at which the risk is at most a given one.

    Geifman & El-Yaniv 2017, as `risk_coverage`. Predictions of equal confidence are accepted
    together or not at all; 0 where no threshold accepts any.

    Args:
        confidence: (N,), any scale.
        correct: bool, (N,).
        risk: maximum error rate of the accepted predictions, 0 to 1.
    """
    check_fraction("risk", risk)
    coverage, risks = risk_coverage(confidence, correct)
    ranked = confidence.detach().cpu().double().sort(descending=True).values
    last = torch.cat([ranked[1:] != ranked[:-1], torch.tensor([True])])  # of its confidence
    possible = coverage[last & (risks <= risk + ROUNDING_OF_SUMS)]
    return float(possible.max()) if len(possible) else 0.0


def selective_accuracy(correct: Tensor, accepted: Tensor) -> float:
    """Returns the accuracy of the accepted predictions; nan where none is accepted.

    Args:
        correct: bool, (N,).
        accepted: bool, (N,), see `decision.accepted`.
    """
    if correct.shape != accepted.shape or {correct.dtype, accepted.dtype} != {torch.bool}:
        raise ArgumentError(
            "accepted",
            f"and correct must be bool (N,), got {accepted.dtype} {tuple(accepted.shape)} and "
            f"{correct.dtype} {tuple(correct.shape)}",
        )
    return float(correct.cpu()[accepted.cpu()].double().mean())


def fpr_at_tpr(ood_scores: Tensor, id_scores: Tensor, tpr: float = 0.95) -> float:
    """Returns the fraction of OOD images that pass for in-distribution ones at a given TPR.

    The convention of OOD detection: in-distribution is positive, and the threshold is the lowest
    score up to which at least that fraction of the in-distribution images lies (Liang et al. 2018,
    "Enhancing the reliability of out-of-distribution image detection in neural networks",
    section 4.3). 0 is best.

    Args:
        ood_scores: (P,), any scale, higher for images less like the training images.
        id_scores: (N,), of in-distribution images.
        tpr: fraction of the in-distribution images to accept, over 0, at most 1.

    Raises:
        ArgumentError: one of them is empty or has a nan, or the fraction is not possible.
    """
    check_fraction("tpr", tpr)
    ood, within = _checked_scores(ood_scores=ood_scores, id_scores=id_scores)
    needed = max(1, math.ceil(tpr * len(within) - ROUNDING_OF_SUMS * len(within)))
    limit = within.sort().values[needed - 1]
    return float((ood <= limit).double().mean())


def auroc(positive_scores: Tensor, negative_scores: Tensor) -> float:
    """Returns the area under the ROC curve.

    It is the probability that a positive image scores higher than a negative one; a tie counts
    half (Hanley & McNeil 1982, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve").

    Args:
        positive_scores: (P,), any scale, higher for images more likely to be positive.
        negative_scores: (N,).

    Raises:
        ArgumentError: one of them is empty or has a nan.
    """
    from sklearn.metrics import roc_auc_score

    sides = _checked_scores(positive_scores=positive_scores, negative_scores=negative_scores)
    scores = torch.cat(sides)
    # Ranks stand in for the scores: scikit-learn refuses infinite ones.
    ranks = np.unique(scores.numpy(), return_inverse=True)[1]
    positive = np.arange(len(ranks)) < positive_scores.numel()
    return float(roc_auc_score(positive, ranks))


def _ranked(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts by falling confidence; both float64, (N,), equal confidences share their accuracy."""
    values, place, counts = torch.unique(confidence, return_inverse=True, return_counts=True)
    hits = torch.zeros_like(values, dtype=torch.float64).index_add_(0, place, correct.double())
    order = place.argsort(descending=True)
    return confidence[order], (hits / counts)[place][order]


def _checked(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Returns the probabilities in float64, (N, C), if they are possible and match the labels."""
    check_rows("probabilities", probabilities, labels)
    rows = probabilities.detach().cpu().double()
    _check_range("probabilities", rows)
    if (highest := float(rows.sum(1).max())) > 1 + ROUNDING:
        raise ArgumentError("probabilities", f"must sum to at most 1 in a row, got {highest:.4g}")
    return rows


def _checked_scores(**sides: Tensor) -> list[Tensor]:
    """Returns scores in float64, one-dimensional, on the CPU, if there are some and none is nan."""
    for name, side in sides.items():
        if not side.numel() or side.isnan().any():
            got = f"{side.numel()} with {int(side.isnan().sum())} nan"
            raise ArgumentError(name, f"must be at least one score, none of them nan, got {got}")
    return [side.detach().flatten().cpu().double() for side in sides.values()]


def _check_range(name: str, values: Tensor) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        message = f"must be from 0 to 1, got {low:.4g} to {high:.4g}: apply softmax to logits"
        raise ArgumentError(name, message)


def _paired(confidence: Tensor, correct: Tensor) -> Tensor:
    """Returns the confidence in float64, (N,), if it matches `correct`."""
    shapes = confidence.ndim == 1 and confidence.shape == correct.shape and len(confidence) > 0
    if not shapes or correct.dtype != torch.bool:
        raise ArgumentError(
            "confidence",
            "must be float (N,) and correct bool (N,), of at least one image, got "
            f"{tuple(confidence.shape)} and {correct.dtype} {tuple(correct.shape)}",
        )
    if broken := int(confidence.isnan().sum()):
        raise ArgumentError("confidence", f"must be numbers, got {broken} nan of {len(confidence)}")
    return confidence.detach().cpu().double()
