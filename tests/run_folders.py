"""Run folders for tests, without a run."""

import shlex
from pathlib import Path
from typing import Any

from fashion_transfer.runs.folders import write_metrics
from fashion_transfer.runs.record import RunRecord, write_record

CONFIG: dict[str, Any] = {
    "seed": 0,
    "data._target_": "fashion_transfer.data.FashionMNISTDataModule",
    "data.images_per_class": 500,
    "data.seed": 0,
    "model.optimizer._target_": "torch.optim.AdamW",
    "model.optimizer.lr": 0.001,
    "model.backbone.name": "resnet50",
    "model.head.name": "mlp",
    "paths.logs": "logs",
    "monitor.metric": "val/loss",
}
CHOICES = {"data": "fashion_mnist", "model/optimizer": "adamw", "experiment": None, "debug": None}


def write_run(
    logs: Path,
    path: str,
    config: dict[str, Any] | None = None,
    accuracy: float | None = None,
    started: str = "2026-11-26T09:30:00+00:00",
    choices: dict[str, str | None] | None = None,
    **fields: Any,
) -> Path:
    """Writes the record of a run, and metrics if an accuracy is given; returns its folder."""
    config = config or {}
    folder = logs / path
    folder.mkdir(parents=True)
    seed = config.get("seed", 0)
    overrides = [f"{key}={value}" for key, value in config.items()]
    values: dict[str, Any] = {
        "status": "running" if accuracy is None else "finished",
        "overrides": overrides,
        "choices": CHOICES | (choices or {}),
        "config": CONFIG | config | {"data.seed": seed},
        "command": shlex.join(["python", "train.py", *overrides]),
        "commit": "0123456789ab",
        "started": started,
    }
    write_record(RunRecord(folder, **values | fields))
    if accuracy is not None:
        metrics = {"val/loss": 1 - accuracy, "val/accuracy": accuracy, "seconds/fit": 2.0}
        more = {"seconds/test": 0.5, "weights/name": "random", "weights/sha256": "ab" * 32}
        write_metrics(folder, metrics | more)
    return folder
