"""A sweep on disk: its jobs in `sweep.json`, and the tables of its runs. Imports no torch."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import Lock, remove_temporary, write_text
from fashion_transfer.runs.differences import differing, is_number, over_seeds, short_names
from fashion_transfer.runs.folders import METRICS
from fashion_transfer.runs.record import NOT_COMPARED, RunRecord, read_metrics, read_record
from fashion_transfer.runs.table import cell_text, render, to_csv, to_markdown

SWEEP = "sweep.json"
MAX_PRINTED = 50
"""Rows of a printed table; the files have all of them."""

_WRITTEN = ("arguments", "metric", "mode", "started")
_OWN_COLUMNS = {"job", "seeds", "status", "seconds", "folder", "error"}

_METRIC = re.compile(r"(?:val|test)/[^/]+")  # not those of single classes

JobStatus = Literal["waiting", "running", "finished", "failed", "interrupted", "pruned"]


@dataclass(frozen=True)
class Job:
    """A run of a sweep.

    Attributes:
        number: of the run in the sweep, from 0.
        overrides: of this run, as Hydra gives them.
        status: "waiting" until it starts, then as in the run's record.
        folder: of the run, relative to that of the sweep; blank until it starts.
        error: of a failed run, one line.
        metrics: of a finished run, validation and test, not those of single classes; `seconds` is
            the sum of its parts.
    """

    number: int
    overrides: list[str]
    status: JobStatus = "waiting"
    folder: str = ""
    error: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The values of its overrides by dotted key."""
        pairs = (override.lstrip("+").partition("=") for override in self.overrides)
        return {key.partition("@")[0].replace("/", "."): value for key, _, value in pairs}


