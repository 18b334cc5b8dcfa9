"""Which checkpoint a run is tested with, and where the other commands look for it."""

import logging
import shutil
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from fashion_transfer import ranks
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import atomic_path
from fashion_transfer.runs.folders import BEST

log = logging.getLogger(__name__)


class LastCheckpoint(ModelCheckpoint):
    """A `ModelCheckpoint` that skips an epoch of which only some batches were trained on.

    `max_steps`, `max_time` or early stopping has ended training then. It could not continue from
    within the epoch, and can from the checkpoint of the one before.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves a checkpoint after a whole epoch."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            super().on_train_epoch_end(trainer, pl_module)


def name_apart(callback: Callback) -> None:
    """Puts epoch and step into the file name of a callback that keeps several checkpoints."""
    if isinstance(callback, ModelCheckpoint) and callback.save_top_k not in (0, 1):
        name = callback.filename  # under one name, each would replace the one before
        callback.filename = name if name is None or "{" in name else f"{name}-{{epoch}}-{{step}}"


def best_checkpoint(trainer: L.Trainer) -> Path | None:
    """Returns what the first checkpoint callback found best; None if it has saved nothing."""
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    return Path(path) if path and Path(path).is_file() else None


def keep_best(trainer: L.Trainer, folder: Path) -> Path | None:
    """Has a run folder hold the best checkpoint as `best.ckpt`, and returns its path.

    The callback may have saved it under another name, in another folder, or not at all: it does so
    after a validation, and training may end before the first one.

    Args:
        trainer: has been fitted.
        folder: of the run.

    Raises:
        FashionTransferError: nothing was trained.

    Returns:
        None where the trainer is to leave no checkpoints, as in a `fast_dev_run`.
    """
    if not trainer.checkpoint_callbacks or getattr(trainer, "fast_dev_run", False):
        return None
    chosen, best = ranks.broadcast(best_checkpoint(trainer)), folder / BEST
    if chosen is None:
        if not trainer.global_step:
            raise FashionTransferError(
                "training ended before its first step: give it more time, or leave out max_time"
            )
        log.warning("no validation has chosen a checkpoint: best.ckpt is of the last step")
        trainer.save_checkpoint(best, weights_only=True)
    elif trainer.is_global_zero and chosen.resolve() != best.resolve():
        best.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(best) as temporary:
            shutil.copyfile(chosen, temporary)
    trainer.strategy.barrier()
    return best
