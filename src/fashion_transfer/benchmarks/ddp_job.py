"""One process against two: `python -m fashion_transfer.benchmarks.ddp_job --dir FOLDER`.

Both train at 64 px on a CPU, on the same cached features. Printed are the largest differences of
loss and weights over the first steps, without dropout and mixup, and the test accuracy of three
seeds each, with both.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from fashion_transfer import ranks
from fashion_transfer.benchmarks.machine import QUIET, log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import atomic_path, write_text
from fashion_transfer.paths import user_path

STEPS = 10
MAX_DIFFERENCE = 1e-5
MAX_POINTS = 0.2
"""Percentage points between the mean test accuracies."""

TRAINERS = {
    1: ["trainer=default", "trainer.accelerator=cpu"],
    2: ["trainer=ddp_cpu"],
}
RECORDER = "fashion_transfer.benchmarks.ddp_job.StepRecorder"  # this module may be __main__
EXACT = ["model.mixup=0", "model.head.dropout=0"]


class StepRecorder(Callback):
    """Writes the loss and the head's weights after each of the first steps, as one file.

    Args:
        path: of the file.
        steps: how many.
    """

    def __init__(self, path: str, steps: int = STEPS) -> None:
        self.path = Path(path)
        self.steps = steps
        self.losses: list[float] = []
        self.weights: list[torch.Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        """Notes a step; the loss of a step is the mean over the ranks."""
        if len(self.losses) >= self.steps:
            return
        losses = ranks.gather(float(outputs["loss"]))
        self.losses.append(statistics.mean(losses))
        head: Any = pl_module.classifier.head  # type: ignore[union-attr]
        self.weights.append(torch.cat([p.detach().cpu().flatten() for p in head.parameters()]))
        if len(self.losses) == self.steps and trainer.is_global_zero:
            content = {"losses": torch.tensor(self.losses), "weights": torch.stack(self.weights)}
            with atomic_path(self.path) as temporary:
                torch.save(content, temporary)


def train(folder: Path, processes: int, *overrides: str) -> dict[str, Any]:
    """Trains in a folder, and returns the metrics.

    Args:
        folder: of the run; it must be new.
        processes: a key of `TRAINERS`.
        *overrides: further ones.

    Raises:
        FashionTransferError: the run failed.
    """
    command = [sys.executable, "train.py", *TRAINERS[processes], *QUIET, "callbacks.progress=null"]
    command += [*overrides, f"hydra.run.dir={folder}"]
    log_progress(" ".join(command[1:]))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise FashionTransferError(f"{' '.join(command)} failed: {ended.stderr.strip()}")
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_bytes())
    return metrics


def first_steps(scratch: Path, overrides: list[str]) -> dict[str, float]:
    """Returns the largest differences of loss and weights over the first steps."""
    recorded = {}
    for processes in TRAINERS:
        path = scratch / f"steps-{processes}.pt"
        recorder = [
            f"+callbacks.steps._target_={RECORDER}",
            f"+callbacks.steps.path={path}",
        ]
        short = [*EXACT, *recorder, "trainer.max_epochs=1", "test=false"]
        train(scratch / f"first-{processes}", processes, *overrides, *short)
        recorded[processes] = torch.load(path, weights_only=True)
    return {
        name: float((recorded[1][name] - recorded[2][name]).abs().max())
        for name in ("losses", "weights")
    }


def accuracies(scratch: Path, overrides: list[str], seeds: int) -> dict[str, list[float]]:
    """Returns the test accuracy of each seed in percent, by number of processes."""
    return {
        str(processes): [
            100
            * train(scratch / f"seed-{seed}-{processes}", processes, *overrides, f"seed={seed}")[
                "test/accuracy"
            ]
            for seed in range(seeds)
        ]
        for processes in TRAINERS
    }


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints a table and writes `ddp.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=user_path, required=True, help="an empty folder for the runs")
    parser.add_argument("--seeds", type=int, default=3, help="0: the first steps alone")
    parser.add_argument("overrides", nargs="*", help="of every run, such as paths.cache=DIR")
    chosen = parser.parse_args(arguments)
    scratch = chosen.dir.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    overrides = ["experiment=fast", *chosen.overrides]
    try:
        values: dict[str, Any] = {"first_steps": first_steps(scratch, overrides)}
        values["accuracy"] = accuracies(scratch, overrides, chosen.seeds)
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    table = Table("two processes against one", "value", "must")
    for name, value in values["first_steps"].items():
        title = f"first {STEPS} steps, {name}: largest difference"
        table.add_row(title, f"{value:.1e}", f"{MAX_DIFFERENCE:.0e}")
    if chosen.seeds:
        one, two = (statistics.mean(values["accuracy"][key]) for key in ("1", "2"))
        values["difference"] = two - one
        title = f"test accuracy, mean of {chosen.seeds} seeds: {one:.2f} % and {two:.2f} %"
        table.add_row(title, f"{two - one:+.2f} points", f"±{MAX_POINTS}")
    write_text(scratch / "ddp.json", json.dumps(values, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    main()
