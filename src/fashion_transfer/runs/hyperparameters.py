"""The hyperparameters and the metrics that runs are compared by: the same ones for every run.

A sweep sorts and filters by these in every dashboard, so none of them is ever missing, and none is
a number in one run and a text in the next.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, TypeGuard

Value = bool | int | float | str

KEYS: dict[str, tuple[str, Value]] = {
    "seed": ("seed", 0),
    "image_size": ("data.image_size", 0),
    "views": ("data.views", 0),
    "batch_size": ("data.batch_size", 0),
    "composites": ("data.synthetic.composites", 0.0),
    "controls": ("data.synthetic.controls", 0.0),
    "backbone": ("model.backbone.name", "none"),
    "pool": ("model.backbone.pool", "none"),
    "precision": ("model.backbone.precision", "none"),
    "unfreeze": ("model.backbone.unfreeze", "none"),
    "mirror": ("model.backbone.mirror", False),
    "head": ("model.head.name", "none"),
    "hidden": ("model.head.hidden", 0),
    "dropout": ("model.head.dropout", 0.0),
    "standardise": ("model.standardise", False),
    "mixup": ("model.mixup", 0.0),
    "label_smoothing": ("model.label_smoothing", 0.0),
    "class_weights": ("model.class_weights", "none"),
    "learning_rate": ("model.optimizer.lr", 0.0),
    "weight_decay": ("model.optimizer.weight_decay", 0.0),
    "max_epochs": ("trainer.max_epochs", 0),
    "threshold": ("policy.threshold", "none"),
}
"""By name: the key of the configuration, and the value where it has none, which gives the type."""

OVERRIDES = {
    "data": "data",
    "experiment": "experiment",
    "data.images_per_class": "images_per_class",
    "model/backbone": "backbone",
    "model/head": "head",
    "model/optimizer": "optimizer",
    "model/scheduler": "scheduler",
    "model.backbone.weights": "weights",
} | {key: name for name, (key, _) in KEYS.items()}
"""The hyperparameter that an override changes, by what stands before its `=`."""

IMPORTANT = ("data", "images_per_class", "learning_rate", "seed", "weight_decay")
"""Those to show first if no override says what is of interest."""

METRICS = (
    "test/accuracy",
    "val/accuracy",
    "val/loss",
    "test/ece",
    "seconds",
    "test/warned",
    "test/selective_accuracy",
)
"""The metrics; a dashboard shows the first five at once."""


def hyperparameters(
    config: Mapping[str, Any],
    choices: Mapping[str, str | None] | None = None,
    training_images: int = 0,
    num_classes: int = 0,
) -> dict[str, Value]:
    """Returns the hyperparameters of a run by name, the same names and types for every run.

    Args:
        config: all values of its configuration by dotted key (see `RunRecord.config`).
        choices: file of each configuration group (see `RunRecord.choices`).
        training_images: their number, without synthetic ones; 0: unknown.
        num_classes: as the data set has; 0: unknown.
    """
    chosen = choices or {}
    values = {name: _typed(config.get(key), neutral) for name, (key, neutral) in KEYS.items()}
    weights = config.get("model.backbone.weights")
    given = config.get("data.images_per_class")
    all_of_them = training_images / num_classes if num_classes else 0.0
    values |= {
        "data": chosen.get("data") or _target(config, "data"),
        "experiment": chosen.get("experiment") or "none",
        "images_per_class": float(given) if _is_number(given) else all_of_them,
        "training_images": training_images,
        "weights": "random" if weights is None else PurePath(str(weights)).name,
        "optimizer": _target(config, "model.optimizer"),
        "scheduler": _target(config, "model.scheduler"),
    }
    return values


def overridden(overrides: Iterable[str]) -> list[str]:
    """Returns the hyperparameters to show first: those that overrides change, or else `IMPORTANT`.

    Args:
        overrides: of a run (see `RunRecord.overrides`).
    """
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    names = dict.fromkeys(OVERRIDES[key] for key in keys if key in OVERRIDES)
    return list(names or IMPORTANT)


def summary_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns `METRICS` by name; nan where one was not measured.

    Args:
        metrics: of a run (see `read_metrics`). `seconds` is the sum of `seconds/…`.
    """
    seconds = [value for name, value in metrics.items() if name.startswith("seconds/")]
    measured = {"seconds": math.fsum(seconds)} if seconds else {}
    measured |= {name: metrics[name] for name in METRICS if name in metrics}
    return {name: float(measured.get(name, math.nan)) for name in METRICS}


def _typed(value: Any, neutral: Value) -> Value:
    """Returns a value in the type of a neutral one; the latter where that is not possible."""
    if isinstance(neutral, str):
        if value is None:
            return neutral
        return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    if isinstance(neutral, bool):
        return value if isinstance(value, bool) else neutral
    return type(neutral)(value) if _is_number(value) else neutral


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _target(config: Mapping[str, Any], node: str) -> str:
    """Returns the name of what a node builds, without its module."""
    return str(config.get(f"{node}._target_") or "none").rpartition(".")[2]
