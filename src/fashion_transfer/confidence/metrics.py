"""How good probabilities are, and how well confidence tells right answers from wrong ones.

Rows of probabilities may sum to less than 1: what is missing is the probability of several items.
Confidence is a row's maximum as it stands, and no row is ever rescaled. All is computed in float64,
on the CPU.
"""

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from fashion_transfer.errors import FashionTransferError

BINS = 15
ROUNDING = 1e-2  # of a probability, or of a row's sum: half precision rounds by as much


def ece(probabilities: Tensor, labels: Tensor) -> float:
    """`calibration_error` of (N, C) probabilities and (N,) labels."""
    return calibration_error(*confidence_and_right(probabilities, labels))


def adaptive_ece(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error over `BINS` bins of equally many images, or nearly.

    Nguyen & O'Connor 2015, "Posterior calibration and exploratory analysis for natural language
    processing models", section 4.1; Nixon et al. 2019, "Measuring calibration in deep learning",
    section 4. Images of one confidence share their mean accuracy, so their order means nothing.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    confidence, right = _ranked(*confidence_and_right(probabilities, labels))
    gaps = [part.sum().abs() for part in (right - confidence).tensor_split(BINS)]
    return float(sum(gaps) / len(right))


def nll(probabilities: Tensor, labels: Tensor) -> float:
    """Mean negative log-likelihood of the labels in nats: -log p[label], p at least the tiniest.

    A probability that was rounded to 0 counts as the smallest normal number of its type, so that
    the mean is finite.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    rows = _checked(probabilities, labels)
    tiniest = torch.finfo(probabilities.dtype).tiny
    return float(-rows.gather(1, labels.cpu().long()[:, None]).clamp(min=tiniest).log().mean())


def brier(probabilities: Tensor, labels: Tensor) -> float:
    """Mean over images of the summed squared error, 0 to 2; what is missing is a class too.

    Brier 1950, "Verification of forecasts expressed in terms of probability": over the C classes,
    and the probability that a row lacks to 1, which should be 0.

    Args:
        probabilities: (N, C).
        labels: whole numbers, (N,).
    """
    rows = _checked(probabilities, labels)
    wanted = torch.nn.functional.one_hot(labels.cpu().long(), rows.shape[1])
    return float(((rows - wanted).square().sum(1) + (1 - rows.sum(1)).square()).mean())


def confidence_and_right(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's maximum, float64, (N,), and whether it is at the label, bool, (N,).

    Raises:
        FashionTransferError: shapes or labels that do not fit, no images, or no probabilities.
    """
    confidence, told = _checked(probabilities, labels).max(1)
    return confidence, told == labels.cpu()


def calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Expected calibration error (ECE), 0 to 1, over `BINS` bins of equal width.

    Guo et al. 2017, "On calibration of modern neural networks", section 2.

    Args:
        confidence: (N,), 0 to 1.
        right: bool, (N,).
    """
    confidence = _paired(confidence, right)
    _within(confidence)
    # torchmetrics takes the sigmoid of all where one is over 1, and has a bin more for 1 itself.
    inside = confidence.clamp(0, 1 - torch.finfo(confidence.dtype).eps)
    return float(binary_calibration_error(inside, right.cpu().long(), n_bins=BINS, norm="l1"))


def risk_coverage(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The risk–coverage curve: the error among the k most confident answers, k from 1 to N.

    Geifman & El-Yaniv 2017, "Selective classification for deep neural networks", section 2. Among
    answers of one confidence it is what a random order gives on average.

    Args:
        confidence: (N,), any scale.
        right: bool, (N,).

    Returns:
        Coverage k / N and risk, both float64, (N,), from the most confident answer on.
    """
    _, ranked = _ranked(_paired(confidence, right), right.cpu())
    counts = torch.arange(1, len(ranked) + 1, dtype=torch.float64)
    return counts / len(ranked), (1 - ranked).cumsum(0).clamp(min=0) / counts


def aurc(confidence: Tensor, right: Tensor) -> float:
    """Area under the risk–coverage curve: the mean risk over all N coverages; 0 is best.

    Geifman et al. 2019, "Bias-reduced uncertainty estimation for deep neural classifiers",
    section 3.
    """
    return float(risk_coverage(confidence, right)[1].mean())


def selective_accuracy(confidence: Tensor, right: Tensor, threshold: float) -> float:
    """Accuracy of the answers of confidence `threshold` or more; nan where there are none."""
    answered = _paired(confidence, right) >= threshold
    return float(right.cpu()[answered].double().mean())


def auroc(positive_scores: Tensor, negative_scores: Tensor) -> float:
    """Probability that a positive image scores higher than a negative one; a tie counts half.

    Args:
        positive_scores: (P,), any scale, higher where it is more surely positive.
        negative_scores: (N,).
    """
    scores = torch.cat(
        [scores.flatten().cpu().double() for scores in (positive_scores, negative_scores)]
    )
    found = f"{positive_scores.numel()} positive and {negative_scores.numel()} negative scores"
    if not positive_scores.numel() or not negative_scores.numel():
        raise FashionTransferError(f"{found}: give at least one of each")
    if scores.isnan().any():
        raise FashionTransferError(f"{found} with {int(scores.isnan().sum())} nan: leave those out")
    # Ranks from 0 to 1: of other scores torchmetrics takes the sigmoid, which makes large ones tie.
    values, ranks = scores.unique(return_inverse=True)
    target = torch.arange(len(scores)) < positive_scores.numel()
    return float(binary_auroc(ranks.double() / len(values), target.long()))


def _ranked(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both by falling confidence, float64; equal confidences share their mean of `right`."""
    values, place, counts = confidence.unique(return_inverse=True, return_counts=True)
    hits = torch.zeros_like(values, dtype=torch.float64).index_add_(0, place, right.double())
    order = place.argsort(descending=True)
    return confidence[order], (hits / counts)[place][order]


def _checked(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The probabilities in float64, once they and the labels have been found to fit."""
    shapes = f"probabilities are {tuple(probabilities.shape)} and labels {tuple(labels.shape)}"
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise FashionTransferError(f"{shapes}: give (N, C) and (N,)")
    if not probabilities.numel():
        raise FashionTransferError(f"{shapes}: give at least one image and one class")
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        found = f"labels are {labels.dtype} from {labels.min()} to {labels.max()}"
        top = probabilities.shape[1] - 1
        raise FashionTransferError(f"{found}: they must be whole numbers from 0 to {top}")
    rows = probabilities.detach().cpu().double()
    _within(rows)
    if (most := float(rows.sum(1).max())) > 1 + ROUNDING:
        raise FashionTransferError(f"a row sums to {most:.4g}: probabilities sum to 1 at most")
    return rows


def _within(values: Tensor) -> None:
    low, high = float(values.min()), float(values.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        found = f"probabilities are from {low:.4g} to {high:.4g}"
        raise FashionTransferError(f"{found}: they must be from 0 to 1, so apply softmax to logits")


def _paired(confidence: Tensor, right: Tensor) -> Tensor:
    """The confidence in float64, once it has been found to fit `right`."""
    found = f"confidence is {tuple(confidence.shape)}, right {right.dtype} {tuple(right.shape)}"
    if confidence.ndim != 1 or right.shape != confidence.shape or right.dtype != torch.bool:
        raise FashionTransferError(f"{found}: give (N,) floats and (N,) bool")
    if not len(right):
        raise FashionTransferError(f"{found}: give at least one answer")
    if confidence.isnan().any():
        broken = int(confidence.isnan().sum())
        raise FashionTransferError(f"confidence has {broken} nan: look for what went wrong before")
    return confidence.detach().cpu().double()
