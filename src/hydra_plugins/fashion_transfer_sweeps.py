"""The sweeper and the launchers of `python train.py -m`: Hydra takes none from elsewhere.

Hydra's own start a sweep anew, compose every job twice and say at the end alone what failed. Its
plugins for joblib and submitit do so, too, and their last release for Hydra 1.3 is of May 2022.
Every command imports this file, so what takes time is imported where it is used.
"""

import functools
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from omegaconf import open_dict, read_write

if TYPE_CHECKING:
    from fashion_transfer.commands.sweep import Job
    from fashion_transfer.commands.sweep_jobs import SweepJob


STOPPING = 2.5
"""Seconds in which submitit stops the processes of a local job."""


class GridSweeper(BasicSweeper):
    """Runs every combination of the values, goes on when one fails, and continues a sweep.

    Args:
        params: overrides of every sweep by key, such as `seed: 0,1,2`.
    """

    def __init__(self, params: dict[str, str] | None = None) -> None:
        super().__init__(max_batch_size=None, params=params)

    def sweep(self, arguments: list[str]) -> None:
        """Runs the jobs that have not finished, and prints the table of all.

        Raises:
            FashionTransferError: some failed.
        """
        from fashion_transfer.commands.sweep_plan import interruption, plan, summarise
        from fashion_transfer.errors import FashionTransferError

        assert self.config is not None
        assert self.hydra_context is not None
        if not isinstance(self.launcher, SerialLauncher):
            raise FashionTransferError(
                "hydra/launcher must be serial, joblib, submitit_local or submitit_slurm, got "
                f"{self.config.hydra.runtime.choices['hydra/launcher']}"
            )
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        overrides = [o for o in overrides if o.key_or_group != "sweep.resume"]
        [jobs] = self.split_arguments(overrides, None)
        given = [str(override.input_line) for override in overrides]
        compose = functools.partial(loader.load_sweep_config, self.config)
        sweep = plan(self.config, given, jobs, compose)
        pending = sweep.unfinished
        try:
            self.launcher.launch([job.overrides for job in pending], len(sweep.jobs) - len(pending))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(interruption(sweep.folder)) from None
        finally:
            failed = summarise(sweep.folder)
        if failed:
            raise FashionTransferError(f"{len(failed)} of {len(sweep.jobs)} runs failed, see above")


