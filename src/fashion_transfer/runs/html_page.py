"""A table of runs as one HTML file: sortable, filterable, with each run's figures."""

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from fashion_transfer.progress import progress_bar
from fashion_transfer.runs.collection import Run
from fashion_transfer.runs.differences import Spread, is_number, value_text
from fashion_transfer.runs.figures import figures
from fashion_transfer.runs.leaderboard import Leaderboard
from fashion_transfer.runs.page_template import PAGE
from fashion_transfer.runs.table import cell_text, holds_numbers, printable

_BREAK_AFTER = re.compile(r"(?<=[/_,])")

MAX_FIGURE_BYTES = 24_000_000
"""Size of all figures together; the rows after that have none."""


def to_html(board: Leaderboard, title: str, note: str = "") -> str:
    """Returns a page that needs no other file and no network.

    Args:
        board: the table.
        title: of the page.
        note: a line below it.
    """
    names = list(board.columns)
    numbers = {name: holds_numbers(board.rows, name) for name in names}
    headings = "".join(
        f'<th data-number="{int(numbers[name])}" title="{_text(name)}" tabindex="0" role="button">'
        f"{_text(heading)}</th>"
        for name, heading in board.columns.items()
    )
    same = ", ".join(f"{name} {cell_text(name, value)}" for name, value in board.same.items())
    rows, budget, without = [], MAX_FIGURE_BYTES, 0
    with progress_bar("figures", len(board.rows)) as progress:
        for row, runs in zip(board.rows, board.runs, strict=True):
            pictures, size = _figures(runs) if budget > 0 else ("", 0)
            without += budget <= 0
            budget -= size
            cells = "".join(_cell(name, row.get(name), numbers[name]) for name in names)
            rows.append(
                f'<tbody class="run"><tr>{cells}</tr><tr class="more" hidden>'
                f'<td colspan="{len(names)}"><div class="all">{_details(row, runs)}{pictures}</div>'
                "</td></tr></tbody>"
            )
            progress.advance(1)
    notes = [f"{note}." if note else "", f"All: {same}." if same else ""]
    if without:
        notes.append(f"The last {without} rows are without figures, as the page is full.")
    return PAGE.substitute(
        title=_text(title),
        note=_text(" ".join(filter(None, notes))),
        headings=headings,
        rows="\n".join(rows),
    )


def _cell(name: str, value: Any, number: bool) -> str:
    plain = value.mean if isinstance(value, Spread) else value
    key = json.dumps(plain) if is_number(plain) else value_text("" if plain is None else plain)
    style = ' class="number"' if number else ""
    text = _BREAK_AFTER.sub("<wbr>", _text(cell_text(name, value)))
    return f'<td{style} data-key="{_text(key)}">{text}</td>'


def _details(row: dict[str, Any], runs: Sequence[Run]) -> str:
    """Returns the command, what failed, and every value of a row."""
    parts = []
    if command := row.get("command"):
        parts.append(f"<p><code>{_text(command)}</code> <button>copy</button></p>")
    if error := row.get("error"):
        parts.append(f'<p class="error">{_text(row["status"])}: {_text(error)}</p>')
    parts.append(f"<p>{', '.join(_text(run.path) for run in runs)}</p>")
    values = "\n".join(
        f"{name} = {cell_text(name, value)}"
        for name, value in row.items()
        if name not in ("command", "error", "run")
    )
    parts.append(f"<details><summary>all values</summary><pre>{escape(values)}</pre></details>")
    return "".join(parts)


def _figures(runs: Sequence[Run]) -> tuple[str, int]:
    """Returns the figures of the first run of a row, and their size in bytes."""
    folder = runs[0].folder
    html = "".join(
        f'<figure><img loading="lazy" alt="{_text(title)}" src="{source}">'
        f"<figcaption>{_text(title)}</figcaption></figure>"
        for title, source in figures(folder)
    )
    return (f'<div class="figures">{html}</div>' if html else ""), len(html)


def _text(value: object) -> str:
    return escape(printable(str(value)))
