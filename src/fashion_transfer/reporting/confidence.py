"""What confidence is worth, to look at: figures, and a table of warnings by kind of image.

Each figure is returned: `save_figure` writes it, TensorBoard's `add_figure` takes it. Values come
as tensors on any device, or as arrays. Colours are Okabe & Ito's, which colour-blind people can
tell apart, and none is the only sign of anything.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from fashion_transfer.confidence.metrics import BINS, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

Values = Tensor | np.ndarray

BLUE, ORANGE, VERMILION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
PURPLE, SKY, GREY, DARK = "#CC79A7", "#56B4E9", "#777777", "#333333"


class WarningRow(NamedTuple):
    """How many images of a kind were warned about, all but the count as fractions of them.

    Attributes:
        kind: what the images show.
        images: how many there are.
        warned: by the classifier.
        reasons: for each reason, those warned for it.
        reference: warned by the reference rule: plain head, 80 %; nan if it was not asked.
    """

    kind: str
    images: int
    warned: float
    reasons: Mapping[str, float]
    reference: float


def save_figure(figure: "Figure", path: Path, dpi: int = 120) -> None:
    """Writes a PNG file, which is there whole or not at all."""
    scratch = path.with_name(f".{path.name}")
    figure.savefig(scratch, dpi=dpi, format="png")
    scratch.replace(path)


def reliability_diagram(before: tuple[Values, Values], after: tuple[Values, Values]) -> "Figure":
    """Accuracy by confidence before and after calibration, the gap between, and how many images.

    Guo et al. 2017, "On calibration of modern neural networks", figure 1.

    Args:
        before: confidence, (N,), 0 to 1, and whether it was right, bool, (N,).
        after: the same after calibration.
    """
    figure = new_figure(11.5, 6)
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    sides = (("before calibration", before), ("after calibration", after))
    for column, (name, (confidence, right)) in enumerate(sides):
        _reliability(axes[:, column], as_array(confidence, float), as_array(right, bool), name)
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("images")
    axes[0, 0].legend(loc="upper left", frameon=False)
    return figure


def _reliability(axes: np.ndarray, confidence: np.ndarray, right: np.ndarray, name: str) -> None:
    top: Axes
    low: Axes
    top, low = axes
    error = calibration_error(torch.from_numpy(confidence), torch.from_numpy(right))
    bins = (confidence * BINS).astype(int).clip(0, BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    full = count > 0
    mean, accuracy = (
        np.bincount(bins, values, BINS)[full] / count[full] for values in (confidence, right)
    )
    middles, width = (np.arange(BINS) + 0.5) / BINS, 0.92 / BINS
    top.bar(middles[full], accuracy, width, color=BLUE, label="accuracy in the bin")
    top.bar(
        middles[full],
        mean - accuracy,
        width,
        bottom=accuracy,
        color="none",
        edgecolor=VERMILION,
        hatch="////",
        label="gap to its mean confidence",
    )
    top.plot([0, 1], [0, 1], "--", color=DARK, linewidth=1, label="perfectly calibrated")
    top.set(xlim=(0, 1), ylim=(0, 1), title=f"{name}: ECE {error:.2%}")
    low.bar(middles, count, width, color=GREY)
    low.set(xlabel="confidence", yscale="symlog", ylim=(0, None))
    top.yaxis.set_major_formatter(_percent())
    low.xaxis.set_major_formatter(_percent())


def risk_coverage_figure(curves: Mapping[str, tuple[Values, Values, float]]) -> "Figure":
    """Error among the most confident answers, over how many of all they are.

    Args:
        curves: by name: coverage and risk, both (N,), 0 to 1, and the area under them (AURC).
    """
    figure = new_figure(7, 5)
    axis = figure.subplots()
    # More curves than styles begin anew.
    styles = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (PURPLE, ":"))
    for number, (name, (coverage, risk, area)) in enumerate(curves.items()):
        color, line = styles[number % len(styles)]
        along, up = as_array(coverage, float), as_array(risk, float)
        axis.plot(along, up, line, color=color, linewidth=2, label=f"{name}: AURC {area:.4f}")
    axis.set(
        title="Risk and coverage: answering only where confidence is highest",
        xlabel="coverage: images answered without a warning",
        ylabel="risk: wrong among those",
        xlim=(0, 1),
        ylim=(0, None),
    )
    axis.xaxis.set_major_formatter(_percent())
    axis.yaxis.set_major_formatter(_percent(1))
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left")
    return figure


def confidence_histograms(groups: Mapping[str, Values], threshold: float) -> "Figure":
    """How confidence is spread in each group of images, and how much of it is under the threshold.

    Args:
        groups: by name: confidence, (N,), 0 to 1.
        threshold: under which an image is warned about.
    """
    figure = new_figure(9, 1.2 + 1.5 * max(1, len(groups)))
    axes = figure.subplots(max(1, len(groups)), 1, sharex=True, squeeze=False)[:, 0]
    colors = (GREEN, VERMILION, PURPLE, SKY, ORANGE, BLUE)
    for number, (axis, (name, values)) in enumerate(zip(axes, groups.items(), strict=False)):
        confidence = as_array(values, float)
        weights = np.full(len(confidence), 1 / max(1, len(confidence)))
        color = colors[number % len(colors)]
        axis.hist(confidence, 40, range=(0, 1), weights=weights, color=color)
        axis.axvline(threshold, color=DARK, linestyle="--", linewidth=1.2)
        under = f"{(confidence < threshold).mean():.1%}" if len(confidence) else "none"
        told = f"{name}\n{len(confidence):,} images\n{under} under {threshold:.0%}"
        axis.text(1.02, 0.5, told, transform=axis.transAxes, va="center", fontsize=9)
        axis.yaxis.set_major_formatter(_percent())
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set(xlim=(0, 1), xlabel="confidence")
    axes[-1].xaxis.set_major_formatter(_percent())
    figure.supylabel("share of the group", fontsize=10)
    figure.suptitle(f"Confidence by group; dashed: the threshold, {threshold:.0%}")
    return figure


def warnings_table(rows: Sequence[WarningRow]) -> None:
    """Prints a row for each kind of image: per cent warned, for what, and by the reference rule."""
    heads, body = _cells(rows)
    table = Table(title="warned, % of the images of each kind", title_justify="left")
    table.add_column(heads[0], overflow="fold")
    for head in heads[1:]:  # narrow, and never cut: a kind's name gives way
        table.add_column(head.replace(" ", "\n"), justify="right", no_wrap=True)
    for cells in body:
        table.add_row(*cells)
    Console().print(table)


def warnings_markdown(rows: Sequence[WarningRow]) -> str:
    """The same as a Markdown table, without a title."""
    heads, body = _cells(rows)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *body]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(rows: Sequence[WarningRow]) -> tuple[list[str], list[list[str]]]:
    reasons = list(dict.fromkeys(reason for row in rows for reason in row.reasons))
    heads = ["kind", "images", "warned", *reasons, "reference"]
    body = []
    for row in rows:
        shares = [row.warned, *(row.reasons.get(reason, 0.0) for reason in reasons), row.reference]
        told = ["–" if np.isnan(share) else f"{100 * share:.1f}" for share in shares]
        body.append([row.kind.replace("_", " "), f"{row.images:,}", *told])
    return heads, body


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, which needs no display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def as_array(values: Values, dtype: type) -> np.ndarray:
    """A copy of a tensor or an array, as an array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        values = (values.double() if values.is_floating_point() else values).numpy()
    return np.array(values, dtype)


def _percent(decimals: int = 0) -> "Formatter":
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1, decimals)
