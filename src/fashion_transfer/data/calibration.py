"""The images that the int8 backbone is calibrated on."""

import numpy as np
import torch
from torch import Tensor

from fashion_transfer.data.datamodule import ClassificationDataModule
from fashion_transfer.data.datasets import ImageDataset
from fashion_transfer.data.preparation import get_preparation


def calibration_images(datamodule: ClassificationDataModule, count: int) -> Tensor:
    """Returns the first clean training images, of each class alike.

    A larger subset of a data set's first images begins with the same ones.

    Args:
        datamodule: whose data is there; it is not changed.
        count: of images, at most.

    Returns:
        float32, (N, C, S, S), in [0, 1].
    """
    train = datamodule.load_split("train")
    assert train is not None, "a data set has training images"
    numbers = np.zeros(len(train), np.int64)  # of an image among those of its class
    for label in np.unique(train.labels):
        of_class = train.labels == label
        numbers[of_class] = np.arange(of_class.sum())
    chosen = np.sort(np.argsort(numbers, kind="stable")[:count])
    preparation = get_preparation(datamodule.preparation)
    dataset = ImageDataset(train, preparation, datamodule.image_size)
    return dataset.inputs(0, train.rows[chosen], torch.device("cpu"))
