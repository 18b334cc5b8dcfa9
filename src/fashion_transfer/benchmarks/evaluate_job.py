"""`evaluate.py` of two revisions in turn, on cached features and on features that are missing."""

import shutil
import statistics
import sys
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

UNCACHED = ("experiment=fast", "trainer.max_epochs=1", "callbacks.progress=null")
"""Of the training before an evaluation whose sets are not cached; test images are, by its test.
At 64 px nothing is compiled, which would be the backbone's own time, too."""

# Runs the script of its second argument, and writes the seconds inside the backbone to the file of
# its first. Both revisions have this class and method.
BACKBONE_TIMER = """
import pathlib, runpy, sys, time
from fashion_transfer.features.backbone import Backbone
file = pathlib.Path(sys.argv[1])
extract, spent = Backbone.extract, 0.0
def timed(self, images):
    global spent
    start = time.perf_counter()
    features = extract(self, images)
    spent += time.perf_counter() - start
    file.write_text(str(spent))
    return features
Backbone.extract = timed
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


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
        log_progress(f"{revision.name}: train.py for a checkpoint, evaluate.py on missing features")
        checkpoint = _train(revision, [*overrides, *TRAINING], folder, store)
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


def uncached_rows(
    base: Revision, head: Revision, scratch: Path, overrides: Sequence[str], repeats: int
) -> list[Row]:
    """Times `evaluate.py` of two revisions in turn with none of the synthetic sets cached.

    Counted are the wall seconds at 64 px less those inside the backbone: start, rendering, reading,
    metrics and figures. Features of the test images are cached.

    Args:
        base: compared with.
        head: measured.
        scratch: a folder for runs and features.
        overrides: of both training runs, with today's keys; where the data are, of evaluations.
        repeats: evaluations of each, whose median counts.

    Raises:
        FashionTransferError: a command failed.
    """
    revisions = {"base": base, "head": head}
    overrides = absolute_paths(overrides)
    checkpoints = {}
    for name, revision in revisions.items():
        folder = scratch / f"uncached-{name}"
        log_progress(f"{revision.name}: train.py for a checkpoint")
        given = [*overrides, *UNCACHED]
        checkpoints[name] = _train(revision, given, folder, folder / "trained")
    seconds: dict[str, list[float]] = {name: [] for name in revisions}
    for repeat in range(1, repeats + 1):
        for name, revision in revisions.items():
            folder = scratch / f"uncached-{name}"
            log_progress(f"{revision.name}: evaluate.py, nothing cached, {repeat} of {repeats}")
            shutil.rmtree(folder / "store", ignore_errors=True)
            shutil.copytree(folder / "trained", folder / "store")
            given = [*evaluation_overrides(overrides), checkpoints[name]]
            _, *script = revision.command("evaluate", given, folder / "evaluation")
            inside = (folder / "backbone.txt").resolve()
            command = [sys.executable, "-c", BACKBONE_TIMER, str(inside), *script]
            environment = revision.environment(folder / "store")
            taken = execute(command, folder / "out.txt", revision.root, environment)
            seconds[name].append(taken - float(inside.read_text()))
    before, now = (statistics.median(seconds[name]) for name in revisions)
    title = "evaluate.py at 64 px, nothing synthetic cached, less the backbone"
    return [
        bench_row("evaluate_uncached_base", f"{title}, {base.name}", before, "s"),
        bench_row(
            "evaluate_uncached", f"{title}; ratio: to {base.name}", now, "s", ratio=now / before
        ),
    ]


def _train(revision: Revision, overrides: Sequence[str], folder: Path, store: Path | None) -> str:
    """Trains into a new folder, and returns the override that names the checkpoint."""
    folder.mkdir(parents=True)
    command = revision.command("train", overrides, folder / "run")
    execute(command, folder / "train.txt", revision.root, revision.environment(store))
    return f"ckpt_path='{(folder / 'run' / BEST).resolve()}'"
