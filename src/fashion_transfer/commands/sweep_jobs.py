"""One job of a sweep, in whichever process: it writes what becomes of it. Imports no torch."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.utils import run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from hydra.version import getbase, setbase
from omegaconf import DictConfig

from fashion_transfer.commands.errors import explain
from fashion_transfer.commands.hydra_files import save_configs_atomically
from fashion_transfer.commands.sweep import Job, finished_job, update_jobs
from fashion_transfer.files import write_text
from fashion_transfer.runs.folders import run_lock

OUTPUT = "output.log"
TRACEBACK = "traceback.txt"


@dataclass
class SweepJob:
    """Runs one job of a sweep in its folder, and writes the state of the sweep.

    A finished run stays as it is, and an unfinished one goes on from its last epoch. So a job that
    is put back into a queue only has to be called again.

    Args:
        sweep: folder of the sweep.
        job: with the folder of its run.
        config: of the run, composed by Hydra.
        task: the function that trains.
        captured: write what it prints into the run's folder, as its terminal is that of others.
        hydra_base: version of Hydra whose behaviour the command has chosen.
    """

    sweep: Path
    job: Job
    config: DictConfig
    task: TaskFunction
    captured: bool = False
    hydra_base: str = field(default_factory=lambda: str(getbase()))

    def __call__(self) -> Job:
        """Returns the job with what became of it."""
        output = self.sweep / self.job.folder
        with _mistakes_of(self.job) as outcome:
            output.mkdir(parents=True, exist_ok=True)
            # A process of a killed sweep may be at it still. This one waits for it.
            with run_lock(output).acquire(timeout=-1):
                outcome.job = finished_job(self.job, self.sweep) or outcome.job
        if outcome.job.status == "waiting":
            running = replace(self.job, status="running", error="", metrics={})
            update_jobs(self.sweep, [running], tables=False)
            outcome.job = self._run(running, output)
        update_jobs(self.sweep, [outcome.job])
        return outcome.job

    def checkpoint(self) -> Any:
        """Returns what submitit puts into the queue again when it is preempted: the same job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self, job: Job, output: Path) -> Job:
        setup_globals()  # in this process Hydra may not have started
        save_configs_atomically()
        setbase(self.hydra_base)
        context = HydraContext(config_loader=None, callbacks=Callbacks(self.config))  # type: ignore[arg-type]
        errors: list[Exception] = []

        def task(cfg: DictConfig) -> Any:
            try:
                return self.task(cfg)
            except Exception as error:
                errors.append(error)
                raise

        with _mistakes_of(job) as outcome, captured(output if self.captured else None):
            try:
                run_job(task, self.config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
                if errors:
                    raise errors[0]
            except (KeyboardInterrupt, SystemExit):
                update_jobs(self.sweep, [replace(job, status="interrupted")])
                raise
        if outcome.error is not None and explain(outcome.error) is None:  # a defect: show where
            text = "".join(traceback.format_exception(outcome.error))
            write_text(output / TRACEBACK, text)
        if outcome.job.status == "failed":
            return outcome.job
        finished = finished_job(job, self.sweep)
        return finished or replace(job, status="failed", error="it left no metrics")


@dataclass
class _Outcome:
    job: Job
    error: Exception | None = None


@contextmanager
def _mistakes_of(job: Job) -> Iterator[_Outcome]:
    """Yields a place for a job, which has failed there once an error was raised inside."""
    outcome = _Outcome(job)
    try:
        yield outcome
    except Exception as error:
        outcome.error = error
        outcome.job = failed_job(job, error)


def failed_job(job: Job, error: Exception) -> Job:
    """Returns a job as failed with one line for its error."""
    lines = str(error).strip().splitlines() or [""]
    text = explain(error) or f"{type(error).__name__}: {lines[0]} (see {TRACEBACK})"
    return replace(job, status="failed", error=text, metrics={})


@contextmanager
def captured(folder: Path | None) -> Iterator[None]:
    """Sends what this process and its children print to `output.log` in a folder; None: as ever."""
    if folder is None:
        yield
        return
    before = os.dup(1), os.dup(2)
    with (folder / OUTPUT).open("ab", buffering=0) as file:
        try:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            yield
        finally:
            for stream, descriptor in enumerate(before, start=1):
                sys.stdout.flush()
                sys.stderr.flush()
                os.dup2(descriptor, stream)
                os.close(descriptor)
