"""`evaluate.py` on cached features, of two revisions in turn."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.machine import BEST, execute, log_progress
from fashion_transfer.benchmarks.revisions import (
    Revision,
    absolute_paths,
    evaluation_overrides,
)
from fashion_transfer.benchmarks.rows import Row, bench_row

TRAINING = ("test=false", "trainer.max_epochs=1", "callbacks.progress=null")
"""The checkpoint may be a poor one: its evaluation takes as long."""


def evaluate_rows(
    base: Revision,
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    repeats: int,
    store: Path | None = None,
) -> list[Row]:
    """Times `evaluate.py` of two revisions in turn, each on a checkpoint of its own.

    The first call of each computes the features that are missing and is not counted.

    Args:
        base: compared with.
        head: measured.
        scratch: a folder for runs.
        overrides: of both training runs, with today's keys; where the data are, of evaluations.
        repeats: evaluations of each, whose median counts.
        store: of features; None: the user's own.

    Raises:
        FashionTransferError: a command failed.
    """
    revisions = {"base": base, "head": head}
    overrides = absolute_paths(overrides)
    commands = {}
    for name, revision in revisions.items():
        folder = scratch / f"evaluate-{name}"
        folder.mkdir(parents=True)
        log_progress(f"{revision.name}: train.py for a checkpoint, evaluate.py on missing features")
        train = revision.command("train", [*overrides, *TRAINING], folder / "run")
        execute(train, folder / "train.txt", revision.root, revision.environment(store))
        checkpoint = f"ckpt_path='{(folder / 'run' / BEST).resolve()}'"
        evaluate = [*evaluation_overrides(overrides), checkpoint]
        commands[name] = revision.command("evaluate", evaluate, folder / "evaluation")
    seconds: dict[str, list[float]] = {name: [] for name in revisions}
    for repeat in range(repeats + 1):
        for name, revision in revisions.items():
            log_progress(f"{revision.name}: evaluate.py, {repeat} of {repeats}")
            output = scratch / f"evaluate-{name}" / "evaluate.txt"
            environment = revision.environment(store)
            taken = execute(commands[name], output, revision.root, environment)
            if repeat:  # the first one computed features
                seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    title = "evaluate.py on cached features"
    return [
        bench_row("evaluate_base", f"{title}, {base.name}", medians["base"], "s"),
        bench_row(
            "evaluate",
            f"{title}; ratio: to {base.name}",
            medians["head"],
            "s",
            ratio=medians["head"] / medians["base"],
        ),
    ]
