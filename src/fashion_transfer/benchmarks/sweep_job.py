"""A sweep on cached features with its dashboards, beside the bare loop of another revision."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.machine import METRICS, execute, log_progress
from fashion_transfer.benchmarks.revisions import Revision, absolute_paths
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.paths import quoted

JOB = ("experiment=fast", "data.synthetic.composites=1000", "data.synthetic.controls=2500")
"""64 px, where missing features cost little; as many synthetic images as version 0.1.0 has."""

SWEEP = (
    "model.optimizer.lr=0.0003,0.0005,0.001,0.002,0.003",
    "model.label_smoothing=0,0.1",
    "seed=0,1,2,3,4",
)
JOBS = 50

BARE_RUNS = "seed=0,1,2"


def long_sweep_rows(
    base: Revision,
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    store: Path | None = None,
) -> list[Row]:
    """Times a sweep of 50 jobs, and fit and test of three runs of a base before and after it.

    Args:
        base: compared with: only what its loop and its test took counts.
        head: measured, from the start of the process to its end, with default loggers and tables.
        scratch: a folder for runs.
        overrides: of all runs, with today's keys.
        store: of features; None: the user's own.

    Raises:
        FashionTransferError: a command failed.
    """
    overrides = [*absolute_paths(overrides), *JOB]
    run_sweep(head, scratch / "features", [*overrides, "seed=0,1", "test=true"], store)
    bare = _loop_and_test(base, scratch / "before", overrides, store, warm_up=True)
    log_progress(f"{head.name}: train.py -m, {JOBS} jobs")
    seconds = run_sweep(head, scratch / "sweep", [*overrides, *SWEEP], store)
    bare += _loop_and_test(base, scratch / "after", overrides, store)
    expected = JOBS * statistics.median(bare)
    title = f"{JOBS} times fit and test of {base.name}, 64 px"
    return [
        bench_row("long_sweep_base", title, expected, "s"),
        bench_row(
            "long_sweep",
            f"sweep of {JOBS} jobs, dashboards included; ratio: to these",
            seconds,
            "s",
            ratio=seconds / expected,
        ),
    ]


def _loop_and_test(
    base: Revision,
    folder: Path,
    overrides: Sequence[str],
    store: Path | None,
    warm_up: bool = False,
) -> list[float]:
    """Returns the seconds of fit and test together, of each of some runs."""
    if warm_up:  # computes the features that are missing
        run_sweep(base, folder / "features", [*overrides, "seed=0,1"], store)
    log_progress(f"{base.name}: train.py -m {BARE_RUNS}")
    run_sweep(base, folder / "runs", [*overrides, BARE_RUNS], store)
    metrics = [json.loads(f.read_text()) for f in (folder / "runs").glob(f"*/{METRICS}")]
    return [run["seconds/fit"] + run["seconds/test"] for run in metrics]


def run_sweep(
    revision: Revision, folder: Path, overrides: Sequence[str], store: Path | None
) -> float:
    """Runs a multirun in one process, and returns its wall seconds."""
    folder.mkdir(parents=True)
    program, script, *arguments = revision.command("train", overrides, folder)
    arguments = [a for a in arguments if not a.startswith("hydra.run.dir=")]
    command = [program, script, "-m", *arguments, f"hydra.sweep.dir={quoted(folder.resolve())}"]
    environment = revision.environment(store)
    return execute(command, folder / "output.txt", revision.root, environment)
