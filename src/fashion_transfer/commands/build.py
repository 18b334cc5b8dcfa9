"""Builds objects from the configuration, which goes no further: they take plain arguments."""

import json
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.commands.errors import config_keys
from fashion_transfer.errors import FashionTransferError

if TYPE_CHECKING:
    from fashion_transfer.data import ClassificationDataModule
    from fashion_transfer.features import Backbone
    from fashion_transfer.models import ClassificationTask

ARGUMENT_NODES = ("model", "policy", "policy.threshold_target", "data")
"""Where the arguments of the task and the data module come from."""

MAX_BACKBONES = 2
FROZEN_BACKBONES: dict[str, "Backbone"] = {}
"""Those built last in this process, by their node as JSON: a sweep reads the weights once."""


def build_datamodule(cfg: DictConfig, **overrides: Any) -> "ClassificationDataModule":
    """Builds the data module that `data` describes.

    Args:
        cfg: the configuration.
        **overrides: arguments to use instead of the configuration's.

    Raises:
        FashionTransferError: `data` describes none, or a value is not possible.
    """
    from fashion_transfer.data import ClassificationDataModule  # it imports Lightning

    datamodule = instantiate(cfg.data, **overrides)
    if not isinstance(datamodule, ClassificationDataModule):
        raise FashionTransferError(
            f"data={data_name()} describes no data set: choose another file of conf/data, or give "
            "it the `_target_` of a ClassificationDataModule"
        )
    return datamodule


def build_task(cfg: DictConfig, datamodule: "ClassificationDataModule") -> "ClassificationTask":
    """Builds the training task, with a new head, that `model` and `policy` describe.

    Nothing but the head's first weights is drawn from the global generator.

    Args:
        cfg: the configuration.
        datamodule: gives class names, image size and preparation.

    Raises:
        FashionTransferError: a value is not possible.
    """
    from fashion_transfer.models import ClassificationTask, Classifier

    policy = read_policy(cfg)
    model = cfg.model
    backbone = _build_backbone(model.backbone)
    with config_keys(cfg, *ARGUMENT_NODES):
        classifier = Classifier(
            backbone,
            datamodule.class_names,
            head=_plain(model.head),
            multi_item=datamodule.multi_item,
            standardise=model.standardise,
            image_size=datamodule.image_size,
            preparation=datamodule.preparation,
            second_opinion=model.second_opinion,
        )
        return ClassificationTask(
            classifier,
            optimizer=instantiate(model.optimizer, _convert_="all"),
            scheduler=instantiate(model.get("scheduler"), _convert_="all"),
            label_smoothing=model.label_smoothing,
            mixup=model.mixup,
            class_weights=model.class_weights,
            trainable_stage_lr=model.trainable_stage_lr,
            monitor=cfg.monitor.metric or "val/loss",
            seed=cfg.seed,
            **policy,
        )


def _build_backbone(node: DictConfig) -> "Backbone":
    """Returns a backbone; a frozen one serves all jobs of a process that describe the same."""
    description = json.dumps(_plain(node), sort_keys=True)
    if description in FROZEN_BACKBONES:
        return FROZEN_BACKBONES[description]
    backbone: Backbone = instantiate(node, _convert_="all")
    if node.unfreeze is None:
        while len(FROZEN_BACKBONES) >= MAX_BACKBONES:
            FROZEN_BACKBONES.pop(next(iter(FROZEN_BACKBONES)))
        FROZEN_BACKBONES[description] = backbone
    return backbone


def read_policy(cfg: DictConfig) -> dict[str, Any]:
    """Returns `threshold` and `threshold_target` as plain values."""
    policy: dict[str, Any] = _plain(cfg.policy)
    return policy


def data_name() -> str:
    """Returns the file of `conf/data` that was chosen."""
    return str(HydraConfig.get().runtime.choices["data"])


def _plain(node: DictConfig) -> Any:
    """Returns a node as a plain dictionary, as a checkpoint can hold it."""
    return OmegaConf.to_container(node, resolve=True)
