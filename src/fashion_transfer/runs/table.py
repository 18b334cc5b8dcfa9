"""Tables of runs as text, Markdown and CSV, in which nothing is ever cut off."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from fashion_transfer.runs.differences import Spread, is_number, value_text

Row = Mapping[str, Any]
Columns = Mapping[str, str]
"""The heading of each column, by the name of its values in a row."""

GAP = 2
MIN_TEXT_WIDTH = 12
"""Characters that a folded column of text keeps; with fewer, rows become blocks."""

_BREAK_AFTER = re.compile(r"(?<=[/_.,=\s])")


def cell_text(name: str, value: Any) -> str:
    """Returns what a table shows for a value; blank for a missing one.

    Args:
        name: of the column: accuracies are per cent, times are seconds.
        value: a number, a `Spread`, or any configuration value.
    """
    if isinstance(value, Spread):
        mean, deviation = (cell_text(name, part) for part in value)
        return f"{mean.rstrip('%')} ± {deviation}" if deviation else mean
    if value is None:
        return ""
    if isinstance(value, float) and is_metric(name):
        if "accuracy" in name:
            return f"{value:.2%}"
        return f"{value:.1f}" if name.startswith("seconds") else f"{value:.4f}"
    return printable(value_text(value))


def is_metric(name: str) -> bool:
    """Returns whether a column holds a metric, and not a setting."""
    return "/" in name or name == "seconds"


def printable(text: str) -> str:
    """Returns text whose control characters, as of terminal escapes, are written out."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def render(rows: Sequence[Row], columns: Columns, width: int) -> str:
    """Returns a table for the terminal that ends with a line break.

    Headings and texts are folded where the columns have no room side by side, and where that is not
    enough, each row becomes a block of lines.

    Args:
        rows: the values by column name; a missing one is blank.
        columns: heading by column name.
        width: of the terminal, characters.
    """
    cells = [[cell_text(name, row.get(name)) for name in columns] for row in rows]
    headings = [printable(heading) for heading in columns.values()]
    numbers = [holds_numbers(rows, name) for name in columns]
    widths = _widths(headings, cells, numbers, width - GAP * (len(headings) - 1))
    if widths is None:
        return _blocks(headings, cells, width)
    lines = [*_lines(headings, widths, numbers, bottom=True), _join("─" * w for w in widths)]
    for row in cells:
        lines += _lines(row, widths, numbers)
    return "".join(f"{line}\n" for line in lines)


def to_markdown(rows: Sequence[Row], columns: Columns) -> str:
    """Returns a Markdown table that ends with a line break."""
    rule = ["---:" if holds_numbers(rows, name) else "---" for name in columns]
    lines = [list(columns.values()), rule]
    lines += [[cell_text(name, row.get(name)) for name in columns] for row in rows]
    escaped = ([cell.replace("|", r"\|").replace("<", "&lt;") for cell in row] for row in lines)
    return "".join(f"| {' | '.join(row)} |\n" for row in escaped)


def to_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Returns CSV with names as headings and full values; a `Spread` is two columns."""
    spreads = {n for n in columns if any(isinstance(row.get(n), Spread) for row in rows)}
    header = [part for n in columns for part in ([n, f"{n} deviation"] if n in spreads else [n])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        values: list[Any] = []
        for name in columns:
            value = row.get(name)
            if name in spreads:
                values += value if isinstance(value, Spread) else (value, None)
            else:
                values.append(value)
        writer.writerow("" if v is None else value_text(v) for v in values)
    return text.getvalue()


def holds_numbers(rows: Sequence[Row], name: str) -> bool:
    """Returns whether a column holds numbers alone, and missing values."""
    values = (row.get(name) for row in rows)
    return all(value is None or is_number(value) or isinstance(value, Spread) for value in values)


def _widths(
    headings: Sequence[str], cells: Sequence[Sequence[str]], numbers: Sequence[bool], room: int
) -> list[int] | None:
    """Returns the width of each column, or None where there is not enough room for all."""
    narrow, wide = [], []
    for column, (heading, number) in enumerate(zip(headings, numbers, strict=True)):
        longest = max((cell_len(row[column]) for row in cells), default=0)
        pieces = max(map(cell_len, _pieces(heading)), default=0)
        wide.append(max(longest, pieces))
        narrow.append(max(pieces, longest if number else min(longest, MIN_TEXT_WIDTH)))
    if sum(narrow) > room:
        return None
    widths = list(wide)
    while sum(widths) > room:  # the widest text gives way first
        column = max(
            (c for c in range(len(widths)) if widths[c] > narrow[c]), key=lambda c: widths[c]
        )
        widths[column] -= 1
    # Room that is left goes to headings that are broken.
    for column, heading in enumerate(headings):
        more = cell_len(heading) - widths[column]
        if 0 < more <= room - sum(widths):
            widths[column] += more
    return widths


def _lines(
    cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool], bottom: bool = False
) -> list[str]:
    """Returns the lines of one row; `bottom` aligns what has fewer lines at the last one."""
    folded = [fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, folded), default=0)
    lines = []
    for line in range(height):
        parts = []
        for texts, width, number in zip(folded, widths, numbers, strict=True):
            index = line - (height - len(texts) if bottom else 0)
            text = texts[index] if 0 <= index < len(texts) else ""
            blank = " " * (width - cell_len(text))
            parts.append(blank + text if number else text + blank)
        lines.append(_join(parts))
    return lines


def _blocks(headings: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> str:
    """Returns each row as `heading=value` items on lines of its own, with a blank line between."""
    blocks = []
    for row in cells:
        items = [f"{heading}={cell}" for heading, cell in zip(headings, row, strict=True) if cell]
        lines = [""]
        for item in items:
            indent = "  " if lines[-1] else ""
            if lines[-1] and cell_len(lines[-1]) + GAP + cell_len(item) > width:
                lines.append("")
                indent = "  "
            first, *rest = fold(item, width - len(indent))
            lines[-1] += indent + first
            lines += [f"  {part}" for text in rest for part in fold(text, width - GAP)]
        blocks.append("".join(f"{line}\n" for line in lines))
    return "\n".join(blocks)


def fold(text: str, width: int) -> list[str]:
    """Returns text in lines of a width, broken after separators, else anywhere."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for piece in _pieces(text):
        if cell_len(lines[-1]) + cell_len(piece) > width and lines[-1]:
            lines.append("")
        for character in piece if cell_len(piece) > width else [piece]:
            if cell_len(lines[-1]) + cell_len(character) > width and lines[-1]:
                lines.append("")
            lines[-1] += character
    return lines


def _pieces(text: str) -> list[str]:
    return [piece for piece in _BREAK_AFTER.split(text) if piece]


def _join(parts: Any) -> str:
    return (" " * GAP).join(parts).rstrip()
