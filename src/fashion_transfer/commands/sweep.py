"""What a multirun leaves beside its runs: one table of them all. Imports no torch."""

import atexit
import csv
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.commands.runs import METRICS

COLUMNS = ("val/accuracy", "test/accuracy", "seconds/fit")

Run = dict[str, Any]


class SweepSummary(Callback):
    """Hydra's callback that writes `sweep.csv` after every job and prints it when all is over.

    It prints at the end of the process, since Hydra calls no hook after a sweep in which a job
    failed, and one that was interrupted over night is worth a table, too.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Notes the folder to look at."""
        self.folder = Path(config.hydra.sweep.dir)
        atexit.register(summarise, self.folder)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Writes what there is so far: the process may be killed during the next job."""
        if self.folder is not None:  # one job alone has no table
            write(self.folder, ranked(self.folder))


def summarise(folder: Path) -> None:
    """Writes `sweep.csv`, a row a run, and prints it; runs that differ in their seed also as one.

    Args:
        folder: of the multirun.
    """
    runs = ranked(folder)
    if not runs:
        return
    write(folder, runs)
    print(f"sweep {folder}")  # not as the table's title: a path must not be wrapped
    _print(("job", "overrides"), runs)
    if recipes := over_seeds(runs):
        print("mean ± standard deviation over seeds")
        _print(("overrides", "seeds"), recipes)
    print(f"written: {folder / 'sweep.csv'}")


def write(folder: Path, runs: Iterable[Run]) -> None:
    """Writes `sweep.csv` into a folder, whole or not at all."""
    scratch = folder / ".sweep.csv"
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("job", "overrides", *COLUMNS), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(run | {"overrides": " ".join(run["overrides"])} for run in runs)
    scratch.replace(folder / "sweep.csv")


def ranked(folder: Path) -> list[Run]:
    """The runs of a multirun, best first, without the overrides that all of them have."""
    runs = [collect(file.parents[1]) for file in folder.glob("*/.hydra/overrides.yaml")]
    # What all runs have in common tells none apart.
    shared = set.intersection(*(set(run["overrides"]) for run in runs)) if len(runs) > 1 else set()
    for run in runs:
        run["overrides"] = [o for o in run["overrides"] if o not in shared]
    return sorted(runs, key=lambda run: (-run.get("val/accuracy", -1.0), run["job"].zfill(6)))


def collect(folder: Path) -> Run:
    """The job number, overrides (a list) and metrics of a run; only the first two if it failed."""
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    run = {"job": folder.name, "overrides": overrides}
    metrics = folder / METRICS
    return run | (json.loads(metrics.read_text()) if metrics.is_file() else {})


def over_seeds(runs: Iterable[Run]) -> list[Run]:
    """Finished runs that differ in nothing but `seed`, as one: mean and deviation, best first."""
    recipes: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        if any(column in run for column in COLUMNS):
            rest = (o for o in run["overrides"] if o.lstrip("+").partition("=")[0] != "seed")
            recipes.setdefault(tuple(rest), []).append(run)
    found = []
    for overrides, group in recipes.items():
        if len(group) < 2:
            continue
        columns = {name: [run[name] for run in group if name in run] for name in COLUMNS}
        spread = {
            name: (statistics.mean(values), statistics.stdev(values))
            for name, values in columns.items()
            if len(values) > 1
        }
        found.append({"overrides": overrides or ("all runs",), "seeds": str(len(group))} | spread)
    return sorted(found, key=lambda recipe: -recipe.get("val/accuracy", (-1.0,))[0])


def _print(headings: tuple[str, ...], rows: Iterable[Run]) -> None:
    table = Table()
    for heading in (*headings, *COLUMNS):
        table.add_column(heading, justify="left" if heading == "overrides" else "right")
    for row in rows:
        cells = row | {"overrides": " ".join(row["overrides"])}
        values = (_text(row, name) for name in COLUMNS)
        table.add_row(*(Text(cells[heading]) for heading in headings), *values)
    Console().print(table)


def _text(row: Run, name: str) -> str:
    if name not in row:
        return "" if any(column in row for column in COLUMNS) else "failed"
    form = "{:.2%}" if "accuracy" in name else "{:.1f}"
    values = row[name] if isinstance(row[name], tuple) else (row[name],)
    return " ± ".join(map(form.format, values))
