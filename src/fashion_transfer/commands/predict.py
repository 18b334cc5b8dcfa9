"""Labels image files: a table, an annotated gallery and a CSV file."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from fashion_transfer.commands.inference import checkpoint_path, choose_device, load, move
from fashion_transfer.confidence import Prediction
from fashion_transfer.data import Batch, ImageFileDataset, find_images, read_image
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import Classifier
from fashion_transfer.progress import progress_bar
from fashion_transfer.reporting import (
    ImagePrediction,
    prediction_gallery,
    print_predictions,
    save_figure,
    write_predictions,
)

log = logging.getLogger(__name__)


def predict(cfg: DictConfig, paths: Sequence[str] = ()) -> None:
    """Runs the prediction that `conf/predict.yaml` describes.

    Args:
        cfg: the composed configuration.
        paths: files and folders, beside those in `cfg.input`.

    Raises:
        FashionTransferError: no image, no checkpoint, or no file could be read.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not isinstance(cfg.batch_size, int) or cfg.batch_size < 1:
        raise FashionTransferError(
            f"batch_size must be a whole number from 1, got {cfg.batch_size!r}"
        )
    device = choose_device(cfg.device)
    given = [cfg.input] if isinstance(cfg.input, str) else list(cfg.input or [])
    files = find_images([*paths, *map(str, given)])
    path = checkpoint_path(cfg)
    log.info("predicting %d images with %s", len(files), path)
    classifier = load(cfg, path)
    move(classifier, device)
    images = ImageFileDataset(files, classifier.preparation, classifier.image_size)
    predictions = [
        ImagePrediction(file, None if error else prediction, error)
        for file, (prediction, error) in zip(
            files, predict_files(classifier, images, cfg.batch_size, device), strict=True
        )
    ]
    write_predictions(predictions, folder / "predictions.csv")
    save_figure(prediction_gallery(predictions, read_image), folder / "gallery.png")
    print_predictions(predictions)
    print(f"written: {folder / 'predictions.csv'} and {folder / 'gallery.png'}")
    if all(image.error for image in predictions):
        raise FashionTransferError(
            f"none of {len(files)} files could be read: {files[0]}: {predictions[0].error}"
            if len(files) > 1
            else f"{files[0]}: {predictions[0].error}"
        )


@torch.no_grad()
def predict_files(
    classifier: Classifier, images: ImageFileDataset, batch_size: int, device: torch.device
) -> list[tuple[Prediction, str]]:
    """Returns the prediction for each file, and why it could not be read: empty if it could.

    Args:
        classifier: in eval mode, on the device.
        images: the files. The prediction for an unreadable one is without meaning.
        batch_size: images in memory at once.
        device: where to compute.
    """
    # Without worker processes, so that the errors are collected in this one.
    loader: DataLoader[Batch] = DataLoader(images, batch_size, collate_fn=_whole_batch)
    predictions: list[Prediction] = []
    with progress_bar("predicting", len(images)) as progress:
        for batch in progress.track(loader):
            predictions += classifier.decide(*classifier.outputs(batch.to(device)))
    return [(p, images.errors.get(position, "")) for position, p in enumerate(predictions)]


def _whole_batch(batch: Any) -> Any:
    """Returns the batch itself: the dataset reads whole batches."""
    return batch
