"""Sheets of images with what was answered under each: mistakes, and examples of every kind."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.confidence import DARK, VERMILION, Values, as_array, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST, COLUMNS = 40, 8  # mistakes on a sheet, and in a row of it
WARNED = "⚠"  # what a caption of a warned image starts with
INCHES = 1.2  # an image's side, the unit of what follows
STEP, NAME, LINE, SPACE = 1.1, 1.4, 0.12, 0.14  # between images; a kind's name; a caption's line


def mistakes_sheet(
    images: Values, told: Sequence[str], confidence: Values, true: Sequence[str]
) -> "Figure":
    """The `MOST` most confident mistakes: what was told and how surely, over what it is.

    Args:
        images: uint8, (N, S, S), right ones too: they are left out.
        told: the N labels given.
        confidence: in them, (N,), 0 to 1.
        true: the N true labels.
    """
    pixels, sure = as_array(images, np.uint8), as_array(confidence, float)
    lengths = {len(pixels), len(told), len(sure), len(true)}
    if len(lengths) > 1:
        found = f"there are {len(pixels)} images, {len(told)} and {len(true)} labels"
        raise FashionTransferError(f"{found} and {len(sure)} confidences: give as many of each")
    wrong = [i for i in np.argsort(-sure, kind="stable").tolist() if told[i] != true[i]]
    shown = wrong[:MOST]
    captions = [f"{told[i]} {sure[i]:.0%}\nis {true[i]}" for i in shown]
    rows = [
        ("", pixels[shown[start : start + COLUMNS]], captions[start : start + COLUMNS])
        for start in range(0, len(shown), COLUMNS)
    ]
    few = "The" if len(wrong) <= MOST else f"The {MOST} most confident of"
    title = f"{few} {len(wrong):,} mistakes in {len(pixels):,} answers" if wrong else "No mistakes"
    return _sheet(rows, title)


def kinds_sheet(kinds: Mapping[str, tuple[Values, Sequence[str]]]) -> "Figure":
    """A row of examples for each kind of image, with what was answered under each.

    Args:
        kinds: by name: images, uint8, (N, S, S), S each its own, and N captions of a few short
            lines. Those that start with ⚠ are drawn in orange.
    """
    rows = [(name, as_array(images, np.uint8), told) for name, (images, told) in kinds.items()]
    for name, pixels, told in rows:
        if len(pixels) != len(told):
            found = f"{name} has {len(pixels)} images and {len(told)} captions"
            raise FashionTransferError(f"{found}: give one of each")
    return _sheet(rows, "What was answered, by kind of image")


def _sheet(rows: Sequence[tuple[str, np.ndarray, Sequence[str]]], title: str) -> "Figure":
    """Images in rows on one pair of axes: hundreds of axes would take a minute to lay out."""
    columns = max([3, *(len(told) for *_, told in rows)])  # room for the title
    lines = [max([text.count("\n") + 1 for text in told], default=0) for *_, told in rows]
    tops = np.cumsum([0, *(1 + LINE * count + SPACE for count in lines)])
    left = -NAME if any(name for name, *_ in rows) else -0.1
    right, bottom = STEP * columns, max(0.1, tops[-1])
    figure = new_figure(INCHES * (right - left), INCHES * bottom + 0.4)
    axis = figure.subplots()
    for y, (name, pixels, told) in zip(tops, rows, strict=False):
        words = textwrap.fill(name.replace("_", " "), 16)
        axis.text(-0.1, y + 0.5, words, ha="right", va="center", fontsize=10)
        for column, (picture, text) in enumerate(zip(pixels, told, strict=True)):
            x = STEP * column
            extent = (x, x + 1, y + 1, y)
            axis.imshow(picture, "gray", vmin=0, vmax=255, extent=extent, interpolation="nearest")
            color = VERMILION if text.startswith(WARNED) else DARK
            axis.text(x + 0.5, y + 1.03, text, ha="center", va="top", fontsize=7, color=color)
    axis.set(xlim=(left, right), ylim=(bottom, 0), aspect="equal")
    axis.set_axis_off()
    axis.set_title(title, fontsize=12)
    return figure
