"""From probabilities to an answer: a label, a confidence, and a warning where it is due."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from fashion_transfer.errors import FashionTransferError


class Prediction(NamedTuple):
    """What the classifier has to say about one image.

    Attributes:
        label: the most probable class.
        confidence: its probability, 0 to 1.
        top: the three most probable classes with their probabilities, most probable first.
        warning: whether the answer should not be relied on.
        reason: why, in a word or two; empty without a warning.
        message: the same as a sentence for the person who asked; empty without a warning.
    """

    label: str
    confidence: float
    top: tuple[tuple[str, float], ...]
    warning: bool
    reason: str = ""
    message: str = ""


class ThresholdPolicy:
    """Warns when the highest probability is under a threshold, as the reference notebook does.

    Args:
        classes: names of the classes, by label.
        threshold: confidence under which to warn, 0 to 1.

    Raises:
        FashionTransferError: the threshold is not from 0 to 1.
    """

    def __init__(self, classes: Sequence[str], threshold: float = 0.8) -> None:
        if not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise FashionTransferError(
                f"policy.threshold is {threshold!r}: it must be from 0 to 1, such as 0.8"
            )
        self.classes = tuple(classes)
        self.threshold = threshold

    def __call__(self, probabilities: Tensor) -> list[Prediction]:
        """Decides for a batch.

        Args:
            probabilities: float, (B, C), each row sums to 1.
        """
        top = probabilities.topk(min(3, probabilities.shape[1]), dim=1)
        rows = zip(top.values.tolist(), top.indices.tolist(), strict=True)
        return [self._decide(list(zip(values, labels, strict=True))) for values, labels in rows]

    def _decide(self, ranked: list[tuple[float, int]]) -> Prediction:
        top = tuple((self.classes[label], value) for value, label in ranked)
        label, confidence = top[0]
        if confidence >= self.threshold:
            return Prediction(label, confidence, top, warning=False)
        message = (
            f"Only {confidence:.0%} sure that this is {label}: the image may be ambiguous or show "
            "several items. Try one clear, centred item."
        )
        return Prediction(label, confidence, top, True, "low confidence", message)
