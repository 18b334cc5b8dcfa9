"""What tells a study how its trial is going, and ends the trial if it falls behind."""

import math

import lightning as L
from lightning.pytorch.callbacks import Callback

from fashion_transfer.runs.record import RunPruned
from fashion_transfer.search.study import SearchStudy


class StudyCallback(Callback):
    """Reports a metric to a study after every validation.

    Args:
        study: of the trial.
        number: of the trial.
        metric: of the validation images, such as `val/loss`.
    """

    def __init__(self, study: SearchStudy, number: int, metric: str) -> None:
        self.study = study
        self.number = number
        self.metric = metric

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends a continued trial that was interrupted between a report and its verdict."""
        self._end_if_pruned(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reports; the trial ends here if it is pruned, or if its metric is not finite."""
        if trainer.sanity_checking or self.metric not in trainer.callback_metrics:
            return
        value, epochs = float(trainer.callback_metrics[self.metric]), trainer.current_epoch + 1
        self.study.report(self.number, value, epochs)
        if not math.isfinite(value):
            raise RunPruned(f"{self.metric} is {value} after epoch {epochs}")
        self._end_if_pruned(trainer)

    def _end_if_pruned(self, trainer: L.Trainer) -> None:
        if self.study.should_prune(self.number, trainer.max_epochs):
            raise RunPruned
