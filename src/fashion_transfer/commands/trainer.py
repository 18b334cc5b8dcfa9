"""Builds the trainer: its callbacks, its loggers, and checkpoints that are whole or absent."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig

from fashion_transfer.files import atomic_path


def build_trainer(cfg: DictConfig, callbacks: Iterable[Callback] = ()) -> L.Trainer:
    """Builds the trainer that `trainer`, `callbacks` and `logger` describe.

    Args:
        cfg: the configuration.
        callbacks: further ones.
    """
    chosen = dict(cfg.callbacks or {})
    if not cfg.trainer.get("enable_progress_bar", True):
        chosen.pop("progress", None)
    built = [instantiate(callback) for callback in chosen.values() if callback is not None]
    trainer: L.Trainer = instantiate(
        cfg.trainer,
        callbacks=[*built, *callbacks],
        logger=[instantiate(c) for c in (cfg.logger or {}).values() if c is not None],
        plugins=[AtomicCheckpointIO()],
    )
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
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)
