"""Tables for the terminal and for Markdown."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

WARNING_SIGN = "⚠"

GROUP_TITLES = {
    "multi_item": "multi-item composites",
    "control": "controls",
    "out_of_distribution": "out-of-distribution",
}
"""What people read for the first part of an evaluation set's name."""


class WarningRow(NamedTuple):
    """How often images of one evaluation set get a warning; rates are fractions of its images.

    Attributes:
        evaluation_set: its name, such as `test` or `multi_item/stacked`.
        images: their number.
        warned: fraction with a warning from the classifier.
        reasons: fraction warned by reason.
        reference: fraction with a warning from the reference rule (plain head, threshold 0.8);
            nan without a reference.
    """

    evaluation_set: str
    images: int
    warned: float
    reasons: Mapping[str, float]
    reference: float


def printable(path: Path) -> str:
    """Returns a path as valid text; bytes that are not UTF-8 become question marks."""
    return str(path).encode("utf-8", "replace").decode()


def set_title(evaluation_set: str) -> str:
    """Returns what people read for an evaluation set: `control/stacked` is "controls: stacked"."""
    return ": ".join(_title_parts(evaluation_set))


def _title_parts(evaluation_set: str) -> list[str]:
    """The title of the group, and that of the set within it; only the latter without a group."""
    group, _, name = evaluation_set.rpartition("/")
    name = "test images" if evaluation_set == "test" else name.replace("_", " ")
    return [GROUP_TITLES.get(group, group.replace("_", " ")), name] if group else [name]


def print_metrics(metrics: Mapping[str, Any], title: str) -> None:
    """Prints metrics, weights and times as one table, accuracies in per cent."""
    print(title)  # not as the table's: a path must not be wrapped
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right", overflow="fold")
    for name, value in metrics.items():
        if name.startswith("versions/"):
            continue
        text = str(value)
        if name == "weights/sha256":
            text = f"{text[:12]}…" if len(text) > 12 else text
        elif "accuracy" in name:
            text = f"{value:.2%}"
        elif name.startswith("seconds/"):
            text = f"{value:.1f} s"
        elif isinstance(value, float):
            text = f"{value:.4f}"
        table.add_row(name, Text(text))
    Console().print(table)


def print_warnings(rows: Sequence[WarningRow]) -> None:
    """Prints how often images get a warning, per evaluation set and reason, in per cent."""
    # Without an edge the names have room in a terminal of 80 columns.
    table = Table(
        title="images with a warning, %", title_justify="left", show_edge=False, pad_edge=False
    )
    reasons = _reasons(rows)
    table.add_column("evaluation set", overflow="fold")
    for heading in ("images", "warned", *reasons, "reference"):
        table.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    current = ""
    for row in rows:
        *group, name = _title_parts(row.evaluation_set)
        title = group[0] if group else ""
        if title and title != current:
            # It may break after a hyphen, as it may in print.
            table.add_row(title.replace("-of-", "-of-\n"), style="bold")
        current = title
        table.add_row(name, *_warning_cells(row, reasons))
    Console().print(table)


def warnings_markdown(rows: Sequence[WarningRow]) -> str:
    """Returns the table of `print_warnings` in Markdown, without its title."""
    reasons = _reasons(rows)
    header = ("evaluation set", "images", "warned", *reasons, "reference")
    body = [(set_title(row.evaluation_set), *_warning_cells(row, reasons)) for row in rows]
    return markdown_table(header, body)


def _reasons(rows: Sequence[WarningRow]) -> list[str]:
    return list(dict.fromkeys(reason for row in rows for reason in row.reasons))


def _warning_cells(row: WarningRow, reasons: Sequence[str]) -> list[str]:
    rates = (row.warned, *(row.reasons.get(reason, 0.0) for reason in reasons), row.reference)
    return [f"{row.images:,}", *("–" if math.isnan(r) else f"{100 * r:.1f}" for r in rates)]


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], text_columns: Collection[int] = (0,)
) -> str:
    """Returns a Markdown table that ends with a line break.

    Args:
        header: a heading per column.
        rows: the cells of each row, as many as there are headings.
        text_columns: positions of the columns that are aligned left; numbers are aligned right.
    """
    rule = ["---" if column in text_columns else "---:" for column in range(len(header))]
    lines = (
        header,
        rule,
        *([cell.replace("|", r"\|") for cell in row] for row in rows),
    )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
