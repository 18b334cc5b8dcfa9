"""Results of many recipes, each over seeds: tables, the README's section, and a figure.

A row is a mapping that can be written as JSON:

- `title`, `command`, `seeds` (their number);
- `test/accuracy`, `test/macro_accuracy`, `test/ece` (optional) and `test/accuracy/<class>` for
  every class: each a mapping with `mean` and `spread` (standard deviation) over the seeds, as
  fractions;
- `seconds`: of each seed's run, the first one first;
- `weights`, optional: name of the backbone's weights;
- `deterministic`, optional: whether a seed changes nothing, so that one run is all there is;
- `commit`, optional: that it was measured at.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from rich.console import Console
from rich.table import Table

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.learning_curves import Curves, curves_markdown
from fashion_transfer.reporting.ood import ood_markdown
from fashion_transfer.reporting.plotting import BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from fashion_transfer.reporting.tables import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row: TypeAlias = Mapping[str, Any]

HEADINGS = ("accuracy", "macro", "worst class", "ECE", "first run, s", "next, s")
ERROR_BARS: dict[str, Any] = {"marker": "o", "linestyle": "none", "capsize": 3, "color": GREEN}


CURVES_TEXT = """\
Test accuracy in per cent over the number of training images per class. Up to 50 they are drawn by
the seed (`data.selection=random`; mean ± standard deviation over 5 seeds), from 100 on they are the
first ones. Whatever is chosen (epoch, temperature, hyperparameters) is chosen on the same 1,000
validation images, also where there are fewer training images, and test images choose nothing. The
baselines see no composites, and are trained on the training images alone. To repeat a cell, add
`data.images_per_class=N` (up to 50 with `data.selection=random seed=0`) to its row's command."""

OOD_TEXT = """\
Out-of-distribution sets against the 10,000 test images. AUROC: the probability that an image of the
set has the higher OOD score, the score whose limit the warning has. FPR95: the fraction of the set
that passes where 95 % of the test images do. MSP: the same by 1 − the maximum class probability,
ref. by that of the reference rule. Warned: the fraction with a warning at the default threshold."""


class CostPoint(NamedTuple):
    """A row in the plot of accuracy over cost.

    Attributes:
        series: points of one series share a marker and an entry in the legend.
        cost: of the row, in backbone passes at the default image size.
        row: its results.
    """

    series: str
    cost: float
    row: Row


