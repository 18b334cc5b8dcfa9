"""Sheets of images with captions: mistakes, doubtful labels, examples of evaluation sets."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fashion_transfer.confidence.decision import Prediction
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.plotting import (
    DARK,
    VERMILION,
    Array,
    Images,
    Values,
    as_array,
    as_picture,
    new_figure,
)
from fashion_transfer.reporting.tables import WARNING_SIGN, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_MISTAKES, COLUMNS = 40, 8

SIDE = 1.2
"""Side of an image in inches, the unit of the following."""
STEP = 1.1
"""From an image to the next of its row."""
NAME_WIDTH, LINE_HEIGHT, ROW_GAP = 1.75, 0.12, 0.14
NAME_LETTERS, CAPTION_LETTERS = 22, 21
"""In a line of a row's name, and of a caption."""


class _Row(NamedTuple):
    """A row of a sheet: its name, pictures as Matplotlib draws them, and a caption for each."""

    name: str
    pictures: list[Array]
    captions: list[str]


def mistakes_sheet(
    images: Images,
    predicted_labels: Sequence[str],
    confidence: Values,
    true_labels: Sequence[str],
) -> "Figure":
    """Draws the `MAX_MISTAKES` most confident mistakes, captioned with both labels.

    Args:
        images: all N images; those with a correct prediction are left out.
        predicted_labels: N.
        confidence: in the predicted labels, (N,), 0 to 1.
        true_labels: N.

    Raises:
        FashionTransferError: the lengths differ.
    """
    values = as_array(confidence, float)
    if len({len(images), len(predicted_labels), len(values), len(true_labels)}) > 1:
        raise FashionTransferError(
            f"there are {len(images)} images, {len(predicted_labels)} predicted labels, "
            f"{len(values)} confidences and {len(true_labels)} true labels: give one of each "
            "per image"
        )
    by_confidence = np.argsort(-values, kind="stable").tolist()
    mistakes = [i for i in by_confidence if predicted_labels[i] != true_labels[i]]
    shown = mistakes[:MAX_MISTAKES]
    captions = [f"{predicted_labels[i]} {values[i]:.0%}\ntrue: {true_labels[i]}" for i in shown]
    pictures = [as_picture(images[i]) for i in shown]
    chosen = "The" if len(mistakes) <= MAX_MISTAKES else f"The {MAX_MISTAKES} most confident of"
    title = f"{chosen} {len(mistakes):,} mistakes in {len(images):,} predictions"
    return _sheet(_rows(pictures, captions), title if mistakes else "No mistakes")


def label_issues_sheet(
    images: Images,
    labels: Sequence[str],
    suggested_labels: Sequence[str],
    probabilities: Values,
    total: int,
) -> "Figure":
    """Draws images whose label is probably wrong, captioned with it and with a better one.

    Args:
        images: the N clearest.
        labels: N.
        suggested_labels: N.
        probabilities: of the suggested labels, (N,), 0 to 1.
        total: how many images there are of which these are the clearest.

    Raises:
        FashionTransferError: the lengths differ.
    """
    values = as_array(probabilities, float)
    if len({len(images), len(labels), len(suggested_labels), len(values)}) > 1:
        raise FashionTransferError(
            f"there are {len(images)} images, {len(labels)} labels, {len(suggested_labels)} "
            f"suggested labels and {len(values)} probabilities: give one of each per image"
        )
    captions = [
        f"label: {label}\n{suggested}? {value:.0%}"
        for label, suggested, value in zip(labels, suggested_labels, values, strict=True)
    ]
    pictures = [as_picture(images[i]) for i in range(len(images))]
    chosen = "The" if len(images) == total else f"The {len(images)} clearest of"
    return _sheet(_rows(pictures, captions), f"{chosen} {total:,} probably mislabelled images")


def evaluation_sets_sheet(
    examples: Mapping[str, tuple[Images, Sequence[Prediction]]],
) -> "Figure":
    """Draws a row of examples for each evaluation set, captioned with label or warning.

    Args:
        examples: by name of the evaluation set: images, and a prediction for each.

    Raises:
        FashionTransferError: the numbers of images and predictions differ.
    """
    rows = []
    for name, (images, predictions) in examples.items():
        if len(images) != len(predictions):
            raise FashionTransferError(
                f"{name} has {len(images)} images and {len(predictions)} predictions: give one "
                "prediction per image"
            )
        pictures = [as_picture(images[i]) for i in range(len(images))]
        title = set_title(name).replace(": ", ":\n")
        rows.append(_Row(title, pictures, [_caption(p) for p in predictions]))
    return _sheet(rows, f"Predictions by evaluation set ({WARNING_SIGN} warning and its reason)")


def _caption(prediction: Prediction) -> str:
    if prediction.warning:
        return f"{WARNING_SIGN} {prediction.reason}"
    return f"{prediction.label} {prediction.confidence:.0%}"


def _rows(pictures: Sequence[Array], captions: Sequence[str]) -> list[_Row]:
    """Rows without a name, each but the last one full."""
    return [
        _Row("", list(pictures[start : start + COLUMNS]), list(captions[start : start + COLUMNS]))
        for start in range(0, len(pictures), COLUMNS)
    ]


def _sheet(rows: Sequence[_Row], title: str) -> "Figure":
    """Draws images in rows on one pair of axes: laying out hundreds of axes would take a minute."""
    captions = [[_wrap(text, CAPTION_LETTERS) for text in row.captions] for row in rows]
    names = [_wrap(row.name, NAME_LETTERS) for row in rows]
    columns = max([4, *map(len, captions)])  # at least the width of the title
    lines = [max([text.count("\n") + 1 for text in texts], default=0) for texts in captions]
    tops = np.cumsum([0, *(1 + LINE_HEIGHT * count + ROW_GAP for count in lines)])
    left = -NAME_WIDTH if any(names) else -0.1
    right, bottom = STEP * columns, max(0.1, tops[-1])
    figure = new_figure(SIDE * (right - left), SIDE * bottom + 0.4)
    axis = figure.subplots()
    for top, name, row, texts in zip(tops, names, rows, captions, strict=False):
        axis.text(-0.1, top + 0.5, name, ha="right", va="center", fontsize=10)
        for column, (picture, text) in enumerate(zip(row.pictures, texts, strict=True)):
            x = STEP * column
            height, width = (side / max(picture.shape[:2]) for side in picture.shape[:2])
            x_margin, y_margin = (1 - width) / 2, (1 - height) / 2
            extent = (x + x_margin, x + 1 - x_margin, top + 1 - y_margin, top + y_margin)
            axis.imshow(picture, "gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
            color = VERMILION if text.startswith(WARNING_SIGN) else DARK
            axis.text(x + 0.5, top + 1.03, text, ha="center", va="top", fontsize=7, color=color)
    axis.set(xlim=(left, right), ylim=(bottom, 0), aspect="equal")
    axis.set_axis_off()
    axis.set_title(title, fontsize=12)
    return figure


def _wrap(text: str, letters: int) -> str:
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))
