"""Figures about confidence: calibration, risk and coverage, and distributions.

Each function returns a figure, for `save_figure` or for TensorBoard's `add_figure`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fashion_transfer.confidence.metrics import BINS, calibration_error
from fashion_transfer.reporting.plotting import (
    BLUE,
    DARK,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Array,
    Values,
    as_array,
    new_figure,
    percent_formatter,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_diagram(
    before: tuple[Values, Values], after: tuple[Values, Values], title: str = ""
) -> "Figure":
    """Draws accuracy by confidence, and the images per bin, before and after calibration.

    Guo et al. 2017, "On calibration of modern neural networks", figure 1.

    Args:
        before: confidence, (N,), 0 to 1, and whether the prediction was correct, bool, (N,).
        after: the same after calibration.
        title: of the figure.

    Raises:
        FashionTransferError: there are no images, or the shapes differ.
    """
    figure = new_figure(11.5, 6, measured=False)  # no label varies in width
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    figure.subplots_adjust(0.065, 0.08, 0.98, 0.915, wspace=0.08, hspace=0.08)
    sides = (("before calibration", before), ("after calibration", after))
    for column, (name, (confidence, correct)) in enumerate(sides):
        _draw_reliability(
            axes[0, column],
            axes[1, column],
            as_array(confidence, float),
            as_array(correct, bool),
            name,
        )
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images")
    axes[0, 0].legend(loc="upper left", framealpha=0.9)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _draw_reliability(upper: Any, lower: Any, confidence: Array, correct: Array, name: str) -> None:
    """Draws one side on two axes: accuracy and gap in the upper one, counts in the lower one."""
    error = calibration_error(torch.from_numpy(confidence), torch.from_numpy(correct))
    bins = (confidence * BINS).astype(int).clip(0, BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    occupied = count > 0
    mean, accuracy = (
        np.bincount(bins, values, BINS)[occupied] / count[occupied]
        for values in (confidence, correct)
    )
    centres, width = (np.arange(BINS) + 0.5) / BINS, 0.92 / BINS
    upper.bar(centres[occupied], accuracy, width, color=BLUE, label="accuracy in the bin")
    upper.bar(
        centres[occupied],
        mean - accuracy,
        width,
        bottom=accuracy,
        color="none",
        edgecolor=VERMILION,
        hatch="////",
        label="gap to mean confidence",
    )
    upper.plot([0, 1], [0, 1], "--", color=DARK, linewidth=1, label="perfect calibration")
    upper.set(xlim=(0, 1), ylim=(0, 1), title=f"{name}: ECE {error:.2%}")
    lower.bar(centres, count, width, color=GREY)
    lower.set(xlabel="confidence", yscale="symlog", ylim=(0, None))
    upper.yaxis.set_major_formatter(percent_formatter())
    lower.xaxis.set_major_formatter(percent_formatter())
    lower.yaxis.set_major_formatter("{x:,.0f}")  # powers of ten are formulas, which take time


def risk_coverage_figure(curves: Mapping[str, tuple[Values, Values, float]]) -> "Figure":
    """Draws the error rate of the most confident predictions over their fraction of all.

    Geifman & El-Yaniv 2017, "Selective classification for deep neural networks".

    Args:
        curves: by name: coverage and risk, both (N,), 0 to 1, and the area under them (AURC).
    """
    figure = new_figure(7, 5, measured=False)
    axis = figure.subplots()
    figure.subplots_adjust(0.11, 0.11, 0.955, 0.92)
    styles = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (PURPLE, ":"))
    for number, (name, (coverage, risk, area)) in enumerate(curves.items()):
        color, line = styles[number % len(styles)]
        x, y = as_array(coverage, float), as_array(risk, float)
        axis.plot(x, y, line, color=color, linewidth=2, label=f"{name}: AURC {area:.4f}")
    axis.set(
        title="Risk–coverage curve, most confident predictions first",
        xlabel="coverage: fraction of the test images accepted",
        ylabel="risk: error rate among the accepted",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axis.xaxis.set_major_formatter(percent_formatter())
    axis.yaxis.set_major_formatter(percent_formatter(1))
    axis.grid(alpha=0.3)
    if curves:
        axis.legend(loc="upper left")
    return figure


def confidence_histograms(groups: Mapping[str, Values], threshold: float) -> "Figure":
    """Draws the distribution of confidence in each group of images, and the threshold.

    Args:
        groups: by name: confidence, (N,), 0 to 1.
        threshold: confidence below which an image gets a warning.
    """
    rows = max(1, len(groups))
    height = 1.2 + 1.5 * rows
    figure = new_figure(9, height, measured=False)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    # In inches, but for the captions at the right: room for "out-of-distribution".
    figure.subplots_adjust(0.1, 0.5 / height, 0.8, 1 - 0.45 / height, hspace=0.15)
    colors = (GREEN, VERMILION, PURPLE, SKY, ORANGE, BLUE)
    limit = f"{100 * threshold:.3g}%"
    for number, (axis, (name, values)) in enumerate(zip(axes, groups.items(), strict=False)):
        confidence = as_array(values, float)
        weights = np.full(len(confidence), 1 / max(1, len(confidence)))
        color = colors[number % len(colors)]
        axis.hist(confidence, 40, range=(0, 1), weights=weights, color=color)
        axis.axvline(threshold, color=DARK, linestyle="--", linewidth=1.2)
        below = f"{(confidence < threshold).mean():.1%}" if len(confidence) else "none"
        caption = f"{name}\n{len(confidence):,} images\n{below} below {limit}"
        axis.text(1.02, 0.5, caption, transform=axis.transAxes, va="center", fontsize=9)
        axis.set_ylim(0, None)
        axis.yaxis.set_major_formatter(percent_formatter())
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set(xlim=(0, 1), xlabel="confidence")
    axes[-1].xaxis.set_major_formatter(percent_formatter())
    figure.supylabel("fraction of the group", fontsize=10)
    figure.suptitle(f"Distribution of confidence; dashed line: threshold, {limit}")
    return figure
