"""The callback of the trainer that fills TensorBoard's Projector."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch import Tensor

from fashion_transfer.errors import ArgumentError
from fashion_transfer.reporting.gallery import small
from fashion_transfer.reporting.plotting import Array

THUMBNAIL = 32
"""Side of a picture in the Projector, pixels."""


class Projector(Callback):
    """Writes features of test images for TensorBoard's Projector: points, classes and thumbnails.

    Args:
        images: the first N test images; 0: none.
        dimensions: of the points, which are the features' principal components.

    Raises:
        ArgumentError: a value is not possible.
    """

    def __init__(self, images: int = 0, dimensions: int = 64) -> None:
        for name, value, minimum in (("images", images, 0), ("dimensions", dimensions, 2)):
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ArgumentError(name, f"must be a whole number from {minimum}, got {value!r}")
        self.images = images
        self.dimensions = dimensions
        self._features: list[Tensor] = []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Notes the features of a batch."""
        if sum(map(len, self._features)) < self.images and trainer.world_size == 1:
            classifier: Any = pl_module.classifier
            self._features.append(classifier.standardised(batch).float().cpu())

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the points to every TensorBoard logger."""
        collected, self._features = self._features, []
        boards = [lo for lo in trainer.loggers if isinstance(lo, TensorBoardLogger)]
        if not collected or not boards:
            return
        features = torch.cat(collected)[: self.images]
        task: Any = pl_module
        names, split = task.classifier.class_names, trainer.datamodule.test_set.split  # type: ignore[attr-defined]
        for board in boards:
            board.experiment.add_embedding(
                principal_components(features, self.dimensions),
                metadata=[(names[split.labels[row]], row) for row in range(len(features))],
                metadata_header=["class", "image"],
                label_img=_thumbnails(split.read(split.rows[: len(features)])),
                global_step=trainer.global_step,
                tag="test images",
            )


def principal_components(features: Tensor, dimensions: int) -> Tensor:
    """Returns features by their principal components: float32, (N, at most `dimensions`).

    Args:
        features: float32, (N, D).
        dimensions: how many components there are if N and D are no less.
    """
    centred = features - features.mean(dim=0)
    wanted = min(dimensions, *centred.shape)
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)  # the method is randomised: the same features, the same points
    _, _, components = torch.pca_lowrank(centred, q=wanted, center=False)
    torch.random.set_rng_state(generator)
    projected: Tensor = centred @ components
    return projected


def _thumbnails(images: Sequence[Array]) -> Tensor:
    """Small pictures, each in the middle of a square: float32, (N, 3, `THUMBNAIL`, `THUMBNAIL`)."""
    squares = []
    for image in images:
        picture = Image.fromarray(small(image, THUMBNAIL)).convert("RGB")
        square = Image.new("RGB", (THUMBNAIL, THUMBNAIL))
        width, height = picture.size
        square.paste(picture, ((THUMBNAIL - width) // 2, (THUMBNAIL - height) // 2))
        squares.append(np.asarray(square).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(squares)).float() / 255
