"""What a sweep will run: a new one, or what is missing of an earlier one. Imports no torch."""

import itertools
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

from fashion_transfer.commands.schema import check_values
from fashion_transfer.commands.sweep import (
    SWEEP,
    Job,
    Sweep,
    finished_job,
    newest_sweep,
    read_sweep,
    run_record,
    update_jobs,
)
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.paths import quoted
from fashion_transfer.runs.folders import LAST

MAX_CHECKED = 20
"""Runs whose configuration is checked before the first one starts; it takes 0.1 s each."""


def plan(
    config: DictConfig,
    arguments: list[str],
    jobs: Sequence[list[str]],
    compose: Callable[[list[str]], DictConfig],
) -> Sweep:
    """Returns the sweep to run, and writes its folder; the configuration then names it.

    With `sweep.resume` it is the newest one that was started with the same arguments, with the
    numbers of that one.

    Args:
        config: of the sweep, composed by Hydra.
        arguments: of the command, less those for Hydra and `sweep.resume`.
        jobs: overrides of every run.
        compose: returns the configuration of a run by its overrides.

    Raises:
        FashionTransferError: there is nothing to continue, or the folder has another sweep, or a
            value is impossible.
    """
    given = _raw(config.hydra.overrides.hydra)
    subdir = [override for override in given if override.startswith("hydra.sweep.subdir=")]
    arguments = [*arguments, *subdir]
    named = any(override.startswith("hydra.sweep.dir=") for override in given)
    folder = Path(config.hydra.sweep.dir)
    if config.sweep.resume:
        sweep = _earlier(folder, arguments, named)
    else:
        if (folder / SWEEP).is_file():
            raise FashionTransferError(
                f"{folder} has a sweep already: sweep.resume=true continues it, or name another "
                "folder"
            )
        for overrides in itertools.islice(_representatives(jobs), MAX_CHECKED):
            _check(compose(overrides))
        monitor = config.monitor
        numbered = [Job(number, overrides) for number, overrides in enumerate(jobs)]
        sweep = Sweep(folder, arguments, monitor.metric, monitor.mode, numbered)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "multirun.yaml", OmegaConf.to_yaml(config))
        sweep.write()
    with open_dict(config), read_write(config.hydra):
        config.hydra.sweep.dir = str(sweep.folder)
        config.hydra.overrides.hydra = [*given, f"hydra.sweep.dir={quoted(sweep.folder)}"]
    print(_announcement(sweep), flush=True)
    return sweep


def interruption(folder: Path) -> str:
    """Returns how far a sweep has come, and the command that continues it."""
    sweep = read_sweep(folder)
    arguments = [a for a in sys.argv[1:] if not a.lstrip("+").startswith("sweep.resume=")]
    command = shlex.join(["python", Path(sys.argv[0]).name, *arguments, "sweep.resume=true"])
    return (
        f"{len(sweep.with_status('finished'))} of {len(sweep.jobs)} runs have finished; "
        f"`{command}` continues"
    )


def summarise(folder: Path) -> list[Job]:
    """Writes and prints the tables of a sweep, and returns the jobs that failed."""
    sweep = read_sweep(folder)
    stopped = [
        replace(job, status="interrupted")
        for job in sweep.with_status("running")
        if (record := run_record(job, folder)) is None or record.state != "running"
    ]
    sweep = update_jobs(folder, stopped)
    sweep.print()
    return sweep.with_status("failed")


class Progress:
    """Prints a line per job that has ended, with the time that the others will take.

    Args:
        folder: of the sweep.
        done: number of jobs that have finished before.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self.sweep = read_sweep(folder)
        self.before = self.done = done
        self.started = time.monotonic()

    def print(self, job: Job) -> None:
        """Counts a job as done and prints what became of it."""
        self.done += 1
        total = len(self.sweep.jobs)
        line = f"[{self.done}/{total}] {self.sweep.line(job)}"
        if remaining := total - self.done:
            elapsed = time.monotonic() - self.started
            line += f" ({_duration(elapsed / (self.done - self.before) * remaining)} left)"
        print(line, flush=True)


def _earlier(folder: Path, arguments: Sequence[str], named: bool) -> Sweep:
    """Returns the sweep to continue: of the folder if the user named it, else the newest."""
    sweep = read_sweep(folder) if named else newest_sweep(folder.parent, arguments)
    if sweep is None:
        raise FashionTransferError(
            f"sweep.resume=true: no sweep under {folder.parent} was started with these arguments: "
            "leave it out to start one"
        )
    if not sweep.is_of(arguments):
        raise FashionTransferError(
            f"sweep.resume=true: the sweep in {folder} was started with other arguments: "
            f"{' '.join(sweep.arguments)}"
        )
    finished = [done for job in sweep.unfinished if (done := finished_job(job, sweep.folder))]
    return update_jobs(sweep.folder, finished)


def _announcement(sweep: Sweep) -> str:
    """Returns the number of runs; of a continued sweep, how many are left to do what."""
    jobs = sweep.unfinished
    text = f"sweep {sweep.folder}: {len(sweep.jobs)} runs"
    if all(job.status == "waiting" for job in sweep.jobs):
        return text
    continued = sum(_can_go_on(job, sweep.folder) for job in jobs)
    return (
        f"{text}: {len(sweep.jobs) - len(jobs)} finished, {continued} continued, "
        f"{len(jobs) - continued} to run"
    )


def _can_go_on(job: Job, folder: Path) -> bool:
    return run_record(job, folder) is not None and (folder / job.folder / LAST).is_file()


def _raw(overrides: ListConfig) -> list[str]:
    """Returns overrides as they were given: `${…}` in them is for the configuration to fill in."""
    raw = OmegaConf.to_container(overrides, resolve=False)
    assert isinstance(raw, list)
    return raw


def _representatives(jobs: Sequence[list[str]]) -> Iterator[list[str]]:
    """Yields jobs that have every value of an override among them."""
    seen: set[str] = set()
    for job in jobs:
        if not seen.issuperset(job):
            seen.update(job)
            yield job


def _check(config: DictConfig) -> None:
    """Checks the values of a run: a mistake is found before the first one starts."""
    with open_dict(config), read_write(config.hydra), read_write(config.hydra.runtime):
        config.hydra.runtime.output_dir = config.hydra.sweep.dir
        config.hydra.job.id, config.hydra.job.num = "0", 0
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        check_values(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]))
    finally:
        HydraConfig.instance().cfg = before


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
