"""The training loss, and the weights of classes in it."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """The cross-entropy of each image of a batch, weighted by its label: (B,).

    Their mean is the loss of the batch: the weights do not divide it, so an image counts the same
    in whatever batch it is.

    Args:
        logits: (B, C).
        labels: int64, (B,).
        label_smoothing: 0 to under 1.
        weights: float, (C,), by label; None: every image counts the same.
    """
    losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return losses if weights is None else weights[labels] * losses


def balanced_weights(image_counts: Sequence[int]) -> list[float]:
    """The weights with which each class counts the same: N / (C n) for n of the N images.

    King & Zeng 2001, "Logistic regression in rare events data", section 4.2; scikit-learn's
    `class_weight="balanced"`. The mean weight of an image is 1.

    Args:
        image_counts: images of each of C classes. One without any gets the weight 1.
    """
    total, classes = sum(image_counts), len(image_counts)
    return [total / (classes * count) if count else 1.0 for count in image_counts]