@dataclass(frozen=True)
class Sweep:
    """The runs of a sweep, and what they are ranked by.

    Attributes:
        folder: of the sweep.
        arguments: that it was started with, in their order.
        metric: in `metrics.json`; None: the runs stay in their order.
        mode: "min": the lowest is best; "max": the highest.
        jobs: by their number.
        started: date and time, ISO 8601.
    """

    folder: Path
    arguments: list[str]
    metric: str | None
    mode: str
    jobs: list[Job]
    started: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat())

    def with_status(self, *statuses: JobStatus) -> list[Job]:
        """Returns the jobs that have one of some statuses."""
        return [job for job in self.jobs if job.status in statuses]

    @property
    def unfinished(self) -> list[Job]:
        """The jobs that have not finished."""
        return [job for job in self.jobs if job.status != "finished"]

    def is_of(self, arguments: Iterable[str]) -> bool:
        """Returns whether it was started with these arguments, in any order."""
        return sorted(self.arguments) == sorted(arguments)

    @cached_property
    def differences(self) -> dict[str, str]:
        """Short names, by dotted key, of the overrides that differ between the runs."""
        rows = [job.settings for job in self.jobs]
        names = short_names(differing(rows, {key for row in rows for key in row}))
        return {key: key if name in _OWN_COLUMNS else name for key, name in names.items()}

    def title(self, job: Job) -> str:
        """Returns what is particular to a run, such as `head=mlp seed=1`, or its number."""
        names, settings = self.differences, job.settings
        parts = [f"{name}={settings[key]}" for key, name in names.items() if key in settings]
        return " ".join(parts) or f"job {job.number}"

    def line(self, job: Job) -> str:
        """Returns what became of a run on one line."""
        if job.status != "finished":
            return f"{self.title(job)}: {job.status}{f': {job.error}' if job.error else ''}"
        row = {name: job.metrics[name] for name in self._columns() if name in job.metrics}
        parts = [_text(name, value) for name, value in row.items()]
        return f"{self.title(job)}: {', '.join(parts) or 'finished'}"

    def ranked(self) -> list[dict[str, Any]]:
        """Returns a row per run, the best first; those without the metric come last."""
        names = self.differences
        rows = [
            {
                "job": job.number,
                **{name: job.settings.get(key) for key, name in names.items()},
                "status": job.status,
                **job.metrics,
                "folder": job.folder,
                "error": job.error or None,
            }
            for job in self.jobs
        ]
        return sorted(rows, key=lambda row: self._rank(row.get(self.metric or "")))

    def over_seeds(self) -> list[dict[str, Any]]:
        """Returns a row per set of finished runs that differ in their seed alone, best first.

        Metrics are mean and standard deviation. No rows, if each set is one run.
        """
        jobs = self.with_status("finished")
        names = {key: name for key, name in self.differences.items() if key != "seed"}
        columns = self._columns()
        metrics = [{name: job.metrics.get(name) for name in columns} for job in jobs]
        groups = over_seeds([job.settings for job in jobs], metrics)
        if all(group.seeds < 2 for group in groups):
            return []
        rows: list[dict[str, Any]] = []
        for group in groups:
            first = jobs[group.members[0]].settings
            settings = {name: first.get(key) for key, name in names.items()}
            rows.append({**settings, "seeds": group.seeds, **group.metrics})
        return sorted(rows, key=lambda row: self._rank(row.get(self.metric or "")))

    def write(self, tables: bool = True) -> None:
        """Writes `sweep.json`, and the tables: `sweep.csv`, `sweep_seeds.csv`, `sweep.md`."""
        values: dict[str, Any] = {"format": 1, "total": len(self.jobs)}
        values |= {name: getattr(self, name) for name in _WRITTEN}
        values["jobs"] = [vars(job) for job in self.jobs]
        write_text(self.folder / SWEEP, json.dumps(values) + "\n")
        if not tables:
            return
        runs, seeds = self.ranked(), self.over_seeds()
        write_text(self.folder / "sweep.csv", to_csv(runs, _all_columns(runs)))
        text = f"# Sweep\n\n{to_markdown(runs, self._shown(runs))}"
        if seeds:
            write_text(self.folder / "sweep_seeds.csv", to_csv(seeds, _all_columns(seeds)))
            table = to_markdown(seeds, self._shown(seeds))
            text += f"\nMean ± standard deviation over seeds:\n\n{table}"
        write_text(self.folder / "sweep.md", text)

    def print(self) -> None:
        """Prints the ranked runs, then means over seeds, then which runs failed and why."""
        width = shutil.get_terminal_size().columns
        print(f"\nsweep {self.folder}\n")
        for title, rows in (
            ("", self.ranked()),
            ("\nmean ± standard deviation over seeds\n", self.over_seeds()),
        ):
            if rows:
                print(title, end="\n" if title else "")
                print(render(rows[:MAX_PRINTED], self._shown(rows), width), end="")
            if len(rows) > MAX_PRINTED:
                print(f"and {len(rows) - MAX_PRINTED} more, in {self.folder / 'sweep.md'}")
        failed = self.with_status("failed")
        if failed:
            print(f"\nfailed: {len(failed)} of {len(self.jobs)}")
        for job in failed:
            print(f"  job {job.number}, {self.title(job)}: {job.error}")
        print(f"written: {self.folder / 'sweep.csv'}, sweep.md", flush=True)

    def _columns(self) -> list[str]:
        """Names of the metrics in the table."""
        names = (self.metric, "val/accuracy", "test/accuracy", "seconds")
        return list(dict.fromkeys(name for name in names if name is not None))

    def _shown(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Headings of the columns for people: of the metrics, a few; the status if it differs."""
        present = {name for row in rows for name, value in row.items() if value is not None}
        settings = list(self.differences.values())
        finished = all(row.get("status", "finished") == "finished" for row in rows)
        names = ["job", *settings, "seeds", *([] if finished else ["status"]), *self._columns()]
        return {name: name for name in names if name in present}

    def _rank(self, value: Any) -> float:
        """Returns the key to sort by for a metric, a mean over seeds, or none."""
        number = value[0] if isinstance(value, tuple) else value
        if number is None or number != number:  # not measured, or nan
            return float("inf")
        return -float(number) if self.mode == "max" else float(number)


def read_sweep(folder: Path) -> Sweep:
    """Returns the sweep of a folder.

    Raises:
        FashionTransferError: there is none, or it cannot be read.
    """
    try:
        values = json.loads((folder / SWEEP).read_bytes())
        jobs = [Job(**job) for job in values["jobs"]]
        return Sweep(folder, jobs=jobs, **{name: values[name] for name in _WRITTEN})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FashionTransferError(
            f"{folder / SWEEP} cannot be read ({type(error).__name__}): is {folder} a sweep?"
        ) from error


def newest_sweep(folder: Path, arguments: Sequence[str]) -> Sweep | None:
    """Returns the sweep that was started last with some arguments, in any order, or None.

    Args:
        folder: of all sweeps.
        arguments: of the sweep.
    """
    sweeps = (read_sweep(file.parent) for file in folder.glob(f"*/{SWEEP}"))
    same = [sweep for sweep in sweeps if sweep.is_of(arguments)]
    return max(same, key=lambda sweep: sweep.started, default=None)


def update_jobs(folder: Path, jobs: Iterable[Job], tables: bool = True) -> Sweep:
    """Puts jobs into the sweep of a folder, and returns it as it is on disk then.

    Processes may do that at the same time: a lock lets one after the other read and write.

    Args:
        folder: of the sweep.
        jobs: each replaces the one with its number.
        tables: write them, too.
    """
    with Lock(folder / ".sweep.lock"):
        remove_temporary(folder.glob(".*"))
        sweep = read_sweep(folder)
        for job in jobs:
            sweep.jobs[job.number] = job
        sweep.write(tables)
    return sweep


def finished_job(job: Job, folder: Path) -> Job | None:
    """Returns a job as finished, with its metrics, if its run has finished; else None.

    Args:
        job: of the sweep.
        folder: of the sweep.
    """
    record = run_record(job, folder)
    if record is None or record.state != "finished" or not (record.folder / METRICS).is_file():
        return None
    metrics = {name: v for name, v in read_metrics(record.folder).items() if is_number(v)}
    parts = [value for name, value in metrics.items() if name.startswith("seconds/")]
    chosen = {name: v for name, v in metrics.items() if _METRIC.fullmatch(name)}
    seconds = {"seconds": round(sum(parts), 3)} if parts else {}
    return replace(job, status="finished", error="", metrics={**chosen, **seconds})


def run_record(job: Job, folder: Path) -> RunRecord | None:
    """Returns the record of a job's run; None if it has not started, or is another job's.

    Args:
        job: of the sweep.
        folder: of the sweep.
    """
    if not job.folder:
        return None
    try:
        record = read_record(folder / job.folder)
    except FashionTransferError:
        return None
    own = [o for o in record.overrides if o.partition("=")[0] not in NOT_COMPARED]
    overrides = [o for o in job.overrides if not o.lstrip("+~").startswith("hydra.")]
    return record if sorted(own) == sorted(overrides) else None


def _all_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every name in the rows that has a value somewhere; folder and error come last."""
    names = {name: None for row in rows for name, value in row.items() if value is not None}
    last = [name for name in ("folder", "error") if name in names]
    return [name for name in names if name not in last] + last


def _text(name: str, value: float) -> str:
    text = cell_text(name, value)
    return f"{text} s" if name == "seconds" else f"{name} {text}"
