"""Tables for the terminal and for Markdown, and the CSV file of predictions."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.confidence.decision import Prediction
from fashion_transfer.errors import ArgumentError
from fashion_transfer.files import write_csv

WARNING_SIGN = "⚠"

MIN_PROBABILITY = 0.05
"""Of another label that a short warning names."""

GROUP_TITLES = {
    "multi_item": "multi-item composites",
    "control": "controls",
    "out_of_distribution": "out-of-distribution",
}
"""What people read for the first part of an evaluation set's name."""


@dataclass(frozen=True)
class ImagePrediction:
    """The prediction for one image file, or the reason why there is none.

    Attributes:
        path: of the image file.
        prediction: None if the file could not be read.
        error: why the file could not be read; empty if it could.

    Raises:
        ArgumentError: neither a prediction nor an error is given, or both are.
    """

    path: Path
    prediction: Prediction | None
    error: str = ""

    def __post_init__(self) -> None:
        if (self.prediction is None) != bool(self.error):
            raise ArgumentError("error", "must be given if there is no prediction, and only then")


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


def short_warning(prediction: Prediction) -> str:
    """Returns the reason and the other likely labels in a few words; empty without a warning."""
    if not prediction.warning:
        return ""
    likely = [(label, value) for label, value in prediction.top[1:] if value >= MIN_PROBABILITY]
    others = ", ".join(f"{label} {value:.0%}" for label, value in likely)
    return f"{WARNING_SIGN} {prediction.reason}" + (f": or {others}" if others else "")


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


def print_predictions(predictions: Sequence[ImagePrediction], max_rows: int = 50) -> None:
    """Prints a table of the first `max_rows` predictions, and the number of warnings."""
    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("label", no_wrap=True)
    table.add_column("confidence", justify="right")
    table.add_column("note", ratio=1)
    for image in predictions[:max_rows]:
        path, prediction = Text(printable(image.path)), image.prediction
        if prediction is None:
            table.add_row(path, "—", "", Text(image.error))
        else:
            note = Text(short_warning(prediction))
            table.add_row(path, Text(prediction.label), f"{prediction.confidence:.0%}", note)
    Console().print(table)
    warned = [p for image in predictions if (p := image.prediction) is not None and p.warning]
    if warned:
        count = f"{len(warned)} of {len(predictions)} images"
        print(f"{WARNING_SIGN} {count} have a warning, such as: {warned[0].message}")
    if len(predictions) > max_rows:
        print(f"… and {len(predictions) - max_rows} more, all in the CSV file")


def write_predictions(predictions: Sequence[ImagePrediction], path: Path) -> None:
    """Writes a CSV file with one row per image file.

    The columns are path, label, confidence, warning, reason, message and error.
    """
    rows = []
    for image in predictions:
        cells: tuple[str, ...] = ("",) * 5
        if (p := image.prediction) is not None:
            warning = str(p.warning).lower()
            cells = (p.label, f"{p.confidence:.6f}", warning, p.reason, p.message)
        rows.append((image.path, *cells, image.error))
    header = ("path", "label", "confidence", "warning", "reason", "message", "error")
    write_csv(path, header, rows)


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
