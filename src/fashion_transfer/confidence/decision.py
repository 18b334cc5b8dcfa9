"""Decides, for each image, on a label, a confidence and, where one is due, a warning.

This is the only place that compares confidence with the threshold and an OOD score with its limit.

`accepted` decides whether to warn. The first entry of `WARNING_REASONS` that applies gives the
reason and the message, so a new reason is one more entry there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fashion_transfer.confidence.checks import check_fraction
from fashion_transfer.errors import ArgumentError

MULTI_ITEM, OOD, AMBIGUOUS = "several items", "unfamiliar", "ambiguous"
"""Names of the reasons, as users read them."""

PHOTO_ADVICE = " Try one item on a plain ground, or a classifier of photos (data=clothing)."
"""What helps with a photo that the classifier was not trained for."""

PLAUSIBLE = 0.2
"""A message names a class from this fraction of the classes' total probability on."""


class Prediction(NamedTuple):
    """What the classifier predicts for one image.

    Attributes:
        label: name of the most probable class.
        confidence: its probability, 0 to 1.
        top: names and probabilities of the three most probable classes, most probable first.
            Where the image may show several items, they sum to less than 1.
        warning: whether the prediction should not be relied on.
        reason: of the warning, one of `REASONS`; empty without one.
        message: the warning as a sentence for a person; empty without one.
        prepared: what was done to the image before (`data.preparation.Prepared.treatment`).
        probabilities: by label, (C,), or (C + 1,) with that of several items last.
    """

    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    warning: bool
    reason: str = ""
    message: str = ""
    prepared: str = "as it is"
    probabilities: tuple[float, ...] = ()


class Evidence(NamedTuple):
    """What is known about one image; the reason of its warning depends on nothing else.

    Attributes:
        top: as in `Prediction`.
        multi_item: probability that the image shows several items, 0 to 1.
        ood: whether its OOD score is over the limit.
        photo: whether it is a photo, and the classifier was not trained on photos.
    """

    top: tuple[tuple[str, float], ...]
    multi_item: float
    ood: bool
    photo: bool = False

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.top[0][0]

    @property
    def confidence(self) -> float:
        """Probability of the most probable class."""
        return self.top[0][1]

    @property
    def plausible(self) -> list[str]:
        """Names of the classes of `top` that are probable enough for a message to name them."""
        minimum = PLAUSIBLE * (1 - self.multi_item)
        return [name for name, probability in self.top if probability >= minimum]


class WarningReason(NamedTuple):
    """A reason to warn.

    Attributes:
        name: a word or two, as users read it.
        applies: whether an image with a warning has this reason. Only the first reason counts.
        message: the sentence for a person: what may be wrong and, if it helps, what to do.
    """

    name: str
    applies: Callable[[Evidence], bool]
    message: Callable[[Evidence], str]


def _multi_item_message(image: Evidence) -> str:
    names = image.plausible
    perhaps = f", perhaps {' and '.join(names)}" if len(names) > 1 else ""
    return f"The image may contain multiple items{perhaps}: show one clear, centred item."


def _ood_message(image: Evidence) -> str:
    return (
        f"This looks like nothing the classifier has learned, so {image.label} is a guess: the "
        "image may show something else, contain multiple items or be ambiguous."
        f"{PHOTO_ADVICE if image.photo else ''}"
    )


def _ambiguous_message(image: Evidence) -> str:
    others = image.plausible[1:]
    either = f" (or {' or '.join(others)})" if others else ""
    return (
        f"Only {image.confidence:.0%} sure that this is {image.label}{either}: the image may be "
        "ambiguous or contain multiple items."
        f"{PHOTO_ADVICE if image.photo else ' Try one clear, centred item.'}"
    )


WARNING_REASONS = (
    WarningReason(
        MULTI_ITEM, lambda image: image.multi_item > image.confidence, _multi_item_message
    ),
    WarningReason(OOD, lambda image: image.ood, _ood_message),
    WarningReason(AMBIGUOUS, lambda image: True, _ambiguous_message),
)
"""In order of precedence; the last one applies to every image."""

