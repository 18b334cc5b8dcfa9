"""Sheets of images with captions: mistakes, doubtful labels, examples of evaluation sets."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from fashion_transfer.confidence.decision import Prediction
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.plotting import (
    DARK,
    DPI,
    VERMILION,
    Array,
    Images,
    Values,
    as_array,
    as_picture,
    literal,
    new_figure,
)
from fashion_transfer.reporting.tables import WARNING_SIGN, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_MISTAKES, COLUMNS = 40, 8

MAX_SETS = 14
"""Evaluation sets on one sheet, so that it fits on a screen."""
EXAMPLES = 5
"""Images of each of them."""
ONE_BLOCK = 4
"""Evaluation sets that are drawn in large, one below the other."""

SIDE, SMALL_SIDE = 1.2, 0.8
"""Side of an image in inches, of a sheet with one and with two blocks of rows."""
STEP = 1.1
"""From an image to the next of its row, in sides, as the sizes of a picture in it."""
NAME_WIDTH, LINE_HEIGHT, ROW_GAP, BLOCK_GAP, TITLE_HEIGHT = 2.1, 0.135, 0.16, 0.2, 0.4
"""In inches."""
NAME_LETTERS = 22
"""In a line of a row's name."""
CAPTION_LETTERS = 17.5
"""In a line of a caption, per inch of the picture above it."""


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
    title: str = "",
) -> "Figure":
    """Draws the `MAX_MISTAKES` most confident mistakes, captioned with both labels.

    Args:
        images: all N images; those with a correct prediction are left out.
        predicted_labels: N.
        confidence: in the predicted labels, (N,), 0 to 1.
        true_labels: N.
        title: what the predictions are of, such as "10,000 test images".

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
    among = title or f"{len(images):,} predictions"
    heading = f"{chosen} {len(mistakes):,} mistakes in {among}" if mistakes else "No mistakes"
    return _sheet(_rows(pictures, captions), heading)


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

    A sheet of `MAX_SETS` sets with `EXAMPLES` images each fits on a screen, in two blocks.

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
    title = f"Predictions by evaluation set ({WARNING_SIGN} warning and its reason)"
    return _sheet(rows, title, blocks=1 if len(rows) <= ONE_BLOCK else 2)


def views_sheet(views: Mapping[str, Images]) -> "Figure":
    """Draws images in rows, without captions.

    Args:
        views: by name of the row.
    """
    rows = []
    for name, images in views.items():
        pictures = [as_picture(images[i]) for i in range(len(images))]
        rows.append(_Row(name, pictures, [""] * len(pictures)))
    return _sheet(rows, "Training images as the backbone sees them")


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


def _sheet(rows: Sequence[_Row], title: str, blocks: int = 1) -> "Figure":
    """Draws images in rows on one pair of axes, as one image: hundreds of either take long.

    Args:
        rows: of the sheet.
        title: above them.
        blocks: how many stand beside each other, each with the same number of rows, or one less.
    """
    side = SIDE if blocks == 1 else SMALL_SIDE
    letters = int(CAPTION_LETTERS * side)
    captions = [[_wrap(text, letters) for text in row.captions] for row in rows]
    names = [_wrap(row.name, NAME_LETTERS) for row in rows]
    columns = max([4, *map(len, captions)])  # at least the width of the title
    name_width = NAME_WIDTH / side if any(names) else 0.1
    width = name_width + STEP * columns + BLOCK_GAP / side
    length = -(-len(rows) // blocks)  # rows of a block
    tops = [0.0]
    for row in range(length):
        beside = [text for texts in captions[row::length] for text in texts]
        lines = max([text.count("\n") + 1 for text in beside if text], default=0)
        tops.append(tops[-1] + 1 + (LINE_HEIGHT * lines + ROW_GAP) / side)
    right, bottom = width * blocks - BLOCK_GAP / side, max(0.1, tops[-1])
    height = side * bottom
    figure = new_figure(side * right, height + TITLE_HEIGHT, measured=False)
    axis = figure.add_axes((0, 0, 1, height / (height + TITLE_HEIGHT)))
    pixels = round(DPI * side)  # of an image's side
    canvas = Image.new("RGB", (round(pixels * right), round(pixels * bottom)), "white")
    for number, (name, row_of, texts) in enumerate(zip(names, rows, captions, strict=True)):
        block, place = divmod(number, length)
        left, top = width * block + name_width, tops[place]
        axis.text(left - 0.1, top + 0.5, literal(name), ha="right", va="center", fontsize=10)
        for column, (picture, text) in enumerate(zip(row_of.pictures, texts, strict=True)):
            x = left + STEP * column
            _paste(canvas, picture, round(pixels * x), round(pixels * top), pixels)
            _write(axis, text, x + 0.5, top + 1.03)
    axis.imshow(canvas, extent=(0, right, bottom, 0), interpolation="nearest")
    axis.set(xlim=(0, right), ylim=(bottom, 0), aspect="equal")
    axis.set_axis_off()
    axis.set_title(literal(title), fontsize=12, y=1)
    return figure


def _paste(canvas: Image.Image, picture: Array, left: int, top: int, side: int) -> None:
    """Pastes a picture, centred, into a square of a canvas; all in pixels."""
    image = Image.fromarray(picture)
    size = [max(1, round(side * edge / max(image.size))) for edge in image.size]
    enlarged = size[0] >= image.width
    resized = image.resize(size, Image.Resampling.NEAREST if enlarged else Image.Resampling.BOX)
    canvas.paste(resized, (left + (side - size[0]) // 2, top + (side - size[1]) // 2))


def _write(axis: Any, text: str, centre: float, top: float) -> None:
    color = VERMILION if text.startswith(WARNING_SIGN) else DARK
    axis.text(centre, top, literal(text), ha="center", va="top", fontsize=7, color=color)


def _wrap(text: str, letters: int) -> str:
    return "\n".join(textwrap.fill(line, letters) for line in text.split("\n"))
