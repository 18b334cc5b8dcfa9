"""Where images and labels come from: data sets, their splits, views and preparation."""

from fashion_transfer.data.augmentation import Augmentation, render, view_matrices
from fashion_transfer.data.batch import Batch, Images, Split
from fashion_transfer.data.clothing import ClothingDataModule
from fashion_transfer.data.datamodule import ClassificationDataModule
from fashion_transfer.data.datasets import ConcatDataset, ImageDataset, input_images
from fashion_transfer.data.fashion_mnist import FashionMNISTDataModule
from fashion_transfer.data.image_files import ImageFileDataset, find_images, read_image
from fashion_transfer.data.image_folder import ImageFolderDataModule
from fashion_transfer.data.photos import Photos, content_key, pixel_hash
from fashion_transfer.data.preparation import PREPARATIONS, Preparation, get_preparation
from fashion_transfer.data.subset import balanced_subset

__all__ = [
    "PREPARATIONS",
    "Augmentation",
    "Batch",
    "ClassificationDataModule",
    "ClothingDataModule",
    "ConcatDataset",
    "FashionMNISTDataModule",
    "ImageDataset",
    "ImageFileDataset",
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
    "pixel_hash",
    "read_image",
    "render",
    "view_matrices",
]
