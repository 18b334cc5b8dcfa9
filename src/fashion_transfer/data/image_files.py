"""Image files that people bring: listed, decoded, and given in batches."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.utils.data import Dataset

from fashion_transfer.data.batch import Batch
from fashion_transfer.data.datasets import Item, input_images, split_items
from fashion_transfer.data.preparation import Preparation
from fashion_transfer.errors import ArgumentError, FashionTransferError

ImageLike = str | Path | Image.Image | np.ndarray
"""An image as people have it: a file, a PIL image or an array of pixels."""


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """The image files that some paths stand for.

    A file is taken as it is, readable or not; a folder gives every image below it by its file
    ending, sorted, without hidden ones.

    Raises:
        FashionTransferError: no path was given, or a folder holds no image.
    """
    if not inputs or "" in inputs:
        raise FashionTransferError(
            "no image given: name files or folders, as in `python predict.py photo.jpg photos/`"
        )
    files: list[Path] = []
    for path in map(Path, inputs):
        if not path.is_dir():
            files.append(path)
            continue
        inside = images_below(path)
        if not inside:
            raise FashionTransferError(f"{path} holds no image file: name one that does")
        files += inside
    return files


def images_below(folder: Path) -> list[Path]:
    """The image files below a folder, by their ending, sorted; hidden ones are left out."""
    endings = image_endings()
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        files += [
            os.path.join(parent, name)
            for name in names
            if os.path.splitext(name)[1].lower() in endings and not is_hidden(name)
        ]
    # As text, which is several times as fast as paths where there are thousands.
    files = sorted(filter(os.path.isfile, files), key=lambda file: file.split(os.sep))
    return [Path(file) for file in files]


def image_endings() -> set[str]:
    """The file endings of images that can be read, in lower case: `.png` and others."""
    readable = Image.registered_extensions().items()
    return {ending for ending, name in readable if name in Image.OPEN}


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is nothing that a person put there."""
    return name.startswith(".") or name == "__MACOSX"  # macOS adds the latter to archives


def read_image(path: str | Path) -> np.ndarray:
    """Reads one image file as the person who took it sees it.

    A phone's rotation is applied and transparency is put on white. Grey stays grey.

    Returns:
        uint8, (1, h, w) if the file is grey, else (3, h, w).

    Raises:
        FashionTransferError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as file:
            file.load()
            return decode(file)
    except FileNotFoundError:
        raise FashionTransferError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise FashionTransferError(f"{path}: not an image that can be read") from None
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FashionTransferError(f"{path}: cannot be read ({reason})") from error


def decode(image: Image.Image) -> np.ndarray:
    """The pixels of an image as `read_image` gives them: uint8, (1 or 3, h, w)."""
    image = _upright(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.array(image.convert("L" if grey else "RGB"))
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def to_array(image: ImageLike) -> np.ndarray:
    """The pixels of an image in any of the forms that people have: uint8, (1 or 3, h, w).

    Raises:
        FashionTransferError: a file cannot be read.
        ArgumentError: an array has another shape or type.
    """
    if isinstance(image, (str, Path)):
        return read_image(image)
    if isinstance(image, Image.Image):
        return decode(image)
    array = given = np.asarray(image)
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[0] not in (1, 3) and array.shape[2] in (1, 3):
        array = array.transpose(2, 0, 1)
    if array.dtype != np.uint8 or array.ndim != 3 or len(array) not in (1, 3) or not array.size:
        raise ArgumentError(
            "image",
            "must be a path, a PIL image or an array, uint8, (h, w), (h, w, 3) or (3, h, w), got "
            f"{given.dtype} {given.shape}",
        )
    return np.ascontiguousarray(array)


class ImageFileDataset(Dataset[Batch]):
    """Image files of any size, prepared and resized, read in whole batches when they are due.

    One bad file does not end a batch: it is a black image, and `errors` says why. Use it without
    worker processes, so that `errors` is filled in this one.

    Args:
        paths: the files, readable or not.
        preparation: from a decoded image to what the backbone sees.
        image_size: height and width of the backbone's input, pixels.

    Attributes:
        errors: what is wrong with a file, by position; filled as files are read.
    """

    def __init__(self, paths: Sequence[Path], preparation: Preparation, image_size: int) -> None:
        self.paths = paths
        self.preparation = preparation
        self.image_size = image_size
        self.errors: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, item: Item) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[Item]) -> Batch:
        """A batch of the images at some positions, without labels."""
        images = [self._read(int(position)) for position in split_items(items)[0]]
        return Batch(images=input_images(images, self.preparation, self.image_size))

    def _read(self, position: int) -> np.ndarray:
        path = self.paths[position]
        try:
            return read_image(path)
        except FashionTransferError as error:
            self.errors[position] = str(error).removeprefix(f"{path}: ")
            return np.zeros((1, self.image_size, self.image_size), np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the picture is whole, only what a camera wrote beside it is not
        return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    # Pillow clips deeper greys to white; what people mean is the same picture in 256 steps.
    pixels = np.asarray(image, dtype=np.float64)
    if image.mode.startswith("I") and pixels.min() >= 0 and pixels.max() < 2**16:
        top = 255.0 if pixels.max() < 256 else 65535.0
        return Image.fromarray(np.round(pixels * (255 / top)).astype(np.uint8))
    low, high = pixels.min(), pixels.max()
    scaled = (pixels - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(np.round(scaled).astype(np.uint8))
