"""The results of many recipes: a table for people, one for the README, and a picture."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fashion_transfer.reporting.confidence import save_figure

Row = Mapping[str, Any]

COLUMNS = {
    "accuracy": "test/accuracy",
    "macro": "test/macro_accuracy",
    "Shirt": "test/accuracy/shirt",
    "ECE": "test/ece",
}
IMAGES_A_CLASS = {"few_10": 10, "few_50": 50, "few_100": 100, "default": 500, "full": 5900}
AT_224 = {"last_stage": "last stage", "whole_stages": "two stages", "default": "grids"}
"""Rows of one view at 224 px that stand in the picture of accuracy over cost, too."""

PASSES = {1: 19_500, 2: 24_500}
"""Images that a run with so many views computes: training views, 3,500 made of them, 1,000
validation and 10,000 test."""


def print_table(rows: Sequence[Row]) -> None:
    """Prints a row a recipe: mean ± standard deviation over seeds, and seconds."""
    table = Table(title="results", title_justify="left")
    table.add_column("recipe")
    for heading in (*COLUMNS, "first run, s", "next, s"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row["title"], *_cells(row))
    Console().print(table)


def results_markdown(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """The same as Markdown, with the command of each row and what it was measured with."""
    heads = ("recipe", *COLUMNS, "first run, s", "next, s", "command")
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 2)} --- |"]
    for row in rows:
        title = row["title"] + (f" ({row['seeds']} seed)" if row["seeds"] == 1 else "")
        cells = (title, *_cells(row), f"`{row['command']}`")
        lines.append(f"| {' | '.join(cells)} |")
    weights = about["weights"]
    told = [
        "Test accuracy on the 10,000 official test images: mean ± standard deviation over "
        f"{max((row['seeds'] for row in rows), default=0)} seeds, macro the mean over classes, "
        "Shirt the worst class, ECE the expected calibration error (15 bins). The first run's "
        "seconds include the features that were not kept yet; the next ones are the "
        "median of the other seeds.",
        f"ResNet50 weights: `{weights['name']}`, SHA-256 `{weights['sha256'][:16]}…`; the offline "
        f"row has its own. torch {about['torch']}, {about['machine']['cores']} cores, commit "
        f"`{about['commit'][:12]}`.",
    ]
    found = about.get("near_duplicates")
    if found:
        told.append(
            "Near-duplicates: of the test images, "
            f"{found['test_images']} nearly equal one of the 5,000 (pixels correlate by "
            f"{found['correlation']} or more). The default has "
            f"{found['accuracy']:.2%} with them and {found['accuracy_without']:.2%} without."
        )
    if about.get("warnings"):
        told.append(_warnings(about["warnings"], about["meanings"]))
    return "\n".join(lines) + "\n\n" + "\n\n".join(told) + "\n"


def _warnings(rows: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """What the default's warnings are worth, beside the reference rule: plain head, 80 %."""
    lines = ["| warnings of the default | ours | reference rule |", "| --- | ---: | ---: |"]
    for metric, row in rows.items():
        theirs = f"{row['reference']:.4f}" if "reference" in row else ""
        lines.append(f"| {meanings[metric]} | {row['mean']:.4f} | {theirs} |")
    return "\n".join(lines)


def draw_results(rows: Sequence[Row], path: Path) -> None:
    """Draws accuracy by recipe, over images a class, and over cost, to a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.6), layout="constrained")
    recipes, images, cost = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    table = [row for row in rows if not row["name"].startswith("cost_")]
    mean = [100 * row["test/accuracy"]["mean"] for row in table]
    spread = [100 * row["test/accuracy"]["spread"] for row in table]
    recipes.errorbar(mean, range(len(table)), xerr=spread, fmt="o", capsize=3, color="#1b7837")
    recipes.set_yticks(range(len(table)), [row["title"] for row in table])
    recipes.invert_yaxis()
    recipes.set_xlabel("test accuracy, %")
    recipes.grid(axis="x", alpha=0.3)

    curve = sorted((IMAGES_A_CLASS[r["name"]], r) for r in rows if r["name"] in IMAGES_A_CLASS)
    images.errorbar(
        [count for count, _ in curve],
        [100 * row["test/accuracy"]["mean"] for _, row in curve],
        yerr=[100 * row["test/accuracy"]["spread"] for _, row in curve],
        fmt="o-",
        capsize=3,
        color="#1b7837",
    )
    images.set_xscale("log")
    images.set_xlabel("training images a class")
    images.set_ylabel("test accuracy, %")
    images.grid(alpha=0.3)

    measured = [row for row in rows if row["name"].startswith("cost_")]
    measured += [row for row in rows if row["name"] in AT_224] if measured else []
    for name, marker in (("last stage", "s"), ("two stages", "^"), ("grids", "o")):
        chosen = [row for row in measured if name in (AT_224.get(row["name"]) or row["name"])]
        points = sorted((_cost(row), 100 * row["test/accuracy"]["mean"]) for row in chosen)
        if points:
            cost.plot(*zip(*points, strict=True), marker, label=name)
    if cost.has_data():
        cost.legend()
        cost.set_xscale("log")
    else:
        cost.text(0.5, 0.5, "`make results-all` draws this", ha="center", transform=cost.transAxes)
    cost.set_xlabel("cost: passes' worth at 224 px")
    cost.set_ylabel("test accuracy, %")
    cost.grid(alpha=0.3)
    save_figure(figure, path)


def _cost(row: Row) -> float:
    if row["name"] in AT_224:
        return PASSES[1]
    _, size, _, views = row["name"].split("_")
    return PASSES[int(views)] * (int(size) / 224) ** 2


def _cells(row: Row) -> list[str]:
    cells = []
    for name, metric in COLUMNS.items():
        found = row[metric]
        if name == "ECE":
            cells.append(f"{found['mean']:.3f}")
        elif name == "accuracy":
            spread = f" ± {100 * found['spread']:.2f}" if row["seeds"] > 1 else ""
            cells.append(f"{100 * found['mean']:.2f}{spread} %")
        else:
            cells.append(f"{100 * found['mean']:.1f} %")
    first, *later = row["seconds"]
    return [*cells, f"{first:.0f}", f"{statistics.median(later):.0f}" if later else ""]
