"""`make targets`: every number that the issues ask for, beside what is measured.

What can be counted is counted now. Accuracies, warnings, times and comparisons are read from
`results/`, with the commit and the machine they were measured on.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks import structure
from fashion_transfer.benchmarks.guide import code_of
from fashion_transfer.benchmarks.machine import commit
from fashion_transfer.benchmarks.recipes import RECIPES, SLOW
from fashion_transfer.benchmarks.rows import read_rows
from fashion_transfer.benchmarks.run_keys import run_key
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import user_path

TARGETS = Path(__file__).with_name("targets.yaml")
NOT_MEASURED = "not measured"


class Measured(NamedTuple):
    """A value, and where it comes from."""

    value: float
    source: str


class Target(NamedTuple):
    """What an issue asks for.

    Attributes:
        issue: its number.
        what: is measured.
        must: what is required, as text.
        aim: what is hoped for, as text.
        bounds: must and aim as numbers; None where there is none.
        at_least: whether the bounds are lower ones.
        measure: in `MEASURES`, with its arguments; empty: no command measures it.
    """

    issue: int
    what: str
    must: str
    aim: str
    bounds: tuple[float | None, float | None]
    at_least: bool
    measure: str

    def holds(self, value: float) -> str:
        """Whether a value reaches the aim, the must, or neither."""
        for name, bound in zip(("aim", "must"), self.bounds[::-1], strict=True):
            if bound is not None and (value >= bound if self.at_least else value <= bound):
                return "holds" if self.bounds[1] is None else name
        return "MISSED"


class Results:
    """What `results/` holds.

    Args:
        folder: its path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """The content of `results.json`."""
        return self._read("results.json")

    @cached_property
    def rows(self) -> dict[str, Mapping[str, Any]]:
        """The rows of recipes by name."""
        return {row["name"]: row for row in self.results.get("rows", ())}

    def accuracy(self, name: str) -> Measured | None:
        """Mean test accuracy of a recipe."""
        if name not in self.rows:
            return None
        return Measured(self.rows[name]["test/accuracy"]["mean"], self._source(name))

    def gain(self, name: str, other: str) -> Measured | None:
        """Mean test accuracy of a recipe, less that of another one."""
        first, second = self.accuracy(name), self.accuracy(other)
        if first is None or second is None:
            return None
        return Measured(first.value - second.value, self._source(name, other))

    def warning(self, metric: str) -> Measured | None:
        """A metric of the default's warnings, mean over seeds."""
        about = self.results.get("about", {})
        row = about.get("warnings", {}).get(metric)
        return None if row is None else Measured(row["mean"], self._source("default", "plain"))

    def photos(self, metric: str) -> Measured | None:
        """A metric of `make photos` for `data=clothing`, mean over seeds."""
        return self._metric("photos.json", "clothing", metric)

    def uploads(self, metric: str) -> Measured | None:
        """A metric of `make uploads` for the default, mean over seeds."""
        return self._metric("uploads.json", "default", metric)

    def bench(self, name: str, field: str = "value") -> Measured | None:
        """A field of a row of `make bench`."""
        rows = {row["name"]: row for row in read_rows(self.folder / "bench.json")}
        if field not in rows.get(name, {}):
            return None
        return Measured(rows[name][field], _conditions(rows[name]))

    def bench_gap(self, name: str, other: str) -> Measured | None:
        """The absolute difference of two rows of `make bench`."""
        first, second = self.bench(name), self.bench(other)
        if first is None or second is None:
            return None
        return Measured(abs(first.value - second.value), first.source)

    def differences(self) -> Measured | None:
        """Number of undocumented differences that `make compare` met."""
        comparison = self._read("compare.json")
        if not comparison:
            return None
        differing = [row for row in comparison["rows"] if row["differing"] and not row["reason"]]
        head, base = comparison["head"], comparison["base"]
        source = f"against {base['name']}, {_conditions(comparison | {'commit': head['commit']})}"
        return Measured(len(differing), source)

    def _metric(self, file: str, name: str, metric: str) -> Measured | None:
        row = self._read(file).get(name, {})
        if metric not in row.get("metrics", {}):
            return None
        return Measured(row["metrics"][metric]["mean"], _conditions(row))

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return content

    def _source(self, *names: str) -> str:
        about = self.results["about"]
        conditions = _conditions(about | dict(self.rows.get(names[0], {})))
        recipes = RECIPES | SLOW
        sha256 = about["weights"]["sha256"]
        current = all(
            name in self.rows and self.rows[name].get("key") == run_key(recipes[name], sha256)
            for name in names
        )
        return conditions if current else f"{conditions}: of other source, measure again"


