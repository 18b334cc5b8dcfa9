"""The callback of the trainer that draws how a run ended, into its loggers and its folder."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from PIL import Image
from torch import Tensor

from fashion_transfer.paths import user_path
from fashion_transfer.reporting.class_figures import class_bars, confusion_matrix
from fashion_transfer.reporting.figures import reliability_diagram
from fashion_transfer.reporting.image_sheets import mistakes_sheet, views_sheet
from fashion_transfer.reporting.plotting import (
    Array,
    draw_figure,
    encode_picture,
    picture_summary,
    save_picture,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUP = "figures"
"""First part of the figures' tags."""

VIEWED, MAX_VIEWS = 8, 3
"""Training images whose views are drawn, and views of each."""


class Outcome(NamedTuple):
    """What a classifier gives for the images of a split.

    Attributes:
        split: its name, as a title has it.
        logits: of the classes alone, (N, C).
        probabilities: calibrated, (N, C).
        uncalibrated: the same at temperature 1.
        labels: int64, (N,).
    """

    split: str
    logits: Tensor
    probabilities: Tensor
    uncalibrated: Tensor
    labels: Tensor


class Figures(Callback):
    """Draws a run's confusion matrix, accuracy per class, calibration, mistakes, and its views.

    They are of the test images if the data module has some, else of the validation images in the
    epoch that the checkpoint callback found best; each title says which.

    Args:
        folder: where each is written as a PNG file; None: loggers get them alone.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = None if folder is None else user_path(folder)
        self._latest: Outcome | None = None
        self._best: Outcome | None = None
        self._best_score: float | None = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes the outputs, before the task takes them."""
        fitting = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if fitting and not _is_tested(trainer):
            self._latest = _outcome("validation images", pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes whether the epoch is the best one so far."""
        if self._latest is None:
            return
        split = f"validation images, epoch {trainer.current_epoch + 1}"
        outcome, self._latest = self._latest._replace(split=split), None
        chosen = trainer.checkpoint_callback
        score = trainer.callback_metrics.get(getattr(chosen, "monitor", None) or "")
        if score is None:  # the last epoch counts
            self._best = outcome
            return
        value = -float(score) if getattr(chosen, "mode", "min") == "max" else float(score)
        value = math.inf if math.isnan(value) else value  # as the checkpoint callback does
        if self._best_score is None or value < self._best_score:
            self._best, self._best_score = outcome, value

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws views of the training images and, where nothing is tested, all the rest."""
        if not trainer.is_global_zero:
            return
        datamodule: Any = getattr(trainer, "datamodule", None)
        if getattr(datamodule, "train_set", None) is not None:
            self._write(trainer, "training_views", views_sheet(_views(datamodule)))
        if self._best is not None:
            self._draw(trainer, self._best, datamodule, "val_set", pl_module)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the figures of the test images, before the task takes its outputs."""
        outcome = _outcome("test images", pl_module)
        if trainer.is_global_zero:
            self._draw(trainer, outcome, trainer.datamodule, "test_set", pl_module)  # type: ignore[attr-defined]

    def _draw(
        self, trainer: L.Trainer, outcome: Outcome, datamodule: Any, name: str, task: Any
    ) -> None:
        names = task.classifier.class_names
        title = f"{len(outcome.labels):,} {outcome.split}"
        confidence, predicted = outcome.probabilities.max(dim=1)
        uncalibrated = outcome.uncalibrated.max(dim=1).values
        labels, correct = outcome.labels, predicted == outcome.labels
        figures = {
            "confusion": confusion_matrix(labels, predicted, names, title),
            "classes": class_bars(labels, predicted, names, title),
            "reliability": reliability_diagram(
                (uncalibrated, correct), (confidence, correct), title
            ),
        }
        images = _images(getattr(datamodule, name, None), labels)
        if images is not None:
            figures["mistakes"] = mistakes_sheet(
                images,
                [names[label] for label in predicted.tolist()],
                confidence,
                [names[label] for label in labels.tolist()],
                title=title,
            )
        for figure_name, figure in figures.items():
            self._write(trainer, figure_name, figure)

    def _write(self, trainer: L.Trainer, name: str, figure: "Figure") -> None:
        picture = draw_figure(figure)
        if self.folder is None:
            encoded = encode_picture(picture)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            encoded = save_picture(picture, self.folder / f"{name}.png")
        log_picture(trainer.loggers, f"{GROUP}/{name}", picture, encoded, trainer.global_step)


def log_picture(
    loggers: Sequence[Any], name: str, picture: Image.Image, encoded: bytes, step: int
) -> None:
    """Sends a picture to every logger that takes pictures.

    Args:
        loggers: of a trainer.
        name: the picture's tag.
        picture: RGB.
        encoded: the same as PNG.
        step: of training.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            summary = picture_summary(name, picture, encoded)
            logger.experiment._get_file_writer().add_summary(summary, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [picture])
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, artifact_file=f"{name}.png")


def _outcome(split: str, task: Any) -> Outcome:
    """What a task has collected in this epoch."""
    classifier = task.classifier
    logits, _, labels = (tensor.cpu() for tensor in task.outputs.compute())
    calibrator = classifier.calibrator
    temperature = calibrator.temperature.cpu()
    count = len(classifier.class_names)
    return Outcome(
        split,
        logits[:, :count],
        (logits / temperature).softmax(dim=1)[:, :count],
        logits.softmax(dim=1)[:, :count],
        labels.reshape(-1),
    )


def _is_tested(trainer: L.Trainer) -> bool:
    datamodule: Any = getattr(trainer, "datamodule", None)
    return getattr(datamodule, "test_set", None) is not None


class _Rows:
    """The first images of a split in its order, each read when it is asked for."""

    def __init__(self, split: Any, count: int) -> None:
        self.split = split
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Array:
        image: Array = self.split.read(self.split.rows[row : row + 1])[0]
        return image


def _views(datamodule: Any) -> dict[str, list[Array]]:
    """By name of the row: views of some training images, then some images of each synthetic set."""
    train_set = datamodule.train_set
    views = MAX_VIEWS if datamodule.views is None else min(datamodule.views, MAX_VIEWS)
    rows = {}
    for view in range(views if train_set.augmentation is not None else 1):
        name = f"training images, view {view}" if view else "training images"
        rows[name] = _prepared(train_set, view)
    for dataset in datamodule.synthetic_sets:
        rows[dataset.split.name] = _prepared(dataset, 0)
    return {name: pictures for name, pictures in rows.items() if pictures}


def _prepared(dataset: Any, view: int) -> list[Array]:
    """Some images of a dataset as the backbone sees them: uint8, (C, S, S), evenly spread."""
    positions = np.unique(np.linspace(0, len(dataset) - 1, VIEWED).astype(int))
    inputs = dataset.inputs(view, dataset.split.rows[positions], torch.device("cpu"))
    return list((255 * inputs).round().byte().numpy())


def _images(dataset: Any, labels: Tensor) -> _Rows | None:
    """The images that outputs are of; None where they are in another order than the dataset."""
    if dataset is None or not np.array_equal(dataset.split.labels[: len(labels)], labels.numpy()):
        return None
    return _Rows(dataset.split, len(labels))
