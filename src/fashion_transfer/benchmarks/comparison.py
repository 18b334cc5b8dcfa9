"""What differs between two revisions: arrays bit for bit, metrics as they are printed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

DECIMALS = 4
"""Of metrics in the tables; accuracies in per cent have two."""

ROUNDING = 1e-6
"""Difference of two metrics that can stand on two sides of a rounding limit."""

TEMPERATURE_TOLERANCE = 1e-4

NOT_COMPARED = ("seconds/", "versions/", "checkpoint")
"""Beginnings of the names of metrics that depend on when and where a run took place."""

RENAMED_METRICS = (
    (re.compile(r"^multi/several_items$"), "multi_item/reason_multi_item"),
    (re.compile(r"^multi/"), "multi_item/"),
    (re.compile(r"^unfamiliar/"), "out_of_distribution/"),
    (re.compile(r"^single/"), "test/"),
)
"""Metrics of version 0.1.0, with their names of today."""

ROWS_LISTED = 5
ITEMS_LISTED = 12


class Compared(NamedTuple):
    """The comparison of one thing.

    Attributes:
        check: what is compared: `default, seed 0: logits`.
        what: the item: a set, a tensor, a metric.
        total: its parts: images, rows of a tensor, 1 for a number.
        differing: number of parts that differ.
        largest: the largest absolute difference; nan where there is none to compute.
        rows: of the first parts that differ, at most `ROWS_LISTED`; of images, in their source.
        reason: why the difference is expected; empty if it is not.
    """

    check: str
    what: str
    total: int
    differing: int
    largest: float
    rows: tuple[int, ...] = ()
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether no part differs."""
        return not self.differing

    @property
    def accepted(self) -> bool:
        """Whether it is equal, or differs as documented."""
        return self.equal or bool(self.reason)


class Documented(NamedTuple):
    """A difference that is meant.

    Attributes:
        pattern: of check and item, `check: item`.
        reason: why.
        rows: the images that may differ; None: any.
        largest: difference at most.
    """

    pattern: str
    reason: str
    rows: tuple[int, ...] | None = None
    largest: float = np.inf


PREPARATION_3 = "FashionMNISTPreparation 3 leaves images that span from edge to edge as they are"

PREPARED_ANEW = {
    "training": (6955,),
    "multi_item/side_by_side": (137,),
    "multi_item/same_stacked": (42,),
    "out_of_distribution/shuffled_patches": (48,),
}
"""The images that are prepared differently, by set: 3 of the 7,200 for evaluation."""

DOCUMENTED = (
    *(
        Documented(rf"(pixels: (small|whole)/|features: ){name}$", PREPARATION_3, rows)
        for name, rows in PREPARED_ANEW.items()
    ),
    # One image of 200 in a set, and one of its group's sets.
    *(
        Documented(rf"evaluation: {name}/warned$", PREPARATION_3, largest=1 / 200)
        for name in PREPARED_ANEW
    ),
    Documented(
        r"evaluation: (multi_item/((trained|held_out)/warned|reason_multi_item|auroc)"
        r"|out_of_distribution/warned)$",
        PREPARATION_3,
        largest=1 / 400,
    ),
)
"""Differences from version 0.1.0 that are no mistakes."""


def compare_arrays(
    check: str, base: Mapping[str, np.ndarray], head: Mapping[str, np.ndarray]
) -> list[Compared]:
    """Compares arrays of the same names bit for bit, a temperature within its tolerance."""
    rows = []
    for name in _names(base, head):
        if name not in base or name not in head:
            rows.append(_missing(check, name, name in base))
            continue
        row = _compare_array(check, name, base[name], head[name])
        source = base.get(f"rows/{name.partition('/')[2]}")
        if row.rows and source is not None:
            row = row._replace(rows=tuple(int(source[position]) for position in row.rows))
        rows.append(_documented(row))
    return rows


