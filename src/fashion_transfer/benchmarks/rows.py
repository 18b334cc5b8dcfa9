"""Rows of `make bench`: one measured value each, with what it was measured on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks.machine import conditions
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text

Row = dict[str, Any]


def bench_row(
    name: str,
    title: str,
    value: float,
    unit: str,
    speedup: float | None = None,
    ratio: float | None = None,
) -> Row:
    """Returns one row.

    Args:
        name: of the row, for programs.
        title: for people.
        value: measured.
        unit: of the value.
        speedup: how many times faster than the plain way.
        ratio: to what it is compared with, as the title says.
    """
    row: Row = {"name": name, "title": title, "value": value, "unit": unit}
    if speedup is not None:
        row["speedup"] = speedup
    if ratio is not None:
        row["ratio"] = ratio
    return row


def print_rows(rows: Sequence[Row]) -> None:
    """Prints one table of all rows."""
    table = Table(title="make bench", title_justify="left")
    for heading in ("what", "value", "unit", "compared"):
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right")
    for row in rows:
        compared = f"{row['speedup']:.1f}× faster than plain" if "speedup" in row else ""
        if "ratio" in row:
            compared = f"ratio {row['ratio']:.2f}"
        table.add_row(row["title"], f"{row['value']:,.2f}", row["unit"], compared)
    Console().print(table)


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Writes rows as JSON, each with its conditions; other rows of the file stay in it.

    Raises:
        FashionTransferError: the file is there and is no list of rows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    about = conditions()
    written = {row["name"]: row for row in read_rows(path)}
    written |= {row["name"]: row | about for row in rows}
    write_text(path, json.dumps({"rows": list(written.values())}, indent=2) + "\n")


def read_rows(path: Path) -> list[Row]:
    """Returns the rows of a file of `write_rows`; none if there is no such file.

    Raises:
        FashionTransferError: the file is there and is no list of rows.
    """
    if not path.is_file():
        return []
    try:
        rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise FashionTransferError(
            f"{path} does not hold the rows of `make bench`: move it away"
        ) from error
    return rows
