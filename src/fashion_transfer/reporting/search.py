"""Figures of a search: its history, what matters, and the metric over each value."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fashion_transfer.reporting.plotting import BLUE, DARK, GREY, VERMILION, literal, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Point = tuple[int, float]

COLUMNS = 3
"""Plots beside one another in the figure of slices."""


def history_figure(
    finished: Sequence[Point], pruned: Sequence[Point], metric: str, minimise: bool
) -> "Figure":
    """Draws the metric of each trial over its number, and the best so far.

    Args:
        finished: number and value of trials.
        pruned: the same of pruned ones, after their last epoch.
        metric: name of the value.
        minimise: whether the lowest is best.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    better = min if minimise else max
    finished = sorted(finished)
    best = [better(value for _, value in finished[: i + 1]) for i in range(len(finished))]
    shown = [(number, value) for number, value in pruned if math.isfinite(value)]
    if shown:
        axes.plot(*zip(*shown, strict=True), "x", color=GREY, label="pruned, last epoch")
    axes.plot(*zip(*finished, strict=True), "o", color=BLUE, label="finished")
    axes.step([n for n, _ in finished], best, where="post", color=VERMILION, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if max(value for _, value in [*finished, *shown]) > 5 * abs(best[-1]) > 0 and minimise:
        axes.set_yscale("log")  # or one trial that went wrong hides the others
    axes.legend()
    return figure


def importance_figure(importances: Mapping[str, float]) -> "Figure":
    """Draws how much of the metric's variance each parameter explains (fANOVA).

    Hutter et al. 2014, "An efficient approach for assessing hyperparameter importance".
    """
    figure = new_figure(7, 1.2 + 0.4 * len(importances))
    axes = figure.subplots()
    names = sorted(importances, key=importances.__getitem__)
    bars = axes.barh(names, [importances[name] for name in names], color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3, color=DARK)
    axes.set_xlim(0, max(importances.values(), default=1.0) * 1.12)
    axes.set_xlabel("importance: fraction of the variance over trials")
    return figure


def slices_figure(
    columns: Mapping[str, Sequence[Any]],
    values: Sequence[float],
    metric: str,
    logarithmic: Mapping[str, tuple[float, float]],
) -> "Figure":
    """Draws the metric over each parameter, a point per finished trial, later ones darker.

    Args:
        columns: values of each parameter, as many as there are trials.
        values: of the metric.
        metric: its name.
        logarithmic: ends of the axes that are logarithmic.
    """
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    wide = min(COLUMNS, max(1, len(columns)))
    high = math.ceil(len(columns) / wide) or 1
    figure = new_figure(3.6 * wide, 3 * high)
    grid = figure.subplots(high, wide, squeeze=False, sharey=True)
    for axes, (name, column) in zip(grid.flat, columns.items(), strict=False):
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in column)
        axes.scatter(
            column if numbers else [literal(str(value)) for value in column],
            values,
            c=range(len(values)),
            cmap="Blues",
            vmin=-len(values),
            edgecolor=DARK,
            linewidth=0.4,
        )
        if name in logarithmic and numbers:
            axes.set_xscale("log")
            start, end = logarithmic[name]
            axes.set_xlim(start / 1.1, end * 1.1)
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if end / start > 50 else (1, 2, 5)))
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(name)
    for axes in grid[:, 0]:
        axes.set_ylabel(metric)
    for axes in grid.flat[len(columns) :]:
        axes.set_visible(False)
    return figure
