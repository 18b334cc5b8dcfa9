"""Where pixels come from: sources, the balanced subset, views, and photos."""

from fashion_transfer.data.datamodule import FashionMNISTDataModule
from fashion_transfer.data.datasets import Batch
from fashion_transfer.data.photos import PhotoDataset, find_images, read_image
from fashion_transfer.data.sources import CLASSES
from fashion_transfer.data.subset import balanced_subset
from fashion_transfer.data.views import Augmentation, render, view_matrices

__all__ = [
    "CLASSES",
    "Augmentation",
    "Batch",
    "FashionMNISTDataModule",
    "PhotoDataset",
    "balanced_subset",
    "find_images",
    "read_image",
    "render",
    "view_matrices",
]