def print_results(rows: Sequence[Row]) -> None:
    """Prints one line per recipe: mean ± standard deviation over seeds, and seconds."""
    # Numbers are never cut: a recipe's name gives way.
    table = Table(title="results", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("recipe", overflow="fold")
    for heading in HEADINGS:
        table.add_column(heading.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row["title"], *_cells(row))
    Console().print(table)


def results_markdown(
    rows: Sequence[Row], about: Mapping[str, Any], curves: Curves | None = None
) -> str:
    """Returns the table of `print_results` in Markdown, with commands and measurement conditions.

    Args:
        rows: one per recipe.
        about: `commit`; `torch` (version); `machine` with `cores`; `weights` with `name`, `sha256`
            and, where it is known, `licence`. Optional: `near_duplicates` with `correlation`,
            `test_images`, `accuracy`, `accuracy_without`; `warnings` and `descriptions`, the
            arguments of `warning_summary`; `ood`, that of `ood.ood_markdown`.
        curves: accuracy over images per class.
    """
    header = ("recipe", *HEADINGS, "command")
    seeds = _seeds(rows)
    body = [(_title(row, seeds), *_cells(row), f"`{row['command']}`") for row in rows]
    paragraphs = [
        f"Accuracy on the test images: mean ± standard deviation over {_count(seeds)}, if no other "
        "number is named. Macro is the mean over classes, worst class the class with the lowest "
        "accuracy, ECE the expected calibration error (15 bins). The first run's seconds include "
        "computing the features that are not in the store yet; next is the median of the runs with "
        "the other seeds.",
        f"{_weights(rows, about)} torch {about['torch']}, {about['machine']['cores']} cores, "
        f"commit `{about['commit'][:12]}`.",
    ]
    if other := _other_commits(rows, about["commit"]):
        paragraphs.append(f"Measured at another commit: {other}.")
    if duplicates := about.get("near_duplicates"):
        paragraphs.append(
            "Test images that nearly equal an image of the training subset (correlation of pixels "
            f"at least {duplicates['correlation']}): {duplicates['test_images']}. Accuracy of the "
            f"default is {duplicates['accuracy']:.2%} with them and "
            f"{duplicates['accuracy_without']:.2%} without."
        )
    if curves:
        paragraphs += [CURVES_TEXT, curves_markdown(curves).rstrip()]
    if about.get("warnings"):
        paragraphs.append(warning_summary(about["warnings"], about["descriptions"]).rstrip())
    if about.get("ood"):
        paragraphs += [OOD_TEXT, ood_markdown(about["ood"]).rstrip()]
    table = markdown_table(header, body, (0, len(header) - 1))
    return "\n".join((table, "\n\n".join(paragraphs), ""))


def warning_summary(warnings: Mapping[str, Row], descriptions: Mapping[str, str]) -> str:
    """Returns a Markdown table of warning metrics, beside those of the reference rule.

    Args:
        warnings: by name of the metric: `mean` over seeds and, where there are some, `best` and
            `reference`.
        descriptions: by name of the metric: what people read for it.
    """
    columns = {"mean": "default", "best": "experiment=best", "reference": "reference rule"}
    if not any("best" in row for row in warnings.values()):
        del columns["best"]
    body = []
    for metric, row in warnings.items():
        cells = [_metric_cell(metric, row[name]) if name in row else "" for name in columns]
        body.append((descriptions[metric], *cells))
    return markdown_table(("warnings", *columns.values()), body)


def readme_section(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Returns a short results table in Markdown: recipe, accuracy, ECE, seconds and command.

    The arguments are those of `results_markdown`.
    """
    header = ("recipe", "accuracy", "ECE", "seconds, first / next run", "command")
    seeds = _seeds(rows)
    body = []
    for row in rows:
        accuracy, _, _, error, first, later = _cells(row)
        seconds = f"{first} / {later}" if later else first
        body.append((_title(row, seeds), accuracy, error, seconds, f"`{row['command']}`"))
    note = (
        f"Test accuracy, mean ± standard deviation over {_count(seeds)}. The first run of a row "
        "computes only the features that no row before it needed, so it can be as fast as the "
        f"next. {_weights(rows, about)}"
    )
    return f"{markdown_table(header, body, (0, len(header) - 1))}\n{note}\n"


def replace_between_markers(text: str, name: str, content: str) -> str:
    """Returns a text with the lines between two markers replaced; the markers stay.

    Args:
        text: holds a line `<!-- name:begin -->` and, after it, a line `<!-- name:end -->`.
        name: of the markers.
        content: what shall be between them, Markdown.

    Raises:
        FashionTransferError: a marker is missing, or the end comes before the beginning.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found_begin, rest = text.partition(begin)
    if not found_begin:
        raise FashionTransferError(f"the text has no marker {begin}: add one where {name} starts")
    _, found_end, after = rest.partition(end)
    if not found_end:
        raise FashionTransferError(f"the text has no marker {end} after {begin}: add one")
    return f"{before}{begin}\n\n{content.strip()}\n\n{end}{after}"


def results_figure(rows: Sequence[Row], costs: Sequence[CostPoint] = ()) -> "Figure":
    """Draws accuracy by recipe and, where there are points for it, over cost.

    Args:
        rows: the recipes to compare, with error bars of one standard deviation.
        costs: the points of the second panel.
    """
    widths = [1.5] + [1.0] * bool(costs)
    figure = new_figure(3.7 * sum(widths), max(4.6, 0.9 + 0.26 * len(rows)))
    recipes, *others = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    means = [100 * row["test/accuracy"]["mean"] for row in rows]
    spreads = [100 * row["test/accuracy"]["spread"] for row in rows]
    recipes.errorbar(means, range(len(rows)), xerr=spreads, **ERROR_BARS)
    recipes.set_yticks(range(len(rows)), [row["title"] for row in rows])
    recipes.invert_yaxis()
    recipes.set_xlabel("test accuracy, %")
    recipes.grid(axis="x", alpha=0.3)
    for axis in others:
        _draw_costs(axis, costs)
    return figure


def _draw_costs(axis: Any, costs: Sequence[CostPoint]) -> None:
    styles = ((BLUE, "s"), (ORANGE, "^"), (GREEN, "o"), (VERMILION, "D"), (PURPLE, "v"))
    for number, series in enumerate(dict.fromkeys(point.series for point in costs)):
        color, marker = styles[number % len(styles)]
        points = sorted(
            (point.cost, 100 * point.row["test/accuracy"]["mean"])
            for point in costs
            if point.series == series
        )
        axis.plot(*zip(*points, strict=True), marker, color=color, label=series)
    axis.set_xscale("log")
    axis.set_ylabel("test accuracy, %")
    axis.grid(alpha=0.3)
    axis.legend()
    axis.set_xlabel("cost, backbone passes\nat the default image size")


def _seeds(rows: Sequence[Row]) -> int:
    """The number of seeds that most rows have, of those with more than one if there are such."""
    counts: list[int] = [row["seeds"] for row in rows if row["seeds"] > 1]
    return statistics.mode(counts or [1])


def _count(seeds: int) -> str:
    return "1 seed" if seeds == 1 else f"{seeds} seeds"


def _title(row: Row, seeds: int) -> str:
    """A row's title, with its number of seeds if that is not the usual one."""
    if row.get("deterministic"):
        return f"{row['title']} (deterministic)"
    unusual = row["seeds"] == 1 or row["seeds"] != seeds
    return f"{row['title']} ({_count(row['seeds'])})" if unusual else str(row["title"])


def _cells(row: Row) -> list[str]:
    """The cells under `HEADINGS`."""
    accuracy = row["test/accuracy"]
    spread = f" ± {100 * accuracy['spread']:.2f}" if row["seeds"] > 1 else ""
    first, *later = row["seconds"]
    return [
        f"{100 * accuracy['mean']:.2f}{spread} %",
        f"{100 * row['test/macro_accuracy']['mean']:.1f} %",
        _worst_class(row),
        f"{row['test/ece']['mean']:.3f}" if "test/ece" in row else "–",
        f"{first:.0f}",
        f"{statistics.median(later):.0f}" if later else "",
    ]


def _worst_class(row: Row) -> str:
    prefix = "test/accuracy/"
    classes = {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix)}
    if not classes:
        return "–"
    name, accuracy = min(classes.items(), key=lambda item: item[1]["mean"])
    return f"{name.replace('_', ' ')} {100 * accuracy['mean']:.1f} %"


def _metric_cell(metric: str, value: float) -> str:
    """Rates in per cent; calibration errors and areas under curves are not rates."""
    last = metric.rpartition("/")[2]
    plain = any(name in last for name in ("ece", "auroc", "augrc"))
    return f"{value:.4f}" if plain else f"{100 * value:.1f} %"


def _other_commits(rows: Sequence[Row], commit: str) -> str:
    """Titles of the rows that were not measured at this commit, each with its own."""
    others = [(row["title"], row.get("commit", commit)) for row in rows]
    return ", ".join(f"{title} (`{own[:12]}`)" for title, own in others if own != commit)


def _weights(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """Sentences that name the weights, their licence, and the recipes with other weights."""
    weights = about["weights"]
    licence = f", licence: {weights['licence']}" if weights.get("licence") else ""
    text = f"Weights: `{weights['name']}`, SHA-256 `{weights['sha256'][:16]}…`{licence}."
    other = [
        f"`{row['weights']}` in the row {row['title']}"
        for row in rows
        if row.get("weights", weights["name"]) != weights["name"]
    ]
    return f"{text} Other weights: {', '.join(other)}." if other else text
