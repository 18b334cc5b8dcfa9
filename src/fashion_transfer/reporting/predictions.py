"""Predictions for image files: the table in the terminal, the CSV file and the JSON file."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.confidence.decision import MULTI_ITEM, Prediction
from fashion_transfer.errors import ArgumentError
from fashion_transfer.files import atomic_path
from fashion_transfer.reporting.tables import WARNING_SIGN, printable

MIN_PROBABILITY = 0.05
"""Of another label that a short warning names."""

MAX_ROWS = 50
"""Of the table in the terminal."""

COLUMNS = ("path", "label", "confidence", "warning", "reason", "message", "prepared", "error")
"""Of the CSV file, and the first keys of each object of the JSON file."""

CSV_FILE, JSON_FILE = "predictions.csv", "predictions.json"


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


@dataclass
class PredictionSummary:
    """What is said of any number of predictions, of which only the first few are kept.

    Attributes:
        count: of predictions and errors.
        failed: number of files that could not be read.
        warned: number of predictions with a warning.
        first: the first `MAX_ROWS`.
        first_failed: the first file that could not be read.
        first_message: of the first warning.
    """

    count: int = 0
    failed: int = 0
    warned: int = 0
    first: list[ImagePrediction] = field(default_factory=list)
    first_failed: ImagePrediction | None = None
    first_message: str = ""

    def add(self, image: ImagePrediction) -> None:
        """Counts one more."""
        self.count += 1
        if len(self.first) < MAX_ROWS:
            self.first.append(image)
        if image.prediction is None:
            self.failed += 1
            self.first_failed = self.first_failed or image
        elif image.prediction.warning:
            self.warned += 1
            self.first_message = self.first_message or image.prediction.message


@contextmanager
def prediction_files(
    folder: Path, class_names: Sequence[str]
) -> Iterator[Callable[[ImagePrediction], None]]:
    """Yields a function that writes one prediction to `predictions.csv` and `predictions.json`.

    Rows are written as they come, so that any number of them fits into memory. Both files are
    there once the block has ended; if it fails, neither is.

    Both have the keys `COLUMNS`, which are empty, or null, where there is nothing to say. An object
    of the JSON file is what `as_row` gives.

    Args:
        folder: where to write them; it must exist.
        class_names: by label.
    """
    # A file name can be any bytes: the CSV file has them as they are, and JSON escapes them.
    options: dict[str, Any] = {"encoding": "utf-8", "newline": ""}
    with (
        atomic_path(folder / CSV_FILE) as csv_path,
        atomic_path(folder / JSON_FILE) as json_path,
        csv_path.open("w", errors="surrogateescape", **options) as csv_file,
        json_path.open("w", errors="backslashreplace", **options) as json_file,
    ):
        writer, separator = csv.writer(csv_file), "["
        writer.writerow(COLUMNS)

        def write(image: ImagePrediction) -> None:
            nonlocal separator
            row = as_row(image, class_names)
            writer.writerow(_cell(row[column]) for column in COLUMNS)
            json_file.write(f"{separator}\n{json.dumps(row, ensure_ascii=False)}")
            separator = ","

        yield write
        json_file.write("[]\n" if separator == "[" else "\n]\n")


def as_row(image: ImagePrediction, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns the object of the JSON file for one image: JSON types by `COLUMNS`, and a key more.

    `probabilities` has those of every class and, if the classifier has it, of several items.

    Args:
        image: a prediction, or the reason why there is none.
        class_names: by label.
    """
    p = image.prediction
    values: tuple[Any, ...] = (None,) * 6
    if p is not None:
        confidence = round(p.confidence, 6)
        values = (p.label, confidence, p.warning, p.reason or None, p.message or None, p.prepared)
    row = dict(zip(COLUMNS, (str(image.path), *values, image.error or None), strict=True))
    return row | {"probabilities": _probabilities(p, class_names)}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6f}" if isinstance(value, float) else value or ""


def _probabilities(
    prediction: Prediction | None, class_names: Sequence[str]
) -> dict[str, float] | None:
    if prediction is None:
        return None
    names = (*class_names, MULTI_ITEM)  # the last one only where the classifier has it
    return {n: round(p, 6) for n, p in zip(names, prediction.probabilities, strict=False)}


def print_predictions(summary: PredictionSummary) -> None:
    """Prints a table of the first predictions, and the number of warnings."""
    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("label", no_wrap=True)
    table.add_column("confidence", justify="right")
    table.add_column("note", ratio=1)
    for image in summary.first:
        path, prediction = Text(printable(image.path)), image.prediction
        if prediction is None:
            table.add_row(path, "—", "", Text(image.error))
        else:
            note = Text(short_warning(prediction))
            table.add_row(path, Text(prediction.label), f"{prediction.confidence:.0%}", note)
    Console().print(table)
    if summary.warned:
        count = f"{summary.warned} of {summary.count} images"
        print(f"{WARNING_SIGN} {count} have a warning, such as: {summary.first_message}")
    if summary.count > len(summary.first):
        print(f"… and {summary.count - len(summary.first)} more, all in the CSV file")


def short_warning(prediction: Prediction) -> str:
    """Returns the reason and the other likely labels in a few words; empty without a warning."""
    if not prediction.warning:
        return ""
    likely = [(label, value) for label, value in prediction.top[1:] if value >= MIN_PROBABILITY]
    others = ", ".join(f"{label} {value:.0%}" for label, value in likely)
    return f"{WARNING_SIGN} {prediction.reason}" + (f": or {others}" if others else "")
