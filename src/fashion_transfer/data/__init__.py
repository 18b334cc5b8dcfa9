"""Where pixels come from: sources, the balanced subset, views, photos, composites."""

from fashion_transfer.data.composites import (
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    TRAINED_LAYOUTS,
    Composites,
    compose,
)
from fashion_transfer.data.datamodule import FashionMNISTDataModule
from fashion_transfer.data.datasets import Batch
from fashion_transfer.data.made import MadeDataset
from fashion_transfer.data.photos import PhotoDataset, find_images, read_image
from fashion_transfer.data.sources import CLASSES
from fashion_transfer.data.subset import balanced_subset
from fashion_transfer.data.views import Augmentation, render, view_matrices

__all__ = [
    "CLASSES",
    "HELD_OUT_LAYOUTS",
    "LAYOUTS",
    "TRAINED_LAYOUTS",
    "Augmentation",
    "Batch",
    "Composites",
    "FashionMNISTDataModule",
    "MadeDataset",
    "PhotoDataset",
    "balanced_subset",
    "compose",
    "find_images",
    "read_image",
    "render",
    "view_matrices",
]
