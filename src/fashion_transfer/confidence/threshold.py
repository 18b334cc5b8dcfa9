"""The confidence threshold that a wanted accuracy, or a wanted rate of warnings, calls for."""

from math import floor

import torch
from torch import Tensor

from fashion_transfer.confidence.checks import check_fraction
from fashion_transfer.errors import ArgumentError


def fit_threshold(
    confidence: Tensor,
    correct: Tensor,
    selective_accuracy: float = 0.97,
    warned: float | None = None,
) -> float:
    """Fits the confidence under which to warn.

    Args:
        confidence: (N,), calibrated, 0 to 1, of images that were not trained on.
        correct: bool, (N,), whether each prediction is correct.
        selective_accuracy: the accuracy wanted of predictions without a warning, 0 to 1. The
            lowest threshold that reaches it is taken (Geifman & El-Yaniv 2017, "Selective
            classification for deep neural networks", section 3, without their bound).
        warned: instead, the fraction of these images to warn about, 0 to 1.

    Returns:
        One of the confidences. Predictions of equal confidence are accepted or warned about
        together, so the rate of warnings may be lower than wanted.

    Raises:
        ArgumentError: there are no images, a value is not possible, or no threshold reaches the
            accuracy.
    """
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise ArgumentError(
            "confidence",
            "and correct must be (N,), of at least one image, "
            f"got {tuple(confidence.shape)} and {tuple(correct.shape)}",
        )
    values, order = confidence.double().cpu().sort(descending=True)
    if warned is not None:
        check_fraction("warned", warned)
        return float(values[max(round((1 - warned) * len(values)), 1) - 1])
    check_fraction("selective_accuracy", selective_accuracy)
    # Accuracy of the 1, 2, ... N most confident; only whole groups of equal confidence count.
    accuracy = correct.cpu()[order].double().cumsum(0) / torch.arange(1, len(values) + 1)
    group_end = torch.cat([values[1:] < values[:-1], torch.tensor([True])])
    enough = (accuracy >= selective_accuracy) & group_end
    if not enough.any():
        highest = floor(1000 * float(accuracy[group_end].max())) / 1000
        raise ArgumentError(
            "selective_accuracy",
            f"must be at most {highest:.3f}, which is all that a threshold reaches on the "
            f"{len(values)} validation images, got {selective_accuracy}",
        )
    return float(values[enough.nonzero().max()])


def check_target(selective_accuracy: float = 0.97, warned: float | None = None) -> None:
    """Checks the options of `fit_threshold`, before there is anything to fit it to.

    Raises:
        ArgumentError: a value is not possible.
    """
    if warned is None:
        check_fraction("selective_accuracy", selective_accuracy)
    else:
        check_fraction("warned", warned)
