"""Whether an exported file gives what the classifier gives, on the same prepared images."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fashion_transfer.confidence import REASONS
from fashion_transfer.data.onnx_session import open_session
from fashion_transfer.data.preparation import CUT_OUT, Prepared
from fashion_transfer.models import Classifier

MAX_DIFFERENCE = 1e-3
"""Largest difference in a probability with which a file is not refused."""

CHECKED_SIDES = ((28, 28), (61, 47), (224, 224), (300, 420))
"""Heights and widths of the images that a new file is checked with, pixels."""


class Parity(NamedTuple):
    """How the outputs of a file differ from a classifier's predictions.

    Attributes:
        difference: the largest in a probability; infinite where one is not a number.
        labels: images with another most probable class.
        decisions: images with another warning, or the same for another reason.
    """

    difference: float
    labels: int
    decisions: int


def onnx_inputs(images: Sequence[Prepared], second_opinion: bool) -> dict[str, np.ndarray]:
    """Returns the inputs of an exported file for prepared images, by name.

    Args:
        images: whose pixels have one shape, and those of `colour`, where they have it, one, too.
        second_opinion: of the file's metadata.
    """
    inputs = {"images": np.stack([image.pixels for image in images])}
    if second_opinion:
        colours = [image.colour for image in images if image.colour is not None]
        rows = [row for row, image in enumerate(images) if image.colour is not None]
        inputs["colours"] = np.stack(colours) if colours else np.zeros((0, 3, 1, 1), np.uint8)
        inputs["colour_rows"] = np.array(rows, np.int64)
    return inputs


def compare(path: str | Path, classifier: Classifier, images: Iterable[Prepared]) -> Parity:
    """Returns how the outputs of a file differ from what its classifier predicts.

    Args:
        path: of the exported file.
        classifier: that it was written from, on the CPU.
        images: one after the other, prepared.
    """
    session, opinion = open_session(path), classifier.opinion is not None
    count = len(classifier.class_names)
    parity = Parity(0.0, 0, 0)
    for image in images:
        probabilities, _, warning, reason = session.run(None, onnx_inputs([image], opinion))
        [prediction] = classifier.predict_prepared([image])
        difference = float(np.abs(probabilities[0] - prediction.probabilities).max())
        label = classifier.class_names[probabilities[0, :count].argmax()]
        name = REASONS[reason[0] - 1] if reason[0] else ""
        decided = (bool(warning[0]), name) == (prediction.warning, prediction.reason)
        parity = Parity(
            max(parity.difference, np.inf if np.isnan(difference) else difference),
            parity.labels + (label != prediction.label),
            parity.decisions + (not decided),
        )
    return parity


def checked_images() -> list[Prepared]:
    """Returns drawn images, grey and in colour and of different sizes, to check a file with."""
    draw = np.random.default_rng(0)
    images = []
    for number, (height, width) in enumerate(CHECKED_SIDES):
        for channels in (1, 3):
            pixels = _shapes(draw, channels, height, width)
            colour = _shapes(draw, 3, 40 + 90 * number, 40 + 90 * number) if channels == 1 else None
            images.append(Prepared(pixels, CUT_OUT if channels == 1 else "as it is", colour))
    return images


def _shapes(draw: np.random.Generator, channels: int, height: int, width: int) -> np.ndarray:
    """Rectangles in front of one another, on black: uint8, (C, h, w)."""
    image = np.zeros((channels, height, width), np.uint8)
    for _ in range(6):
        top, left = draw.integers(0, height - 4), draw.integers(0, width - 4)
        bottom, right = draw.integers(top + 2, height), draw.integers(left + 2, width)
        colour = draw.integers(0, 256, (channels, 1, 1))
        image[:, top:bottom, left:right] = colour
    return image
