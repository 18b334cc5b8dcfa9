"""Where images and labels come from: data sets, their splits, views and preparation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fashion_transfer.data.augmentation import Augmentation, render, view_matrices
from fashion_transfer.data.batch import Batch, Images, Split
from fashion_transfer.data.datasets import ConcatDataset, ImageDataset, input_images, render_images
from fashion_transfer.data.decoding import read_image
from fashion_transfer.data.image_files import find_images
from fashion_transfer.data.photos import Photos, content_key, pixel_hash
from fashion_transfer.data.preparation import PREPARATIONS, Preparation, get_preparation
from fashion_transfer.data.subset import balanced_subset

if TYPE_CHECKING:
    from fashion_transfer.data.clothing import ClothingDataModule
    from fashion_transfer.data.datamodule import ClassificationDataModule
    from fashion_transfer.data.fashion_mnist import FashionMNISTDataModule
    from fashion_transfer.data.image_folder import ImageFolderDataModule

__all__ = [
    "PREPARATIONS",
    "Augmentation",
    "Batch",
    "ClassificationDataModule",
    "ClothingDataModule",
    "ConcatDataset",
    "FashionMNISTDataModule",
    "ImageDataset",
    "ImageFolderDataModule",
    "Images",
    "Photos",
    "Preparation",
    "Split",
    "balanced_subset",
    "content_key",
    "find_images",
    "get_preparation",
    "input_images",
    "render_images",
    "pixel_hash",
    "read_image",
    "render",
    "view_matrices",
]

_LAZY = {
    "ClassificationDataModule": "datamodule",
    "ClothingDataModule": "clothing",
    "FashionMNISTDataModule": "fashion_mnist",
    "ImageFolderDataModule": "image_folder",
}
"""Modules, by name, that import Lightning, which a prediction does not wait for."""


def __getattr__(name: str) -> Any:
    """Imports a name of `_LAZY` when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
