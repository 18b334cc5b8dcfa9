"""Configurations as the commands compose them, for tests."""

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"

COMMANDS = ("train", "evaluate", "predict", "app", "export")
GROUPS = (
    "experiment", "debug", "model/head", "model/backbone", "model/optimizer", "model/scheduler",
    "logger", "callbacks", "policy",
)  # fmt: skip
CHOICES = [
    ("train", f"{group}={file.stem}")
    for group in GROUPS
    for file in sorted((CONF / group).glob("*.yaml"))
]
CONFIGS = [(command, "") for command in COMMANDS] + CHOICES


def composed(command: str, *overrides: str) -> dict[str, Any]:
    """A command's own configuration, resolved as in a run, without Hydra's."""
    return copy.deepcopy(_composed(command, *overrides))


@functools.cache  # composing takes a second
def _composed(command: str, *overrides: str) -> dict[str, Any]:
    given = ["hydra.runtime.output_dir=run", f"hydra.job.name={command}", *filter(None, overrides)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command, given, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        try:
            with open_dict(cfg):
                del cfg.hydra
            plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        finally:
            HydraConfig.instance().cfg = None
    assert isinstance(plain, dict)
    return plain


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    values = {}
    for name, value in config.items():
        key = f"{before}.{name}".lstrip(".")
        values |= flat(value, key) if isinstance(value, Mapping) else {key: value}
    return values
