"""What evaluate.py and predict.py share: checkpoint and device."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from fashion_transfer.commands.build import read_policy
from fashion_transfer.commands.errors import config_keys
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import FeatureStore
from fashion_transfer.models import Classifier, load_classifier
from fashion_transfer.paths import user_path
from fashion_transfer.runs.newest import newest_checkpoint

BACKBONE_ENTRIES = ("weights", "precision", "compile", "engine")

MAX_CLASS_NAMES = 20
"""That one line names."""


def checkpoint_path(cfg: DictConfig) -> Path:
    """Returns the checkpoint that was named, or the newest one."""
    if cfg.ckpt_path:
        return user_path(cfg.ckpt_path)
    return newest_checkpoint(user_path(cfg.paths.logs))


def describe(path: Path, classifier: Classifier) -> str:
    """Returns a checkpoint and its classes in one line, as a person may check them."""
    names = classifier.class_names
    more = f", … and {len(names) - MAX_CLASS_NAMES} more" if len(names) > MAX_CLASS_NAMES else ""
    return f"{path}, {len(names)} classes: {', '.join(names[:MAX_CLASS_NAMES])}{more}"


def load(
    cfg: DictConfig,
    path: str | Path,
    entries: Collection[str] = BACKBONE_ENTRIES,
    **backbone: Any,
) -> Classifier:
    """Loads a classifier with the backbone options and the policy of the configuration.

    Args:
        cfg: the configuration.
        path: of the checkpoint.
        entries: those of the backbone that the configuration has.
        **backbone: options to use instead of the configuration's.

    Raises:
        FashionTransferError: the file is not a checkpoint, its weights are missing, or a value is
            not possible.
    """
    options: dict[str, Any] = {name: cfg.model.backbone[name] for name in entries}
    options |= {"cache": cfg.paths.cache} | backbone
    with config_keys(cfg, "policy", "policy.threshold_target", "model.backbone"):
        return load_classifier(path, **options, **read_policy(cfg))


def choose_device(name: str) -> torch.device:
    """Returns the device of a name, and has torch compute there the same way every time.

    Args:
        name: `cpu`, `cuda`, `mps`, a numbered one as `cuda:1`, or `auto`: a GPU if there is one.

    Raises:
        FashionTransferError: it is another name, or this machine has no such device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    device, _, number = str(name).partition(":")
    if device not in available or (number and not number.isdecimal()):
        raise FashionTransferError(f"device must be auto, cpu, cuda or mps, got {name!r}")
    if not available[device] or (
        device == "cuda" and int(number or 0) >= torch.cuda.device_count()
    ):
        raise FashionTransferError(f"device={name} is not available on this machine: use auto")
    # As in training (trainer.deterministic).
    torch.use_deterministic_algorithms(True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device(name)


def move(classifier: Classifier, device: torch.device) -> str:
    """Moves a classifier to a device; returns the precision that its backbone runs in there."""
    precision = classifier.backbone.to_device(device)
    classifier.to(device)
    return precision


def use_packages(cfg: DictConfig, classifier: Classifier, single: bool) -> None:
    """Has the backbone run from cached packages.

    Args:
        cfg: the configuration, which says where they are.
        classifier: its backbone.
        single: images one by one (see `Engine.single`), not in whole passes.
    """
    classifier.backbone.use_packages(FeatureStore(cfg.paths.cache))
    classifier.backbone.engine.single = single
