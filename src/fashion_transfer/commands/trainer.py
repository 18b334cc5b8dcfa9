"""Builds the trainer: its callbacks, its loggers, and checkpoints that are whole or absent."""

import io
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig

from fashion_transfer.commands.checkpoints import name_apart
from fashion_transfer.commands.loggers import build_loggers
from fashion_transfer.files import atomic_path

SLOW = ("figures", "projector")
"""Callbacks that a sweep goes without: each takes more than a second per run."""

FINDER = "LearningRateFinder"


def build_trainer(cfg: DictConfig, callbacks: Iterable[Callback] = ()) -> L.Trainer:
    """Builds the trainer that `trainer`, `callbacks` and `logger` describe.

    Args:
        cfg: the configuration.
        callbacks: further ones.
    """
    chosen = dict(cfg.get("callbacks") or {})
    sweep = HydraConfig.get().mode == RunMode.MULTIRUN
    bar = cfg.trainer.get("enable_progress_bar", True) and (not sweep or sys.stdout.isatty())
    bar = bar and chosen.get("progress") is not None  # else Lightning would add its own
    if not bar:
        chosen.pop("progress", None)
    if sweep:
        for name in SLOW:
            chosen.pop(name, None)
    loggers = build_loggers(cfg)
    if not loggers:
        chosen.pop("rate", None)  # it has nowhere to write to
    if cfg.ckpt_path is not None:  # which brings the rate along
        chosen = {n: c for n, c in chosen.items() if FINDER not in str((c or {}).get("_target_"))}
    built = [instantiate(c, _convert_="all") for c in chosen.values() if c is not None]
    for callback in built:
        name_apart(callback)
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        callbacks=[*built, *callbacks],
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=bar,
        _convert_="all",  # Lightning wants max_time as a dictionary
    )
    # With max_steps, Lightning would take any checkpoint for one from within an epoch, and repeat
    # that epoch without its batches.
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]
    return trainer


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all.

    Lightning's own writes into the temporary folder and moves the file from there: on another file
    system that is a copy, and a killed run leaves half of it in the place of the one before.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes a checkpoint, as `torch.save` does."""
        # In memory first: on a full disk torch's own writer gives an error that names no cause.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.getbuffer())
