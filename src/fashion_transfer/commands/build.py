"""Builds objects from the configuration, which goes no further: they take plain arguments."""

from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.commands.errors import check_entries, config_keys
from fashion_transfer.errors import FashionTransferError

if TYPE_CHECKING:
    from fashion_transfer.data import ClassificationDataModule
    from fashion_transfer.models import ClassificationTask

MODEL_ENTRIES = (
    "backbone",
    "head",
    "standardise",
    "label_smoothing",
    "mixup",
    "class_weights",
    "second_opinion",
    "trainable_stage_lr",
    "optimizer",
    "scheduler",
)
POLICY_ENTRIES = ("threshold", "threshold_target")
TARGET_ENTRIES = ("selective_accuracy", "warned")

ARGUMENT_NODES = ("model", "policy", "policy.threshold_target", "data")
"""Where the arguments of the task and the data module come from."""


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
        FashionTransferError: a value is not possible, or an entry is read by nothing.
    """
    from fashion_transfer.models import ClassificationTask, Classifier

    check_entries(cfg, "model", MODEL_ENTRIES)
    policy = read_policy(cfg)
    model = cfg.model
    backbone = instantiate(model.backbone, _convert_="all")
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
            scheduler=instantiate(model.scheduler, _convert_="all"),
            label_smoothing=model.label_smoothing,
            mixup=model.mixup,
            class_weights=model.class_weights,
            trainable_stage_lr=model.trainable_stage_lr,
            seed=cfg.seed,
            **policy,
        )


def read_policy(cfg: DictConfig) -> dict[str, Any]:
    """Returns `threshold` and `threshold_target` as plain values.

    Raises:
        FashionTransferError: `policy` has an entry that nothing reads.
    """
    check_entries(cfg, "policy", POLICY_ENTRIES)
    check_entries(cfg, "policy.threshold_target", TARGET_ENTRIES)
    policy: dict[str, Any] = _plain(cfg.policy)
    return policy


def data_name() -> str:
    """Returns the file of `conf/data` that was chosen."""
    return str(HydraConfig.get().runtime.choices["data"])


def _plain(node: DictConfig) -> Any:
    """Returns a node as a plain dictionary, as a checkpoint can hold it."""
    return OmegaConf.to_container(node, resolve=True)
