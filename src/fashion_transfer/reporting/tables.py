"""Tables for the terminal and files for other programs."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.confidence import Prediction


@dataclass(frozen=True)
class Answer:
    """What came of one image file.

    Attributes:
        path: the file.
        prediction: what the classifier says of it; means nothing if there is an error.
        error: why the file could not be read; empty if it could.
    """

    path: Path
    prediction: Prediction
    error: str = ""


def printable(path: Path) -> str:
    """A path as text that can be shown, whatever bytes it is made of."""
    return str(path).encode("utf-8", "replace").decode()


THINKABLE = 0.05
"""From this probability on, a warning names another label."""


def short_warning(prediction: Prediction) -> str:
    """The reason and the other labels to think of, in a few words; empty without a warning."""
    if not prediction.warning:
        return ""
    likely = [(label, value) for label, value in prediction.top[1:] if value >= THINKABLE]
    others = ", ".join(f"{label} {value:.0%}" for label, value in likely)
    return f"⚠ {prediction.reason}" + (f": or {others}" if others else "")


def print_metrics(metrics: Mapping[str, Any], title: str) -> None:
    """Prints metrics, weights and times as one table, accuracies in per cent."""
    print(title)  # not as the table's: a path must not be wrapped
    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
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


def print_answers(answers: Sequence[Answer], most: int = 50) -> None:
    """Prints a table of answers, the first `most` of them."""
    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("label", no_wrap=True)
    table.add_column("confidence", justify="right")
    table.add_column("note", ratio=1)
    for answer in answers[:most]:
        found, path = answer.prediction, printable(answer.path)
        if answer.error:
            table.add_row(Text(path), "—", "", Text(answer.error))
        else:
            note = Text(short_warning(found))
            table.add_row(Text(path), found.label, f"{found.confidence:.0%}", note)
    Console().print(table)
    warned = [a.prediction for a in answers if not a.error and a.prediction.warning]
    if warned:
        print(f"⚠ {len(warned)} of {len(answers)} with a warning, such as: {warned[0].message}")
    if len(answers) > most:
        print(f"… and {len(answers) - most} more, all in the CSV file")


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """Writes one row a file: path, label, confidence, warning, reason, message, error."""
    scratch = path.with_name(f".{path.name}")
    # A file name can be any bytes; they are written as they are.
    with scratch.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "confidence", "warning", "reason", "message", "error"))
        for answer in answers:
            found = answer.prediction
            told = (
                ("", "", "", "", "")
                if answer.error
                else (
                    found.label,
                    f"{found.confidence:.6f}",
                    str(found.warning).lower(),
                    found.reason,
                    found.message,
                )
            )
            writer.writerow((answer.path, *told, answer.error))
    scratch.replace(path)
