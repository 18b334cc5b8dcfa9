"""One table of many runs: what differs between them, their metrics, and where they come from."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fashion_transfer.runs.collection import Run
from fashion_transfer.runs.differences import (
    differing,
    over_seeds,
    short_names,
    typed_keys,
    value_text,
)
from fashion_transfer.runs.record import NOT_COMPARED
from fashion_transfer.runs.selection import sorted_positions

METRICS = ("val/loss", "val/accuracy", "test/accuracy")
"""Metrics of a table in the terminal."""

MORE_METRICS = (*METRICS, "test/ece", "test/warned", "test/selective_accuracy")
"""Metrics of a table in a file, which has more room."""

ORIGIN = ("weights", "commit", "date")
"""Columns that say where the metrics come from."""


class Leaderboard(NamedTuple):
    """A table of runs.

    Attributes:
        columns: heading by column name.
        rows: values by column name; all of them, not only those with a column.
        same: what all rows have in common, by heading, instead of a column of it.
        runs: of each row, one or, over seeds, some.
    """

    columns: dict[str, str]
    rows: list[dict[str, Any]]
    same: dict[str, Any]
    runs: list[list[Run]]

    def sorted(self, name: str, reverse: bool = False) -> "Leaderboard":
        """Returns it ordered by a column, the best first."""
        order = sorted_positions([row.get(name) for row in self.rows], name, reverse)
        return self.take(order)

    def take(self, positions: Sequence[int]) -> "Leaderboard":
        """Returns it with these rows only."""
        rows, runs = [self.rows[p] for p in positions], [self.runs[p] for p in positions]
        return self._replace(rows=rows, runs=runs)


def leaderboard(
    runs: Sequence[Run],
    metrics: Sequence[str] = METRICS,
    columns: Sequence[str] = (),
    seeds: bool = False,
) -> Leaderboard:
    """Returns the table of runs.

    Args:
        runs: in the order of the rows.
        metrics: to show; those that no run has are left out.
        columns: to show instead of what differs and the metrics.
        seeds: fold finished runs that differ in nothing but the seed into one row.
    """
    rows = [run.row for run in runs]
    members = [[run] for run in runs]
    if seeds:
        rows, members = _folded([run for run in runs if run.metrics])
    typed = {key for run in runs if run.record for key in typed_keys(run.record)}
    changed = differing([run.settings for run in runs if run.settings], typed)
    changed = [key for key in changed if not (seeds and key == "seed")]
    headings = short_names(changed)
    first = "seeds" if seeds else "run"
    wanted = columns or ("status", *changed, *metrics, "seconds", *ORIGIN)
    names = [name for name in wanted if any(name in row for row in rows)]
    same: dict[str, Any] = {}
    if not columns and len(rows) > 1:
        for name in ("status", *ORIGIN):
            values = {value_text(row[name]): row[name] for row in rows if name in row}
            if len(values) == 1:
                names.remove(name)
                [(text, value)] = values.items()
                if text != "finished":
                    same[name] = value
    shown = {first: first} | {name: headings.get(name, name) for name in names}
    return Leaderboard(shown, rows, same, members)


def _folded(runs: Sequence[Run]) -> tuple[list[dict[str, Any]], list[list[Run]]]:
    """Returns a row of means for each group of runs, and the runs of each."""
    keys = [run.settings | {"weights": run.row.get("weights")} for run in runs]
    values = [run.metrics | {"seconds": run.row.get("seconds")} for run in runs]
    rows, members = [], []
    for group in over_seeds(keys, values):
        folded = [runs[position] for position in group.members]
        row: dict[str, Any] = {k: v for k, v in folded[0].row.items() if k not in folded[0].metrics}
        del row["run"]
        row |= group.metrics
        row["seeds"] = group.seeds
        row["command"] = _command_of_all(folded)
        for name in ("commit", "date"):
            row[name] = _newest([run.row for run in folded], name)
        rows.append({name: value for name, value in row.items() if value is not None})
        members.append(folded)
    return rows, members


def _newest(rows: Sequence[Mapping[str, Any]], name: str) -> str | None:
    """Returns the value of the run that started last, and how many others there are."""
    values = [str(row[name]) for row in rows if name in row]
    different = len(set(values)) - 1
    if not values:
        return None
    return f"{values[0]} and {different} more" if name == "commit" and different else values[0]


def _command_of_all(runs: Sequence[Run]) -> str | None:
    """Returns the command that repeats runs that differ in nothing but the seed."""
    record = runs[0].record
    numbers = {run.settings.get("seed") for run in runs} - {None}
    if record is None or len(numbers) < 2:
        return record.command if record else None
    own = [o for o in shlex.split(record.command)[2:] if _key(o) not in ("seed", *NOT_COMPARED)]
    seeds = ",".join(sorted(map(str, numbers), key=lambda text: text.zfill(10)))
    return shlex.join(["python", "train.py", "-m", *own, f"seed={seeds}"])


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