class SerialLauncher(BasicLauncher):
    """Runs one job after the other in this process, which imports and reads everything once."""

    captured = False

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the jobs that have not finished; the sweep's folder has what becomes of them.

        Args:
            job_overrides: of these jobs.
            initial_job_idx: the number of jobs that have finished before.
        """
        from fashion_transfer.commands.sweep import read_sweep
        from fashion_transfer.commands.sweep_plan import Progress
        from fashion_transfer.errors import FashionTransferError

        assert self.config is not None
        chosen = self.config.hydra.runtime.choices
        if not str(self.config.hydra.sweeper._target_).endswith(f".{GridSweeper.__name__}"):
            raise FashionTransferError(
                f"hydra/launcher={chosen['hydra/launcher']} needs hydra/sweeper=grid, got "
                f"{chosen['hydra/sweeper']}: leave it out, or give hydra/launcher=basic, too"
            )
        self.folder = Path(self.config.hydra.sweep.dir)
        self.progress = Progress(self.folder, initial_job_idx)
        for job in self.run(self._composed(read_sweep(self.folder).unfinished)):
            self.progress.print(job)
        return []

    def run(self, jobs: Iterator["SweepJob"]) -> Iterable["Job"]:
        """Yields each job when it has ended."""
        return (job() for job in jobs)

    def _composed(self, jobs: Iterable["Job"]) -> Iterator["SweepJob"]:
        """Yields the jobs with their configurations; one that has none fails here."""
        from fashion_transfer.commands.sweep import update_jobs
        from fashion_transfer.commands.sweep_jobs import SweepJob, failed_job

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        loader = self.hydra_context.config_loader
        for job in jobs:
            try:
                config = loader.load_sweep_config(self.config, list(job.overrides))
                with open_dict(config), read_write(config.hydra):
                    config.hydra.job.id, config.hydra.job.num = str(job.number), job.number
                    config.hydra.sweep.dir = str(self.folder)
                placed = replace(job, status="waiting", folder=str(config.hydra.sweep.subdir))
            except Exception as error:
                failed = failed_job(job, error)
                update_jobs(self.folder, [failed])
                self.progress.print(failed)
                continue
            yield SweepJob(self.folder, placed, config, self.task_function, self.captured)


class JoblibLauncher(SerialLauncher):
    """Runs jobs in processes of this machine, each of which takes one job after the other.

    Args:
        n_jobs: number of processes; -1: one per CPU core.
    """

    captured = True
    one_per_core = True

    def __init__(self, n_jobs: int = 4) -> None:
        super().__init__()
        if not (is_positive(n_jobs) or (self.one_per_core and n_jobs == -1)):
            from fashion_transfer.errors import ArgumentError

            other = ", or -1 for one per CPU core" if self.one_per_core else ""
            raise ArgumentError("n_jobs", f"must be a whole number from 1{other}, got {n_jobs!r}")
        self.n_jobs = n_jobs

    def run(self, jobs: Iterator["SweepJob"]) -> Iterator["Job"]:
        """Yields each job when it has ended."""
        from joblib import Parallel, cpu_count, delayed, parallel_config
        from joblib.externals.loky.process_executor import BrokenProcessPool

        processes = cpu_count() if self.n_jobs == -1 else self.n_jobs
        threads = max(1, cpu_count() // processes)
        started: dict[int, SweepJob] = {}

        def remembered(jobs: Iterable["SweepJob"]) -> Iterator[Any]:
            for job in jobs:
                started[job.job.number] = job
                yield delayed(job)()

        retried: set[int] = set()
        while True:
            with parallel_config(backend="loky", inner_max_num_threads=threads):
                parallel = Parallel(processes, return_as="generator_unordered")
            try:
                for job in parallel(remembered(jobs)):
                    del started[job.number]
                    yield job
                return
            except BrokenProcessPool:  # one was killed, and joblib has stopped the others
                again = [job for number, job in started.items() if number not in retried]
                for number in retried & started.keys():
                    yield self._lost(started.pop(number), "its process was killed, out of memory?")
                retried |= {job.job.number for job in again}
                jobs = itertools.chain(again, jobs)

    def _lost(self, job: "SweepJob", reason: str) -> "Job":
        """Writes and returns a job as failed whose process did not live to do so."""
        from fashion_transfer.commands.sweep import update_jobs

        failed = replace(job.job, status="failed", error=reason)
        update_jobs(self.folder, [failed])
        return failed


class SubmititLauncher(JoblibLauncher):
    """Runs jobs on a cluster, each in a process of its own, which may be preempted and requeued.

    Args:
        cluster: "slurm"; or "local", processes of this machine, to try it.
        n_jobs: number of jobs at a time.
        max_num_timeout: how often a job that reaches its time limit is put into the queue again.
        parameters: of submitit's executor, such as `timeout_min`; None: submitit's default.
    """

    captured = False  # submitit does that
    one_per_core = False

    def __init__(
        self, cluster: str, n_jobs: int, max_num_timeout: int, parameters: dict[str, Any]
    ) -> None:
        super().__init__(n_jobs)
        self.cluster = cluster
        self.max_num_timeout = max_num_timeout
        self.parameters = {name: v for name, v in parameters.items() if v is not None}

    def run(self, jobs: Iterator["SweepJob"]) -> Iterator["Job"]:
        """Yields each job when it has ended."""
        from fashion_transfer.commands.sweep import read_sweep
        from fashion_transfer.commands.sweep_jobs import captured

        executor = self._executor()
        local = self.cluster == "local"
        running: list[tuple[Any, SweepJob]] = []
        if not local:  # one array: the cluster counts how many run at a time
            tasks = list(jobs)
            with executor.batch():
                running = [(executor.submit(task), task) for task in tasks]
            print(f"submitted: {len(running)} jobs, {running[0][0].job_id.partition('_')[0]}")
        try:
            while True:
                for task in itertools.islice(jobs, max(0, self.n_jobs - len(running))):
                    with captured(self.folder / ".submitit"):  # a traceback of submitit's at Ctrl-C
                        running.append((executor.submit(task), task))
                if not running:
                    return
                ended = [pair for pair in running if pair[0].done()]
                running = [pair for pair in running if pair not in ended]
                for submitted, task in ended:
                    job = read_sweep(self.folder).jobs[task.job.number]
                    if job.status in ("waiting", "running", "interrupted"):
                        reason = f"its process ended, see {submitted.paths.stderr}"
                        job = self._lost(task, reason)
                    yield job
                time.sleep(0.2 if local else 2)
        except KeyboardInterrupt:
            if local:
                _stop([submitted for submitted, _ in running])
            else:
                print("the jobs go on in the cluster's queue: scancel stops them")
            raise

    def _executor(self) -> Any:
        from fashion_transfer.errors import FashionTransferError

        try:
            import submitit
        except ImportError as error:
            raise FashionTransferError(
                "hydra/launcher=submitit_… needs submitit: pip install 'fashion-transfer[cluster]'"
            ) from error
        parameters = dict(self.parameters)
        if self.cluster == "local":
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // self.n_jobs)))
        else:
            parameters[f"{self.cluster}_array_parallelism"] = self.n_jobs
        try:
            executor = submitit.AutoExecutor(
                self.folder / ".submitit",
                self.cluster,
                **{f"{self.cluster}_max_num_timeout": self.max_num_timeout},
            )
            executor.update_parameters(**parameters)
        except (NameError, ValueError, RuntimeError, AssertionError) as error:
            raise FashionTransferError(
                f"hydra/launcher=submitit_{self.cluster}: {error}"
            ) from error
        return executor


def is_positive(value: object) -> bool:
    """Returns whether a value is a whole number from 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _stop(jobs: Sequence[Any]) -> None:
    """Waits for the end of local jobs, and ends those that did not get Ctrl-C themselves."""
    # A second signal while submitit stops its processes would leave them behind.
    time.sleep(STOPPING)
    running = [job for job in jobs if not job.done()]
    for job in running:
        job.cancel()
    if running:
        time.sleep(STOPPING)
