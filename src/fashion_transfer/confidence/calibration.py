"""Calibration: a temperature that makes confidence mean what it says; a threshold to warn at."""

from math import exp, log

import torch
from torch import Tensor

from fashion_transfer.errors import FashionTransferError

LOWEST, HIGHEST = 0.05, 20.0
"""The range of a fitted temperature: where no answer is wrong, the best would be 0."""

HALVINGS = 60  # of the range of log T: down to what float64 tells apart


def fit_temperature(logits: Tensor, labels: Tensor, careful: float = 0.0) -> float:
    """The temperature T that minimises the mean NLL of softmax(logits / T), or a careful one.

    Temperature scaling: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    The NLL is convex in 1 / T, so the zero of its slope is found by bisection, in float64, on the
    CPU.

    Args:
        logits: (N, C), before the softmax, of images that were not trained on.
        labels: whole numbers, (N,), the true classes, 0 to C - 1.
        careful: standard errors of 1 / T (of an M-estimator: White 1982) by which to err on the
            side of less confidence, since so few images may happen to be easy ones.

    Returns:
        From `LOWEST` to `HIGHEST`; 1 where no temperature changes anything.

    Raises:
        FashionTransferError: no logits, logits that are not finite, or labels that do not fit.
    """
    if problem := _problem(logits, labels):
        raise FashionTransferError(problem)
    # The true class at 0: rows are only compared within themselves.
    scores = logits.detach().cpu().double()
    scores = scores - scores.gather(1, labels.cpu().long()[:, None])

    def slope(temperature: float) -> float:
        """Of the NLL in 1 / T: the score expected, less the true class's, which is 0."""
        return float(((scores / temperature).softmax(1) * scores).sum(1).mean())

    if slope(1.0) == 0:
        return 1.0
    low, high = log(LOWEST), log(HIGHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if slope(exp(middle)) > 0:  # too sure: 1 / T must fall
            low = middle
        else:
            high = middle
    inverse = exp(-(low + high) / 2)
    if careful:
        probabilities = (scores * inverse).softmax(1)
        slopes = (probabilities * scores).sum(1)
        curvature = ((probabilities * scores.square()).sum(1) - slopes.square()).mean()
        error = slopes.square().mean().div(len(scores)).sqrt() / curvature.clamp(min=1e-12)
        inverse -= careful * float(error)
    return 1 / min(max(inverse, 1 / HIGHEST), 1 / LOWEST)


def fit_threshold(
    confidence: Tensor,
    right: Tensor,
    selective_accuracy: float = 0.97,
    warned: float | None = None,
) -> float:
    """The confidence under which to warn, by images that were not trained on.

    Args:
        confidence: (N,), calibrated, 0 to 1.
        right: bool, (N,).
        selective_accuracy: the least accuracy wanted among answers without a warning; the lowest
            threshold that reaches it is taken (Geifman & El-Yaniv 2017, section 3, without their
            bound).
        warned: instead, the fraction of these images to warn about, 0 to 1.

    Raises:
        FashionTransferError: no images, a value that is not possible, or an accuracy that no
            threshold reaches.
    """
    wanted = selective_accuracy if warned is None else warned
    possible = isinstance(wanted, (int, float)) and 0 <= wanted <= 1
    if not len(confidence) or len(confidence) != len(right) or not possible:
        raise FashionTransferError(
            f"threshold=auto found {len(confidence)} validation images and was asked for {wanted}: "
            "it takes at least one, and a fraction from 0 to 1"
        )
    values, order = confidence.double().cpu().sort(descending=True)
    if warned is not None:
        return float(values[max(round((1 - warned) * len(values)), 1) - 1])
    accuracy = right.cpu()[order].double().cumsum(0) / torch.arange(1, len(values) + 1)
    last = torch.cat([values[1:] < values[:-1], torch.tensor([True])])  # of one confidence
    enough = (accuracy >= selective_accuracy) & last
    if not enough.any():
        tenth = max(len(values) // 10, 1)
        raise FashionTransferError(
            f"threshold=auto: no threshold gives an accuracy of {selective_accuracy} on the "
            f"validation images; the most confident {tenth} reach {accuracy[tenth - 1]:.3f}: ask "
            "for less"
        )
    return float(values[enough.nonzero().max()])


def _problem(logits: Tensor, labels: Tensor) -> str:
    shapes = f"logits are {tuple(logits.shape)} and labels {tuple(labels.shape)}"
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        return f"{shapes}: give (N, C) and (N,)"
    if not logits.numel():
        return f"{shapes}: give at least one image and one class to fit a temperature"
    if labels.is_floating_point() or labels.dtype == torch.bool:
        return f"labels are {labels.dtype}: they must be whole numbers"
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        found = f"labels are from {int(labels.min())} to {int(labels.max())}"
        return f"{found}: they must be from 0 to {logits.shape[1] - 1}"
    if broken := int((~logits.isfinite()).any(1).sum()):
        found = f"{broken} of {len(logits)} rows of logits are not finite"
        return f"{found}: look for a training that diverged, such as by a high learning rate"
    return ""