REASONS = tuple(reason.name for reason in WARNING_REASONS)
"""Names of the reasons, in order of precedence."""


def accepted(
    confidence: Tensor, ood_score: Tensor, threshold: float, ood_limit: Tensor | float
) -> Tensor:
    """Returns whether each prediction carries no warning.

    It carries none if its confidence is at least the threshold and its OOD score at most the
    limit. Threshold 0 accepts everything. All is compared in float64, on the CPU.

    Args:
        confidence: float, (B,), highest probability of a class.
        ood_score: float, (B,).
        threshold: from 0 to 1.
        ood_limit: scalar; infinite: no image is out-of-distribution.

    Returns:
        bool, (B,), on the CPU.

    Raises:
        ArgumentError: the threshold is not from 0 to 1, or the shapes differ.
    """
    check_fraction("threshold", threshold)
    if ood_score.shape != confidence.shape:
        raise ArgumentError(
            "ood_score",
            f"must be {tuple(confidence.shape)} as the confidence, got {tuple(ood_score.shape)}",
        )
    confident = confidence.detach().cpu().double() >= threshold
    within = ~_out_of_distribution(ood_score, ood_limit)
    return torch.ones_like(confident) if threshold == 0 else confident & within


def decide(
    probabilities: Tensor,
    ood_score: Tensor,
    class_names: Sequence[str],
    threshold: float,
    ood_limit: Tensor | float,
    photos: Sequence[bool] | None = None,
) -> list[Prediction]:
    """Decides for a batch.

    Args:
        probabilities: float, (B, C), or (B, C + 1) with the multi-item one last. What a row of
            classes lacks to 1 is the probability of a multi-item image.
        ood_score: float, (B,).
        class_names: C names, by label.
        threshold: confidence under which to warn, 0 (never warn) to 1.
        ood_limit: scalar, OOD score over which to warn.
        photos: B entries, whether each image is a photo, which the classifier was not trained on;
            None: none is.

    Returns:
        B predictions, in the order of the batch.

    Raises:
        ArgumentError: the threshold is not from 0 to 1, or the shapes do not match.
    """
    count = len(class_names)
    if probabilities.ndim != 2 or probabilities.shape[1] not in (count, count + 1):
        raise ArgumentError(
            "probabilities",
            f"must be (B, {count}) or (B, {count + 1}) for {count} class names, "
            f"got {tuple(probabilities.shape)}",
        )
    classes = probabilities[:, :count]
    values, labels = classes.topk(min(3, count), dim=1)  # (B, 3)
    warnings = ~accepted(values[:, 0], ood_score, threshold, ood_limit)  # (B,)
    multi_item = (1 - classes.sum(dim=1)).clamp(min=0)  # (B,)
    ood = _out_of_distribution(ood_score, ood_limit)  # (B,)
    tops = [
        tuple((class_names[label], value) for label, value in zip(*pair, strict=True))
        for pair in zip(labels.tolist(), values.tolist(), strict=True)
    ]
    images = map(Evidence, tops, multi_item.tolist(), ood.tolist(), photos or [False] * len(tops))
    return [
        _prediction(image, warning)._replace(probabilities=tuple(values))
        for image, warning, values in zip(
            images, warnings.tolist(), probabilities.tolist(), strict=True
        )
    ]


def _prediction(image: Evidence, warning: bool) -> Prediction:
    if not warning:
        return Prediction(image.label, image.confidence, image.top, warning=False)
    reason = next(reason for reason in WARNING_REASONS if reason.applies(image))
    message = reason.message(image)
    return Prediction(image.label, image.confidence, image.top, True, reason.name, message)


def _out_of_distribution(ood_score: Tensor, ood_limit: Tensor | float) -> Tensor:
    return ood_score.detach().cpu().double() > float(ood_limit)