def compare_metrics(
    check: str, base: Mapping[str, Any], head: Mapping[str, Any], renamed: bool = False
) -> list[Compared]:
    """Compares metrics as the tables print them, a temperature within its tolerance.

    Args:
        check: what they are of.
        base: metrics by name.
        head: likewise.
        renamed: whether those of the base have the names of version 0.1.0.
    """
    base = {_metric_name(name) if renamed else name: value for name, value in base.items()}
    rows = []
    for name in _names(base, head):
        if name.startswith(NOT_COMPARED):
            continue
        if name not in base or name not in head:
            rows.append(_missing(check, name, name in base))
            continue
        rows.append(_documented(_compare_metric(check, name, base[name], head[name])))
    return rows


def print_comparison(rows: Sequence[Compared]) -> None:
    """Prints a line per check, and one per item that differs."""
    table = Table(title="make compare", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("what", "equal", "largest difference", "differing", "of"):
        numeric = heading in ("largest difference", "differing", "of")
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for check in dict.fromkeys(row.check for row in rows):
        of_check = [row for row in rows if row.check == check]
        total, differing = sum(r.total for r in of_check), sum(r.differing for r in of_check)
        table.add_row(check, _equal(of_check), "", f"{differing:,}", f"{total:,}")
        different = [row for row in of_check if not row.equal]
        for row in different[:ITEMS_LISTED]:
            cells = (f"{row.largest:.2g}", f"{row.differing:,}", f"{row.total:,}")
            listed = f" {list(row.rows)}" if row.rows else ""
            table.add_row(f"  {row.what}{listed}", _equal([row]), *cells)
        if len(different) > ITEMS_LISTED:
            table.add_row(f"  … and {len(different) - ITEMS_LISTED} more, in the JSON file")
    Console().print(table)
    for reason in dict.fromkeys(row.reason for row in rows if row.reason):
        print(f"documented: {reason}")


def _names(base: Iterable[str], head: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*base, *head]))


def _metric_name(name: str) -> str:
    for pattern, today in RENAMED_METRICS:
        name = pattern.sub(today, name)
    return name


def _compare_array(check: str, name: str, base: np.ndarray, head: np.ndarray) -> Compared:
    if base.shape != head.shape or base.dtype != head.dtype:
        total = max(len(np.atleast_1d(base)), len(np.atleast_1d(head)))
        return Compared(check, f"{name} {base.shape} {head.shape}", total, total, np.nan)
    base, head = np.atleast_1d(base), np.atleast_1d(head)
    a, b = (np.ascontiguousarray(x).view(np.uint8).reshape(len(x), -1) for x in (base, head))
    different = (a != b).any(axis=1)
    largest = 0.0
    if different.any():
        # Digests differ by nothing that means anything.
        digest = base.dtype == np.uint64
        gaps = np.abs(base[different].astype(float) - head[different].astype(float))
        largest = np.nan if digest else float(gaps.max())
    if name.endswith("temperature") and largest <= TEMPERATURE_TOLERANCE:
        different[:] = False
    positions = tuple(np.flatnonzero(different)[:ROWS_LISTED].tolist())
    return Compared(check, name, len(base), int(different.sum()), largest, positions)


def _compare_metric(check: str, name: str, base: Any, head: Any) -> Compared:
    if not isinstance(base, int | float) or not isinstance(head, int | float):
        return Compared(check, name, 1, int(base != head), np.nan if base != head else 0.0)
    gap = abs(base - head)
    if name.endswith("temperature"):
        equal = gap <= TEMPERATURE_TOLERANCE
    else:
        equal = gap <= ROUNDING or round(base, DECIMALS) == round(head, DECIMALS)
    return Compared(check, name, 1, int(not equal), gap)


def _missing(check: str, name: str, in_base: bool) -> Compared:
    return Compared(check, f"{name}, only in the {'base' if in_base else 'head'}", 1, 1, np.nan)


def _documented(row: Compared) -> Compared:
    if row.equal:
        return row
    for known in DOCUMENTED:
        if (
            re.search(known.pattern, f"{row.check}: {row.what}")
            and not row.largest > known.largest + ROUNDING
            and (known.rows is None or set(row.rows) <= set(known.rows))
        ):
            return row._replace(reason=known.reason)
    return row


def _equal(rows: Sequence[Compared]) -> str:
    if all(row.equal for row in rows):
        return "yes"
    return "as documented" if all(row.accepted for row in rows) else "NO"
