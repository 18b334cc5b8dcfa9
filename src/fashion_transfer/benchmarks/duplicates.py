"""Accuracy of the default with and without test images that nearly equal a training image."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fashion_transfer.data import FashionMNISTDataModule
from fashion_transfer.data.datasets import ImageDataset
from fashion_transfer.evaluation import infer, near_duplicates
from fashion_transfer.evaluation.near_duplicates import SIMILAR
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import load_classifier


def duplicate_metrics(checkpoints: Sequence[Path], data: str, **options: Any) -> dict[str, Any]:
    """Counts near-duplicates between test images and the default's training images.

    Args:
        checkpoints: of the default, one per seed.
        data: folder of the data set.
        **options: further ones of `FashionMNISTDataModule`.

    Returns:
        `correlation` from which two images count as one article, `test_images` (their number),
        mean `accuracy` over the checkpoints, and `accuracy_without` those images.
    """
    accuracy, accuracy_without = [], []
    same = np.empty(0, bool)
    for path in checkpoints:
        classifier = load_classifier(path, compile="auto")
        extractor = Extractor(classifier.backbone, FeatureStore())
        image_size = classifier.image_size
        datamodule = FashionMNISTDataModule(
            data, image_size=image_size, extractor=extractor, **options
        )
        datamodule.setup()
        assert datamodule.train_set is not None
        assert datamodule.test_set is not None
        same, _ = near_duplicates(_pixels(datamodule.test_set), _pixels(datamodule.train_set))
        outputs = infer(classifier, datamodule.dataloader(datamodule.test_set))
        classes = outputs.logits[:, : len(classifier.class_names)]
        correct = classes.argmax(dim=1) == outputs.labels
        accuracy.append(correct.float().mean().item())
        accuracy_without.append(correct[torch.from_numpy(~same)].float().mean().item())
    return {
        "correlation": SIMILAR,
        "test_images": int(same.sum()),
        "accuracy": statistics.mean(accuracy),
        "accuracy_without": statistics.mean(accuracy_without),
    }


def _pixels(dataset: ImageDataset) -> np.ndarray:
    """Images as they are in the files: uint8, (N, 28, 28)."""
    return np.concatenate(dataset.split.read(dataset.split.rows))
