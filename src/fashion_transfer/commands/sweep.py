"""What a multirun leaves beside its runs: one table of them all. Imports no torch."""

import atexit
import csv
import json
from pathlib import Path
from typing import Any

import yaml
from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.commands.runs import METRICS

COLUMNS = ("val/accuracy", "test/accuracy", "seconds/fit")


class SweepSummary(Callback):
    """Hydra's callback that has `summarise` called when a multirun is over.

    At the end of the process, since Hydra calls no hook after a sweep in which a job failed, and
    one that was interrupted over night is worth a table, too.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Names the folder to look at in the end."""
        atexit.register(summarise, Path(config.hydra.sweep.dir))


def summarise(folder: Path) -> None:
    """Writes `sweep.csv`, a row a run with the best first, and prints it as a table."""
    runs = [collect(file.parents[1]) for file in folder.glob("*/.hydra/overrides.yaml")]
    if not runs:
        return
    # What all runs have in common tells none apart.
    shared = set.intersection(*(set(run["overrides"]) for run in runs)) if len(runs) > 1 else set()
    for run in runs:
        run["overrides"] = " ".join(o for o in run["overrides"] if o not in shared)
    runs.sort(key=lambda run: (-run.get("val/accuracy", -1.0), run["job"].zfill(6)))
    table = Table(title=Text(f"sweep {folder}"), title_justify="left")
    for heading in ("job", "overrides", *COLUMNS):
        table.add_column(heading, justify="right" if heading in ("job", *COLUMNS) else "left")
    for run in runs:
        table.add_row(run["job"], Text(run["overrides"]), *(_text(run, name) for name in COLUMNS))
    scratch = folder / ".sweep.csv"
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("job", "overrides", *COLUMNS), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(runs)
    scratch.replace(folder / "sweep.csv")
    Console().print(table)
    print(f"written: {folder / 'sweep.csv'}")


def collect(folder: Path) -> dict[str, Any]:
    """The job number, overrides (a list) and metrics of a run; only the first two if it failed."""
    overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    run = {"job": folder.name, "overrides": overrides}
    metrics = folder / METRICS
    return run | (json.loads(metrics.read_text()) if metrics.is_file() else {})


def _text(run: dict[str, Any], name: str) -> str:
    if name not in run:
        return "" if any(column in run for column in COLUMNS) else "failed"
    return f"{run[name]:.2%}" if "accuracy" in name else f"{run[name]:.1f}"
