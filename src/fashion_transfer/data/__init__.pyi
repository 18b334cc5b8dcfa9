from .augmentation import Augmentation, render, view_matrices
from .batch import Batch, Images, Split
from .clothing import ClothingDataModule
from .datamodule import ClassificationDataModule
from .datasets import ConcatDataset, ImageDataset, input_images, render_images
from .decoding import read_image
from .fashion_mnist import FashionMNISTDataModule
from .image_files import find_images
from .image_folder import ImageFolderDataModule
from .photos import Photos, content_key, pixel_hash
from .preparation import PREPARATIONS, Preparation, get_preparation
from .subset import balanced_subset

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
