"""Accuracy over training images per class: a table and a figure of several recipes.

A curve is a mapping from the number of images per class to a row of results (see `results`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from fashion_transfer.reporting.plotting import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
)
from fashion_transfer.reporting.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves: TypeAlias = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Curves by what people read for them."""

STYLES = (
    (GREEN, "o"),
    (BLUE, "s"),
    (ORANGE, "^"),
    (VERMILION, "D"),
    (PURPLE, "v"),
    (SKY, "P"),
)
"""Colour and marker of each curve."""


def curves_markdown(curves: Curves) -> str:
    """Returns a Markdown table: a row per curve, a column per number of images; empty without any.

    Cells are test accuracy in per cent, mean ± standard deviation where there are several runs.
    """
    counts = sorted({count for curve in curves.values() for count in curve})
    header = ("images per class", *(f"{count:,}" for count in counts))
    body = [
        (title, *(_cell(curve.get(count)) for count in counts)) for title, curve in curves.items()
    ]
    return markdown_table(header, body) if body else ""


def curves_figure(curves: Curves) -> "Figure":
    """Draws test accuracy over training images per class, with error bars of one deviation."""
    figure = new_figure(7.4, 4.8)
    axis = figure.subplots()
    for number, (title, curve) in enumerate(curves.items()):
        color, marker = STYLES[number % len(STYLES)]
        counts = sorted(curve)
        accuracy = [curve[count]["test/accuracy"] for count in counts]
        axis.errorbar(
            counts,
            [100 * value["mean"] for value in accuracy],
            yerr=[100 * value["spread"] for value in accuracy],
            color=color,
            marker=marker,
            capsize=3,
            label=title,
        )
    counts = sorted({count for curve in curves.values() for count in curve})
    axis.set_xscale("log")
    axis.set_xticks(counts, [f"{count:,}" for count in counts])
    axis.minorticks_off()
    axis.set_xlabel("training images per class")
    axis.set_ylabel("test accuracy, %")
    axis.grid(alpha=0.3)
    if curves:
        axis.legend(loc="lower right")
    return figure


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    accuracy = row["test/accuracy"]
    spread = f" ± {100 * accuracy['spread']:.1f}" if row["seeds"] > 1 else ""
    return f"{100 * accuracy['mean']:.1f}{spread}"
