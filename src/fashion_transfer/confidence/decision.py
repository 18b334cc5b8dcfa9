"""Decides, for each image, on a label, a confidence and, where one is due, a warning.

This is the only place that compares confidence with the threshold and an OOD score with its limit.

`accepted` decides whether to warn. The first entry of `WARNING_REASONS` that applies gives the
reason and the message, so a new reason is one more entry there.
"""

from collections.abc import Callable, Sequence
from itertools import compress
from typing import NamedTuple

import torch
from torch import Tensor

from fashion_transfer.confidence.checks import check_fraction
from fashion_transfer.errors import ArgumentError

MULTI_ITEM, OOD, AMBIGUOUS = "several items", "unfamiliar", "ambiguous"
"""Names of the reasons, as users read them."""

PHOTO_ADVICE = " Try one item on a plain ground, or a classifier that was trained on photos."
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
    """What is known about B images; the reasons of their warnings depend on nothing else.

    Attributes:
        values: float, (B, K), probabilities of the K most probable classes, most probable first.
        multi_item: float, (B,), probability that the image shows several items.
        ood: bool, (B,), whether the OOD score is over the limit.
    """

    values: Tensor
    multi_item: Tensor
    ood: Tensor

    @property
    def confidence(self) -> Tensor:
        """Probability of the most probable class, (B,)."""
        return self.values[:, 0]

    @property
    def plausible(self) -> Tensor:
        """Whether each class is probable enough for a message to name it, bool, (B, K)."""
        return self.values >= PLAUSIBLE * (1 - self.multi_item)[:, None]


class Candidates(NamedTuple):
    """What the message of a warning names.

    Attributes:
        label: name of the most probable class.
        confidence: its probability.
        plausible: names of the classes of `Evidence.plausible`.
        photo: whether the image is a photo, and the classifier was not trained on photos.
    """

    label: str
    confidence: float
    plausible: tuple[str, ...]
    photo: bool = False


class WarningReason(NamedTuple):
    """A reason to warn.

    Attributes:
        name: a word or two, as users read it.
        applies: bool, (B,), which images with a warning have this reason, where no reason before
            it applies. Made of tensor operations alone, so that it can be exported.
        message: the sentence for a person: what may be wrong and, if it helps, what to do.
    """

    name: str
    applies: Callable[[Evidence], Tensor]
    message: Callable[[Candidates], str]


def _multi_item_message(image: Candidates) -> str:
    names = image.plausible
    perhaps = f", perhaps {' and '.join(names)}" if len(names) > 1 else ""
    return f"The image may contain multiple items{perhaps}: show one clear, centred item."


def _ood_message(image: Candidates) -> str:
    return (
        f"This looks like nothing the classifier has learned, so {image.label} is a guess: the "
        "image may show something else, contain multiple items or be ambiguous."
        f"{PHOTO_ADVICE if image.photo else ''}"
    )


def _ambiguous_message(image: Candidates) -> str:
    others = image.plausible[1:]
    either = f" (or {' or '.join(others)})" if others else ""
    return (
        f"Only {image.confidence:.0%} sure that this is {image.label}{either}: the image may be "
        "ambiguous or contain multiple items."
        f"{PHOTO_ADVICE if image.photo else ' Try one clear, centred item.'}"
    )


WARNING_REASONS = (
    WarningReason(
        MULTI_ITEM, lambda images: images.multi_item > images.confidence, _multi_item_message
    ),
    WarningReason(OOD, lambda images: images.ood, _ood_message),
    WarningReason(AMBIGUOUS, lambda images: torch.ones_like(images.ood), _ambiguous_message),
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
    evidence, labels = _weigh(probabilities, ood_score, count, ood_limit)
    warnings = ~accepted(evidence.confidence, ood_score, threshold, ood_limit)  # (B,)
    rows = zip(
        labels.tolist(),
        evidence.values.tolist(),
        evidence.plausible.tolist(),
        reasons(evidence, warnings).tolist(),
        photos or [False] * len(labels),
        probabilities.tolist(),
        strict=True,
    )
    predictions = []
    for image_labels, values, plausible, reason, photo, all_values in rows:
        names = [class_names[label] for label in image_labels]
        top = tuple(zip(names, values, strict=True))
        prediction = Prediction(*top[0], top, reason > 0, probabilities=tuple(all_values))
        if prediction.warning:
            candidates = Candidates(*top[0], tuple(compress(names, plausible)), photo)
            chosen = WARNING_REASONS[reason - 1]
            message = chosen.message(candidates)
            prediction = prediction._replace(reason=chosen.name, message=message)
        predictions.append(prediction)
    return predictions


def warn(
    probabilities: Tensor, ood_score: Tensor, count: int, threshold: float, ood_limit: float
) -> Tensor:
    """Returns which warning each image gets, as tensor operations alone, which can be exported.

    Args:
        probabilities: as of `decide`.
        ood_score: float, (B,).
        count: C, number of classes.
        threshold: as of `decide`.
        ood_limit: as of `decide`.

    Returns:
        int64, (B,): 0 for no warning, else the position of the reason in `REASONS`, from 1.

    Raises:
        ArgumentError: as `accepted`.
    """
    evidence, _ = _weigh(probabilities, ood_score, count, ood_limit)
    return reasons(evidence, ~accepted(evidence.confidence, ood_score, threshold, ood_limit))


def reasons(images: Evidence, warnings: Tensor) -> Tensor:
    """Returns the reason of each warning: int64, (B,), on the CPU, from 1; 0 for no warning.

    Args:
        images: what is known about them.
        warnings: bool, (B,), which have a warning.
    """
    chosen = torch.zeros_like(warnings, dtype=torch.int64)
    for position, reason in reversed(list(enumerate(WARNING_REASONS, 1))):
        chosen = torch.where(reason.applies(images), position, chosen)
    return torch.where(warnings, chosen, 0)


def _weigh(
    probabilities: Tensor, ood_score: Tensor, count: int, ood_limit: Tensor | float
) -> tuple[Evidence, Tensor]:
    """Evidence for a batch, on the CPU in float64, and labels of its K classes, int64, (B, K)."""
    classes = probabilities[:, :count].cpu()
    values, labels = classes.topk(min(3, count), dim=1)  # as they are: equal ones keep their order
    multi_item = (1 - classes.sum(dim=1)).clamp(min=0)
    ood = _out_of_distribution(ood_score, ood_limit)
    return Evidence(values.double(), multi_item.double(), ood), labels


def _out_of_distribution(ood_score: Tensor, ood_limit: Tensor | float) -> Tensor:
    return ood_score.detach().cpu().double() > float(ood_limit)
