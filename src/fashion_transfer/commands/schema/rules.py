"""Keys whose values are possible alone, but not together. Imports no torch."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra.conf import HydraConf

from fashion_transfer.commands.schema.check import shown
from fashion_transfer.commands.schema.engines import check_engine
from fashion_transfer.errors import FashionTransferError

Config = Mapping[str, Any]

TARGETS = {
    "model/optimizer": {
        "adamw": "torch.optim.AdamW",
        "adam": "torch.optim.Adam",
        "sgd": "torch.optim.SGD",
        "lbfgs": "torch.optim.LBFGS",
    },
    "model/scheduler": {
        "one_cycle": "torch.optim.lr_scheduler.OneCycleLR",
        "cosine": "torch.optim.lr_scheduler.CosineAnnealingLR",
        "plateau": "torch.optim.lr_scheduler.ReduceLROnPlateau",
    },
}
"""`_target_` of each file of a group whose arguments suit no other one."""

LBFGS = TARGETS["model/optimizer"]["lbfgs"]
ENDING = ("OneCycleLR", "CosineAnnealingLR")
"""Schedules that need to know where training ends."""

ELSEWHERE = {
    "callbacks": "add it to the node callbacks",
    "logger": "add it to the node logger",
    "plugins": "leave it out",
}
"""Arguments of the trainer that it gets from elsewhere, and what to do."""

_AVERAGING = "averages weights, and best.ckpt holds those that were trained: leave it out"
CALLBACKS = {
    "BatchSizeFinder": "looks for the largest batch that fits into memory, and cached features "
    "always fit: leave it out, and give data.batch_size=N",
    "BackboneFinetuning": "trains a backbone that stays frozen here: leave it out, and give "
    "experiment=finetune, which trains the last stage",
    "ModelPruning": "would prune the frozen backbone, too: leave it out",
    "StochasticWeightAveraging": _AVERAGING,
    "WeightAveraging": _AVERAGING,
    "EMAWeightAveraging": _AVERAGING,
}
"""Callbacks of Lightning that do not suit a run, and why."""

CHECKPOINTS: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "best": (
        "a validation chooses the best checkpoint",
        {
            "every_n_train_steps": (None, 0),
            "train_time_interval": (None,),
            "save_on_train_epoch_end": (None, False),
            "save_last": (None, False),
        },
    ),
    "last": (
        "ckpt_path=last continues from last.ckpt, all of the last finished epoch",
        {
            "filename": ("last",),
            "monitor": (None,),
            "save_top_k": (1,),
            "save_weights_only": (False,),
            "every_n_train_steps": (None, 0),
            "every_n_epochs": (None, 1),
            "train_time_interval": (None,),
            "save_on_train_epoch_end": (True,),
            "save_last": (None, False),
        },
    ),
}
"""What the arguments of our two checkpoint callbacks must be, by default the first, and why."""

METRIC_IN_NAME = re.compile(r"\{[^}:]*/")
"""The field of a file name that a ModelCheckpoint fills with `val/loss=0.5`."""


def check_targets_of_groups(
    config: Config, choices: Mapping[str, Any], overrides: Sequence[str]
) -> None:
    """Checks that an optimizer or a schedule has its own arguments, and not those of another one.

    Args:
        config: plain, resolved.
        choices: file of each configuration group, as Hydra gives them.
        overrides: as the user gave them.

    Raises:
        FashionTransferError: its `_target_` was changed.
    """
    for group, targets in TARGETS.items():
        key = group.replace("/", ".")
        node = _at(config, key)
        expected = targets.get(str(choices.get(group)))
        given = any(o.lstrip("+").startswith(f"{key}._target_=") for o in overrides)
        target = node.get("_target_") if isinstance(node, Mapping) else None
        if target is None or not (given or (expected and target != expected)):
            continue
        own = next((name for name, other in targets.items() if other == target), None)
        instead = f"{group}={own}" if own else f"{group}=NAME with a file conf/{group}/NAME.yaml"
        raise FashionTransferError(
            f"{key}._target_={target} would keep the arguments of {group}={choices.get(group)}: "
            f"use {instead}"
        )


def check_working_folder(hydra: HydraConf) -> None:
    """Checks that relative paths mean what they do in the terminal.

    Args:
        hydra: Hydra's own configuration.

    Raises:
        FashionTransferError: Hydra has changed to the run folder.
    """
    if hydra.job.chdir:
        raise FashionTransferError(
            "hydra.job.chdir must be false, got true: paths are relative to the folder that a "
            "command is started in, and ${hydra:runtime.output_dir} is the run folder"
        )


def check_training(config: Config) -> None:
    """Checks the values of a training run against each other.

    Args:
        config: plain, resolved, each value possible alone.

    Raises:
        FashionTransferError: two do not go together.
    """
    _check_trainer(config)
    check_engine(config["model"]["backbone"])
    _check_monitor(config["monitor"])
    _check_lbfgs(config["model"])
    _check_validation(config)
    _check_callbacks(config.get("callbacks") or {})
    _check_twins(config.get("callbacks") or {})


def remarks(config: Config) -> list[str]:
    """Returns what is possible in a training run but has no effect."""
    data, model = config["data"], config["model"]
    lines = []
    augmentation = data.get("augmentation") or {}
    ranges = [name for name in ("rotation", "shift", "zoom", "shear") if augmentation.get(name)]
    if ranges and data.get("views") == 1:
        lines.append(
            f"data.augmentation.{ranges[0]}={augmentation[ranges[0]]} has no effect with "
            "data.views=1, the clean image: give data.views=N, or null for fresh ones"
        )
    if model["trainable_stage_lr"] is not None and model["backbone"]["unfreeze"] is None:
        lines.append("model.trainable_stage_lr has no effect without model.backbone.unfreeze")
    return lines


def _check_trainer(config: Config) -> None:
    trainer = config["trainer"]
    for name, instead in ELSEWHERE.items():
        if name in trainer:
            raise FashionTransferError(f"trainer.{name} is read by nothing: {instead}")
    if trainer.get("precision") in ("bf16-true", "16-true"):
        raise FashionTransferError(
            f"trainer.precision={trainer['precision']} would round what is not in the backbone, as "
            "the statistics that standardise features: use trainer.precision=bf16-mixed, and "
            "model.backbone.precision for the backbone"
        )
    for name, value in (("barebones", True), ("enable_checkpointing", False)):
        if trainer.get(name) is value:
            raise FashionTransferError(
                f"trainer.{name}={shown(value)} leaves no checkpoint, which a run is for: leave it "
                "out, and give logger=none or callbacks.progress=null for speed"
            )
    schedule = _name(config["model"].get("scheduler"))
    endless = trainer["max_epochs"] == -1 and trainer.get("max_steps", -1) == -1
    if endless and schedule in ENDING:
        raise FashionTransferError(
            "trainer.max_epochs=-1 has no end, and model.scheduler needs to know where training "
            "ends: give trainer.max_epochs=N, or model/scheduler=none"
        )


def _check_monitor(monitor: Config) -> None:
    metric, mode = monitor["metric"], monitor["mode"]
    for part, best in (("loss", "min"), ("accuracy", "max")):
        if metric is not None and metric.endswith(part) and mode != best:
            raise FashionTransferError(f"monitor.mode must be {best} for {metric}, got {mode}")


def _check_lbfgs(model: Config) -> None:
    if model["optimizer"]["_target_"] != LBFGS:
        return
    changing = "each of its iterations would minimise another function"
    conflicts = {
        "model.mixup": (model["mixup"], changing, "model.mixup=0"),
        "model.head.dropout": (model["head"].get("dropout"), changing, "model.head.dropout=0"),
        "model.backbone.unfreeze": (
            model["backbone"].get("unfreeze"),
            "it takes one group of parameters",
            "model.backbone.unfreeze=null",
        ),
    }
    for key, (value, reason, instead) in conflicts.items():
        if value:
            given = value if isinstance(value, str) else shown(value)
            raise FashionTransferError(
                f"model/optimizer=lbfgs does not go with {key}={given} ({reason}): give {instead}, "
                "or another model/optimizer"
            )
    if _name(model.get("scheduler")) == "OneCycleLR":
        raise FashionTransferError(
            "model/optimizer=lbfgs does not go with model/scheduler=one_cycle, which needs a "
            "momentum: use model/scheduler=none, or another model/optimizer"
        )


def _check_validation(config: Config) -> None:
    """Checks that there is something to watch for what watches the validation."""
    callbacks = config.get("callbacks") or {}
    watching = {
        f"callbacks.{name}": f"callbacks.{name}=null"
        for name, callback in callbacks.items()
        if _name(callback) == "EarlyStopping"
    }
    if _name(config["model"].get("scheduler")) == "ReduceLROnPlateau":
        watching["model/scheduler=plateau"] = "model/scheduler=none"
    missing = {
        "trainer.limit_val_batches=0": config["trainer"]["limit_val_batches"] == 0,
        "data.val_per_class=0": config["data"].get("val_per_class") == 0,
        "monitor.metric=null": config["monitor"]["metric"] is None,
    }
    for key, instead in watching.items():
        for reason, applies in missing.items():
            if applies:
                raise FashionTransferError(
                    f"{key} watches the metric of the validation, and there is none with {reason}: "
                    f"leave that out, or give {instead}"
                )


def _check_callbacks(callbacks: Config) -> None:
    for name, callback in callbacks.items():
        if reason := CALLBACKS.get(_name(callback)):
            raise FashionTransferError(f"callbacks.{name} {reason}")
        if _name(callback) not in ("ModelCheckpoint", "LastCheckpoint"):
            continue
        key, file = f"callbacks.{name}", callback.get("filename") or ""
        if METRIC_IN_NAME.search(file) and callback.get("auto_insert_metric_name", True):
            raise FashionTransferError(
                f"{key}.filename={file} would make a folder, by the / in the metric's name: add "
                f"+{key}.auto_insert_metric_name=false, and words such as epoch={{epoch}}"
            )
        reason, possible = CHECKPOINTS.get(name, ("", {}))
        for option, values in possible.items():
            value = callback.get(option, values[0])
            if value not in values:
                raise FashionTransferError(
                    f"{key}.{option}={shown(value)} is not possible, as {reason}: leave it out, or "
                    "add another callback"
                )


def _check_twins(callbacks: Config) -> None:
    """Checks that no two callbacks have one name in a checkpoint, which Lightning refuses."""
    options = ("monitor", "mode", "every_n_train_steps", "every_n_epochs", "train_time_interval")
    names: dict[str, str] = {}
    for name, callback in callbacks.items():
        if _name(callback) != "ModelCheckpoint":
            continue
        values = {"mode": "min"} | dict(callback)
        state = str([values.get(option) for option in options])
        if names.setdefault(state, name) != name:
            raise FashionTransferError(
                f"callbacks.{name} has monitor, mode and interval of callbacks.{names[state]}: "
                f"give another one, or callbacks.{names[state]}.save_top_k=3 for more checkpoints"
            )


def _at(config: Config, key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _name(node: Any) -> str:
    """Returns the last part of a node's target; nothing for no node."""
    return str(node["_target_"]).rpartition(".")[2] if node else ""
