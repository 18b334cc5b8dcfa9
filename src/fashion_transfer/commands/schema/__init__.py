"""The schema behind `conf/`: what every key may be, checked before anything is computed.

`nodes` and `configs` say what is possible, `rules` what does not go together, and `targets` asks
the classes that are built. Only the last imports torch, and only when it is called.
"""

import logging
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.commands.errors import missing_value
from fashion_transfer.commands.schema.check import check_node
from fashion_transfer.commands.schema.configs import CONFIGS
from fashion_transfer.commands.schema.rules import (
    check_targets_of_groups,
    check_training,
    check_working_folder,
    remarks,
)
from fashion_transfer.errors import FashionTransferError

log = logging.getLogger(__name__)

FROM_CHECKPOINT = "from_checkpoint"
"""As `models.checkpoint.FROM_CHECKPOINT`, which needs torch to import."""


def check_config(cfg: DictConfig, command: str = "train") -> None:
    """Checks a composed configuration, its targets included, which are imported for it.

    Args:
        cfg: the configuration.
        command: a name in `CONFIGS`.

    Raises:
        FashionTransferError: one line with the first key that is wrong.
    """
    from fashion_transfer.commands.schema.targets import (
        check_head,
        check_optimization,
        check_targets,
    )

    config = check_values(cfg, command)
    check_targets(config)
    if command == "train":
        check_head(config["model"]["head"])
        check_optimization(config["model"])
        for remark in remarks(config):
            log.warning("%s", remark)


def check_values(cfg: DictConfig, command: str = "train") -> dict[str, Any]:
    """Checks what can be checked without importing any target; returns the plain configuration.

    Args:
        cfg: the configuration.
        command: a name in `CONFIGS`.

    Raises:
        FashionTransferError: one line with the first key that is wrong.
    """
    for key in sorted(OmegaConf.missing_keys(cfg)):
        raise FashionTransferError(missing_value(key))
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    choices, overrides = {}, list[str]()
    if HydraConfig.initialized():
        hydra = HydraConfig.get()
        choices, overrides = dict(hydra.runtime.choices), list(hydra.overrides.task)
        check_working_folder(hydra)
    check_targets_of_groups(config, choices, overrides)
    if command == "evaluate" and config["data"].get("image_size") == FROM_CHECKPOINT:
        del config["data"]["image_size"]  # any other size is no training's
    check_node(config, CONFIGS[command], _files)
    if command == "train":
        check_training(config)
    return dict(config)


def _files(group: str) -> list[str]:
    """Returns the files of a configuration group; none for what is no group."""
    if not GlobalHydra.instance().is_initialized():
        return []
    loader = GlobalHydra.instance().config_loader()
    return loader.get_group_options(group, ObjectType.CONFIG)
