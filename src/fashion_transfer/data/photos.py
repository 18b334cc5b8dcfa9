"""Image files that people bring: found, read, and brought to the backbone's input size."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from fashion_transfer.data.views import frame, render
from fashion_transfer.errors import FashionTransferError


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """The image files that some paths stand for.

    A file is taken as it is, readable or not; a folder gives every image below it by its file
    ending, sorted, less hidden ones.

    Raises:
        FashionTransferError: no path was given, or a folder holds no image.
    """
    if not inputs or "" in inputs:
        raise FashionTransferError(
            "no image given: name files or folders, as in `python predict.py photo.jpg photos/`"
        )
    readable = Image.registered_extensions().items()
    endings = {ending for ending, kind in readable if kind in Image.OPEN}
    files: list[Path] = []
    for path in map(Path, inputs):
        if not path.is_dir():
            files.append(path)
            continue
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in endings
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        if not found:
            raise FashionTransferError(f"{path} holds no image file: name one that does")
        files += found
    return files


def read_image(path: str | Path) -> Tensor:
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
            image = _upright(file)
            if image.mode.startswith("I") or image.mode == "F":
                image = _to_eight_bits(image)
            grey = image.mode in ("1", "L", "LA", "La")
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            image = image.convert("L" if grey else "RGB")
    except FileNotFoundError:
        raise FashionTransferError(f"{path}: no such file") from None
    except Image.UnidentifiedImageError:
        raise FashionTransferError(f"{path}: not an image that can be read") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise FashionTransferError(f"{path}: cannot be read ({reason})") from error
    pixels = torch.from_numpy(np.array(image))
    return pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.permute(2, 0, 1)


class PhotoDataset(Dataset[dict[str, Tensor]]):
    """Image files of any size, framed and stretched to the backbone's input size, read when due.

    One bad file does not end a batch: it is a black image, and `errors` says so. Read it in the
    loading process (a DataLoader without workers), where `errors` is filled.

    Args:
        paths: the files, readable or not.
        image_size: height and width of the backbone's input, pixels.

    Attributes:
        errors: what was wrong with a file, by position; filled as files are read.
    """

    def __init__(self, paths: Sequence[Path], image_size: int) -> None:
        self.paths = paths
        self.image_size = image_size
        self.errors: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`images`, float32, (3, S, S), in [0, 1]."""
        try:
            image = read_image(self.paths[index])
        except FashionTransferError as error:
            self.errors[index] = str(error).removeprefix(f"{self.paths[index]}: ")
            return {"images": torch.zeros(3, self.image_size, self.image_size)}
        image = render(frame(image).unsqueeze(0), self.image_size)[0]
        return {"images": image.expand(3, -1, -1)}


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
