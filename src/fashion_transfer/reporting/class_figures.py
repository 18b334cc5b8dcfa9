"""Figures about classes: which are taken for which, and how well each is recognised."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.plotting import (
    BLUE,
    DARK,
    ORANGE,
    Array,
    Values,
    as_array,
    literal,
    new_figure,
    percent_formatter,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_WRITTEN = 25
"""Classes up to which every cell of a confusion matrix has its number."""

MAX_NAMED = 50
"""Classes up to which each one's name is at the axis."""


def confusion_matrix(
    labels: Values, predicted: Values, class_names: Sequence[str], title: str = ""
) -> "Figure":
    """Draws how many images of each class are predicted as each class.

    Cells are coloured by their fraction of the class, so that small classes can be read, too.

    Args:
        labels: int, (N,).
        predicted: int, (N,), labels as well.
        class_names: C, by label.
        title: of the figure, before the accuracy.

    Raises:
        FashionTransferError: the numbers of labels and predictions differ, or there are none.
    """
    counts = _counts(labels, predicted, len(class_names))
    rows = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = len(class_names)
    side = min(7.6, max(4.2, 1.8 + 0.52 * size))
    figure = new_figure(side + 0.9, side)
    axis = figure.subplots()
    drawn = axis.imshow(rows, "Blues", vmin=0, vmax=1, aspect="auto")
    if size <= MAX_WRITTEN:
        font = 9 if size <= 12 else 6
        for true, guess in np.argwhere(counts):
            color = "white" if rows[true, guess] > 0.5 else DARK
            text = f"{counts[true, guess]:,}"
            cell = axis.text(guess, true, text, ha="center", va="center", fontsize=font)
            cell.set(color=color, in_layout=False)  # it is inside, and measuring takes time
    if size <= MAX_NAMED:
        names, font = [_short(name) for name in class_names], 9 if size <= 12 else 6
        axis.set_xticks(range(size), names, rotation=45, ha="right", fontsize=font)
        axis.set_yticks(range(size), names, fontsize=font)
    accuracy = counts.trace() / counts.sum()
    axis.set_xlabel("predicted")
    axis.set_ylabel("label")
    axis.set_title(f"{title}: accuracy {accuracy:.2%}".removeprefix(": "), fontsize=11)
    bar = figure.colorbar(drawn, ax=axis, fraction=0.04)
    bar.ax.yaxis.set_major_formatter(percent_formatter())
    return figure


def class_bars(
    labels: Values, predicted: Values, class_names: Sequence[str], title: str = ""
) -> "Figure":
    """Draws recall and precision of each class, the class with the lowest recall first.

    Args:
        labels: int, (N,).
        predicted: int, (N,), labels as well.
        class_names: C, by label.
        title: of the figure.

    Raises:
        FashionTransferError: the numbers of labels and predictions differ, or there are none.
    """
    counts = _counts(labels, predicted, len(class_names))
    hits, images = counts.diagonal(), counts.sum(1)
    recall = hits / np.maximum(images, 1)
    precision = hits / np.maximum(counts.sum(0), 1)
    there = np.flatnonzero(images)
    lowest = there[np.argsort(recall[there], kind="stable")][:MAX_NAMED]
    places = np.arange(len(lowest))
    figure = new_figure(7.5, min(7.6, 1.4 + 0.42 * len(lowest)))
    axis = figure.subplots()
    axis.barh(places - 0.2, recall[lowest], 0.38, color=BLUE, label="recall: found of the class")
    axis.barh(
        places + 0.2,
        precision[lowest],
        0.38,
        color=ORANGE,
        hatch="//",
        edgecolor="white",
        label="precision: correct where predicted",
    )
    names = [f"{_short(class_names[c])} ({images[c]:,})" for c in lowest]
    axis.set_yticks(places, names, fontsize=9 if len(lowest) <= 16 else 6)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(percent_formatter())
    axis.grid(axis="x", alpha=0.3)
    axis.set_title(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _counts(labels: Values, predicted: Values, size: int) -> Array:
    """Returns images by label and prediction: int64, (C, C)."""
    rows, columns = as_array(labels, int), as_array(predicted, int)
    if len(rows) != len(columns) or not len(rows):
        raise FashionTransferError(
            f"there are {len(rows)} labels and {len(columns)} predictions: give one of each per "
            "image, for at least one image"
        )
    return np.bincount(rows * size + columns, minlength=size**2).reshape(size, size)


def _short(name: str) -> str:
    return literal(name if len(name) <= 18 else f"{name[:17]}…")
