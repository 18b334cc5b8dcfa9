"""What a multirun leaves beside its runs: one table of them all. Imports no torch."""

import atexit
import csv
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.files import atomic_path
from fashion_transfer.runs.folders import METRICS

Run = dict[str, Any]


@dataclass(frozen=True)
class Ranking:
    """What runs are ranked by, and the metrics that their table shows.

    Args:
        metric: name in `metrics.json`; None: runs stay in their order.
        mode: "min": the lowest comes first; "max": the highest.
    """

    metric: str | None = "val/loss"
    mode: str = "min"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the metrics in the table."""
        names = (self.metric, "val/accuracy", "test/accuracy", "seconds/fit")
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def key(self, values: Run) -> float:
        """Returns the key to sort by; runs without the metric come last."""
        value = values.get(self.metric or "", float("inf"))
        if isinstance(value, tuple):
            value = value[0]  # the mean over seeds
        return -value if self.mode == "max" and self.metric in values else float(value)


class SweepSummary(Callback):
    """Hydra's callback that writes `sweep.csv` after every job and prints it when all are over.

    It prints at the end of the process, since Hydra calls no hook after a sweep in which a job
    failed, and one that was interrupted over night is worth a table, too.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.ranking = Ranking()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Notes the folder to look at, and what is best."""
        self.folder = Path(config.hydra.sweep.dir)
        self.ranking = Ranking(config.monitor.metric, config.monitor.mode)
        atexit.register(summarise, self.folder, self.ranking)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Writes the runs so far: the process may be killed during the next job."""
        if self.folder is not None:  # one job alone has no table
            write(self.folder, ranked(self.folder, self.ranking), self.ranking)


def summarise(folder: Path, ranking: Ranking) -> None:
    """Writes `sweep.csv`, a row per run, and prints it, with means over seeds below.

    Args:
        folder: of the multirun.
        ranking: the order of the rows, and their columns.
    """
    runs = ranked(folder, ranking)
    if not runs:
        return
    write(folder, runs, ranking)
    print(f"sweep {folder}")  # not as the table's title: a path must not be wrapped
    _print(("job", "overrides"), runs, ranking.columns)
    if recipes := over_seeds(runs, ranking):
        print("mean ± standard deviation over seeds")
        _print(("overrides", "seeds"), recipes, ranking.columns)
    print(f"written: {folder / 'sweep.csv'}")


def write(folder: Path, runs: Iterable[Run], ranking: Ranking) -> None:
    """Writes `sweep.csv` into a folder, whole or not at all."""
    columns = ("job", "overrides", *ranking.columns)
    with (
        atomic_path(folder / "sweep.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(run | {"overrides": " ".join(run["overrides"])} for run in runs)


def ranked(folder: Path, ranking: Ranking) -> list[Run]:
    """Returns the runs of a multirun, best first, without the overrides that all of them have."""
    runs = [collect(file.parents[1]) for file in folder.glob("*/.hydra/overrides.yaml")]
    shared = set.intersection(*(set(run["overrides"]) for run in runs)) if len(runs) > 1 else set()
    for run in runs:
        run["overrides"] = [o for o in run["overrides"] if o not in shared]
    return sorted(runs, key=lambda run: (ranking.key(run), run["job"].zfill(6)))


def collect(folder: Path) -> Run:
    """Returns job number, overrides (a list) and metrics; only the first two if it failed."""
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    run = {"job": folder.name, "overrides": overrides}
    metrics = folder / METRICS
    return run | (json.loads(metrics.read_text()) if metrics.is_file() else {})


def over_seeds(runs: Iterable[Run], ranking: Ranking) -> list[Run]:
    """Returns the finished runs that differ in nothing but `seed` as one, best first.

    Each metric is a pair of mean and standard deviation.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if _finished(run, ranking.columns):
            rest = (o for o in run["overrides"] if o.lstrip("+").partition("=")[0] != "seed")
            groups.setdefault(tuple(rest), []).append(run)
    recipes = []
    for overrides, group in groups.items():
        if len(group) < 2:
            continue
        columns = {name: [run[name] for run in group if name in run] for name in ranking.columns}
        spread = {
            name: (statistics.mean(values), statistics.stdev(values))
            for name, values in columns.items()
            if len(values) > 1
        }
        recipes.append({"overrides": overrides or ("all runs",), "seeds": str(len(group))} | spread)
    return sorted(recipes, key=ranking.key)


def _finished(run: Run, columns: Sequence[str]) -> bool:
    return any(column in run for column in columns)


def _print(headings: Sequence[str], rows: Iterable[Run], columns: Sequence[str]) -> None:
    table = Table()
    for heading in (*headings, *columns):
        justify: Literal["left", "right"] = "left" if heading == "overrides" else "right"
        # Folded, not cut off: two rows may differ in nothing but the end of an override.
        table.add_column(heading, justify=justify, overflow="fold")
    for row in rows:
        cells = row | {"overrides": " ".join(row["overrides"])}
        values = (_text(row, name, columns) for name in columns)
        table.add_row(*(Text(cells[heading]) for heading in headings), *values)
    Console().print(table)


def _text(row: Run, name: str, columns: Sequence[str]) -> str:
    if name not in row:
        return "" if _finished(row, columns) else "failed"
    values = row[name] if isinstance(row[name], tuple) else (row[name],)
    return " ± ".join(_number(name, value) for value in values)


def _number(name: str, value: float) -> str:
    if "accuracy" in name:
        return f"{value:.2%}"
    return f"{value:.1f}" if name.startswith("seconds/") else f"{value:.4f}"
