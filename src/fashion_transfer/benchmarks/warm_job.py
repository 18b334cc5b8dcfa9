"""The default job and a sweep of heads on cached features, of two revisions in turn."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.jobs import SWEEP
from fashion_transfer.benchmarks.machine import execute, log_progress
from fashion_transfer.benchmarks.revisions import Revision, absolute_paths
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.benchmarks.sweep_job import run_sweep

HEADS = 20

JOBS_PER_SWEEP = 3
"""A job takes seconds, so that single ones differ by several per cent."""


def warm_rows(
    base: Revision,
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    repeats: int,
    store: Path | None = None,
) -> list[Row]:
    """Times `train.py` of two revisions in turn, from the start of each process to its end.

    Both have the loggers, the features and the synthetic images of their own defaults. The first
    job of each computes the features that are missing and is not counted.

    Args:
        base: compared with.
        head: measured.
        scratch: a folder for runs.
        overrides: of all runs, with today's keys.
        repeats: of each sweep, and a third of those of each job; medians count.
        store: of features; None: the user's own.

    Raises:
        FashionTransferError: a command failed.
    """
    overrides = absolute_paths(overrides)
    sweep = [*overrides, "test=false", *SWEEP]
    revisions = {"base": base, "head": head}
    jobs: dict[str, list[float]] = {name: [] for name in revisions}
    sweeps: dict[str, list[float]] = {name: [] for name in revisions}
    for repeat in range(repeats * JOBS_PER_SWEEP + 1):
        for name, revision in revisions.items():
            folder = scratch / f"warm-{name}-job{repeat}"
            log_progress(f"{revision.name}: train.py, {repeat} of {repeats * JOBS_PER_SWEEP}")
            seconds = _run_job(revision, folder, overrides, store)
            if repeat:  # the first one computed features
                jobs[name].append(seconds)
    for repeat in range(1, repeats + 1):
        for name, revision in revisions.items():
            folder = scratch / f"warm-{name}-sweep{repeat}"
            log_progress(f"{revision.name}: train.py -m, {HEADS} heads, {repeat} of {repeats}")
            sweeps[name].append(run_sweep(revision, folder, sweep, store))
    rows = []
    for name, title, values in (
        ("warm_job", "default job, warm", jobs),
        ("warm_sweep", f"sweep of {HEADS} heads, warm", sweeps),
    ):
        before, now = (statistics.median(values[revision]) for revision in revisions)
        rows += [
            bench_row(f"{name}_base", f"{title}, {base.name}", before, "s"),
            bench_row(name, f"{title}; ratio: to {base.name}", now, "s", ratio=now / before),
        ]
    return rows


def _run_job(
    revision: Revision, folder: Path, overrides: Sequence[str], store: Path | None
) -> float:
    """Trains, and returns the wall seconds."""
    folder.mkdir(parents=True)
    command = revision.command("train", overrides, folder / "run")
    environment = revision.environment(store)
    return execute(command, folder / "output.txt", revision.root, environment)
