"""Which runs a table shows, and in which order."""

import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.collection import Run
from fashion_transfer.runs.differences import Spread, is_number, value_text

HIGHEST_FIRST = ("accuracy", "auroc", "confidence", "date")
"""Parts of names of columns in which more is better."""

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "!=": operator.ne,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
    "~": lambda value, part: str(part) in str(value),
}
_CONDITION = re.compile(r"\s*(?P<key>[^=<>!~\s]+)\s*(?P<sign>>=|<=|!=|=|>|<|~)\s*(?P<value>.*?)\s*")


class Condition(NamedTuple):
    """What a column's value must be: `data.images_per_class=500`.

    Attributes:
        name: of the column.
        sign: one of `=`, `!=`, `>=`, `<=`, `>`, `<`, and `~` for "contains".
        value: as the user gave it.
    """

    name: str
    sign: str
    value: str

    def holds(self, row: dict[str, Any]) -> bool:
        """Whether a row fulfils it; a row without the value does for `!=` alone."""
        if self.name not in row:
            return self.sign == "!="
        value, wanted = row[self.name], _number(self.value)
        if self.sign != "~" and wanted is not None and is_number(value):
            return _OPERATORS[self.sign](value, wanted)
        text = self.value.replace(", ", ",")
        text = text.lower() if text.lower() in ("true", "false", "null") else text
        return _OPERATORS[self.sign](value_text(value), text)


def parse_condition(text: str, names: Mapping[str, bool]) -> Condition:
    """Returns the condition that a text such as `images_per_class>=500` stands for.

    Raises:
        FashionTransferError: it is none, or has a name that no run has.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise FashionTransferError(
            f"--where {text} is no condition: write one such as data.images_per_class=500, with "
            "=, !=, >=, <=, >, < or ~ (contains)"
        )
    return Condition(full_name(match["key"], names, "--where"), match["sign"], match["value"])


def full_name(name: str, names: Mapping[str, bool], option: str) -> str:
    """Returns the name of the column that a name, or the end of one, stands for.

    Args:
        name: as the user gave it.
        names: of all columns, and whether the runs differ in it.
        option: that it was given to, for the error.

    Raises:
        FashionTransferError: no column or more than one fits.
    """
    if name in names:
        return name
    dotted = name.replace("/", ".")
    fitting = [n for n in names if n == dotted or n.endswith((f".{name}", f"/{name}"))]
    for few in (fitting, [n for n in fitting if names[n]]):
        if len(few) == 1:
            return few[0]
    if fitting:
        raise FashionTransferError(f"{option} {name} fits {', '.join(sorted(fitting))}: name one")
    raise FashionTransferError(f"{option} {name}: no run has it{_nearest(name, names)}")


def sort_runs(runs: Sequence[Run], name: str, reverse: bool = False) -> list[Run]:
    """Returns runs ordered by a column, the best first; those without a value come last.

    Args:
        runs: in the order that equal ones stay in.
        name: of the column.
        reverse: the worst first.
    """
    order = sorted_positions([run.row.get(name) for run in runs], name, reverse)
    return [runs[position] for position in order]


def sorted_positions(values: Sequence[Any], name: str, reverse: bool = False) -> list[int]:
    """Returns the positions of a column's values, the best first; missing ones come last.

    Args:
        values: numbers, means over seeds, or text.
        name: of the column.
        reverse: the worst first.
    """
    plain = [value.mean if isinstance(value, Spread) else value for value in values]
    present = [i for i, v in enumerate(plain) if v is not None and not _is_nan(v)]
    missing = sorted(set(range(len(plain))) - set(present))
    numeric = all(is_number(plain[i]) for i in present)

    def key(position: int) -> Any:
        return plain[position] if numeric else _natural(value_text(plain[position]))

    descending = any(part in name for part in HIGHEST_FIRST) != reverse
    return [*sorted(present, key=key, reverse=descending), *missing]


def default_metric(runs: Iterable[Run]) -> str | None:
    """Returns the `monitor.metric` of runs; None if they have none, or not the same.

    It is one of validation: test images choose nothing.
    """
    metrics = {run.settings.get("monitor.metric") for run in runs if run.metrics}
    metric = metrics.pop() if len(metrics) == 1 else None
    return metric if isinstance(metric, str) and metric != "null" else None


def _nearest(name: str, names: Collection[str]) -> str:
    last = name.rpartition(".")[2]
    by_end = {n.rpartition(".")[2]: n for n in names}
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    near = near or [by_end[end] for end in difflib.get_close_matches(last, by_end, n=1)]
    return f"; the nearest is {near[0]}" if near else ""


def _number(text: str) -> float | None:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return None


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _natural(text: str) -> list[tuple[int, int | str]]:
    """A key that sorts `job10` after `job9`."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]