def _now(count: Callable[[], int]) -> Callable[..., Measured]:
    return lambda results: Measured(count(), "now")


MEASURES: dict[str, Callable[..., Measured | None]] = {
    "accuracy": Results.accuracy,
    "gain": Results.gain,
    "warning": Results.warning,
    "photos": Results.photos,
    "uploads": Results.uploads,
    "bench": Results.bench,
    "bench_gap": Results.bench_gap,
    "differences": Results.differences,
    "circles": _now(lambda: len(structure.import_circles())),
    "upward_imports": _now(lambda: len(structure.upward_imports())),
    "private_words": _now(lambda: len(structure.private_words())),
    "largest_class": _now(lambda: structure.class_sizes()[0].lines),
    "largest_file": _now(lambda: structure.file_sizes()[0].lines),
    "folder_lines": _now(
        lambda: structure.count_lines("data/image_folder.py", "../../conf/data/folder.yaml")
    ),
    "guide_files": lambda results, *title: Measured(len(code_of(" ".join(title))), "now"),
    "guide_lines": lambda results, *title: Measured(sum(code_of(" ".join(title)).values()), "now"),
}
"""Measures by the name that `targets.yaml` uses."""


def main(arguments: list[str] | None = None) -> None:
    """Prints one table; exit status 1 if something that is measured misses its must."""
    parser = argparse.ArgumentParser(prog="make targets ARGS=…", description=__doc__)
    parser.add_argument(
        "--results", type=user_path, default=Path("results"), help="what was measured"
    )
    parser.add_argument("--issue", type=int, nargs="+", help="these issues alone")
    chosen = parser.parse_args(arguments)
    results = Results(chosen.results)
    targets = [t for t in read_targets() if chosen.issue is None or t.issue in chosen.issue]
    print(f"commit {commit()}")
    verdicts = print_targets(targets, results)
    counts = {v: verdicts.count(v) for v in dict.fromkeys(verdicts)}
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    if "MISSED" in verdicts:
        sys.exit(1)


def read_targets(path: Path = TARGETS) -> list[Target]:
    """Returns the rows of a file such as `targets.yaml`."""
    targets = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
        at_least = "at_least" in entry
        bounds = tuple(entry.get("at_least" if at_least else "at_most", (None, None)))
        sign = "≥" if at_least else "≤"
        must, aim = (f"{sign} {bound:g}" if bound is not None else "" for bound in bounds)
        target = Target(
            entry["issue"],
            entry["what"],
            str(entry.get("must", must)),
            str(entry.get("aim", aim)),
            bounds,
            at_least,
            entry.get("from", ""),
        )
        targets.append(target)
    return targets


def measure(target: Target, results: Results) -> Measured | None:
    """Measures a target, or reads what was measured; None if nothing was."""
    name, *arguments = target.measure.split() or [""]
    if not name:
        return None
    try:
        return MEASURES[name](results, *arguments)
    except FashionTransferError as error:
        print(f"{target.what}: {error}", file=sys.stderr)
        return None


def print_targets(targets: Sequence[Target], results: Results) -> list[str]:
    """Prints a row per target and returns the verdicts."""
    table = Table(title="make targets", title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("issue", "what", "must", "aim", "measured", "", "from"):
        table.add_column(heading, overflow="fold")
    verdicts = []
    notes: dict[str, int] = {}
    for target in targets:
        measured = measure(target, results)
        verdict = NOT_MEASURED if measured is None else target.holds(measured.value)
        verdicts.append(verdict)
        value = "" if measured is None else f"{measured.value:.4g}"
        note = ""
        if measured is not None:
            note = str(notes.setdefault(measured.source, len(notes) + 1))
        cells = (target.what, target.must, target.aim, value, verdict, note)
        table.add_row(str(target.issue), *cells)
    Console().print(table)
    for source, number in notes.items():
        print(f"{number}: {source}")
    return verdicts


def _conditions(row: Mapping[str, Any]) -> str:
    """Commit, processor and date of a measurement."""
    processor = row.get("machine", {}).get("processor", "")
    parts = (row.get("commit", "")[:9], processor, row.get("date", ""))
    return ", ".join(part for part in parts if part)


if __name__ == "__main__":
    main()
