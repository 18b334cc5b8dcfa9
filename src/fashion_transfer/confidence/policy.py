"""From probabilities to an answer: a label, a confidence, and a warning where it is due."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from fashion_transfer.errors import FashionTransferError

SEVERAL, UNFAMILIAR, AMBIGUOUS = "several items", "unfamiliar", "ambiguous"
"""The reasons of a warning."""

AMONG = 0.2
"""Of the classes' own probability: from here a class counts among several items, or runners-up."""


class Prediction(NamedTuple):
    """What the classifier has to say about one image.

    Attributes:
        label: the most probable class.
        confidence: its probability, 0 to 1.
        top: the three most probable classes with their probabilities, most probable first. Where
            the image may show several items, these sum to less than 1.
        warning: whether the answer should not be relied on.
        reason: why: "several items", "unfamiliar" or "ambiguous"; empty without a warning.
        message: the same as a sentence for the person who asked; empty without a warning.
    """

    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    warning: bool
    reason: str = ""
    message: str = ""


class ThresholdPolicy:
    """Warns when the highest probability is under a threshold, and where an image is unfamiliar.

    Args:
        classes: names of the classes, by label.
        threshold: confidence under which to warn, 0 (never warn, whatever the image) to 1.

    Raises:
        FashionTransferError: the threshold is not from 0 to 1.
    """

    def __init__(self, classes: Sequence[str], threshold: float = 0.8) -> None:
        if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise FashionTransferError(
                f"policy.threshold is {threshold!r}: it must be from 0 to 1, such as 0.8, or auto"
            )
        self.classes = tuple(classes)
        self.threshold = threshold

    def __call__(self, probabilities: Tensor, unfamiliar: Tensor | None = None) -> list[Prediction]:
        """Decides for a batch.

        Args:
            probabilities: float, (B, C), or (B, C + 1) with that of several items last; each row
                sums to 1.
            unfamiliar: bool, (B,): nothing like the training images; None: none is.
        """
        count = len(self.classes)
        top = probabilities[:, :count].topk(min(3, count), dim=1)
        rows = zip(
            top.values.tolist(),
            top.indices.tolist(),
            (1 - probabilities[:, :count].sum(dim=1)).clamp(min=0).tolist(),
            [False] * len(probabilities) if unfamiliar is None else unfamiliar.tolist(),
            strict=True,
        )
        return [
            self._decide([(self.classes[i], p) for p, i in zip(values, labels, strict=True)], *rest)
            for values, labels, *rest in rows
        ]

    def _decide(self, top: list[tuple[str, float]], several: float, unfamiliar: bool) -> Prediction:
        label, confidence = top[0]
        reason = self._reason(confidence, several, unfamiliar)
        if not reason:
            return Prediction(label, confidence, tuple(top), warning=False)
        likely = [name for name, p in top if p >= AMONG * (1 - several)]
        if reason == SEVERAL:
            which = f", perhaps {' and '.join(likely)}" if len(likely) > 1 else ""
            message = f"The image may contain multiple items{which}: show one clear, centred item."
        elif reason == UNFAMILIAR:
            message = (
                f"This looks like nothing the classifier has learned, so {label} is a guess: the "
                "image may show something else, contain multiple items or be ambiguous."
            )
        else:
            others = f" (or {' or '.join(likely[1:])})" if likely[1:] else ""
            message = (
                f"Only {confidence:.0%} sure that this is {label}{others}: the image may be "
                "ambiguous or contain multiple items. Try one clear, centred item."
            )
        return Prediction(label, confidence, tuple(top), True, reason, message)

    def _reason(self, confidence: float, several: float, unfamiliar: bool) -> str:
        if self.threshold == 0 or (confidence >= self.threshold and not unfamiliar):
            return ""
        if several > confidence:
            return SEVERAL
        return UNFAMILIAR if unfamiliar else AMBIGUOUS
