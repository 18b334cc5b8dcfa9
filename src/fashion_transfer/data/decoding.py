"""Images as people have them, decoded: files, PIL images and arrays."""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from fashion_transfer.data.bit_depth import (
    deep_colour,
    grey_levels,
    is_deep,
    stated_bits,
    strips,
)
from fashion_transfer.errors import ArgumentError, FashionTransferError

ImageLike = str | Path | Image.Image | np.ndarray
"""An image as people have it: a file, a PIL image or an array of pixels."""

ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""The formats that are read, and their file endings. The content counts, whatever the ending.

Pillow knows many more, among them documents, films and measurements, which are no photo.
"""

MAX_PIXELS = {"WEBP": 100_000_000, "AVIF": 160_000_000, "HEIF": 210_000_000}
"""Pixels of the largest image by format: those whose decoders need several copies of it."""

MAX_PIXELS_ELSE = 250_000_000
"""Pixels of the largest image of every other format. Phones take 200 megapixels."""

MAX_SIDE = 500_000
"""Pixels of the longest side that is read: millions of lines take memory of their own."""

SHORT_SIDE = 640
"""Pixels that the shorter side of a reduced image has at least.

Twice what the cut-out net looks at (320), and more than that of the backbone (224): no net sees
the difference to the whole image, and all that comes after decoding takes a fraction of the time.
"""

LONG_SIDE = 8192
"""Pixels that the longer side has at most, however short the other: a strip is padded square."""

STRIP = 4_000_000
"""Pixels that are converted at once, so that no second copy of a large image is needed."""

ROTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to see an image upright, by EXIF's number for how the camera was held."""

_lock = threading.Lock()
_reading = 0
_pillows_limits: tuple[int | None, int] = (None, 0)


def image_endings() -> set[str]:
    """The file endings of images, in lower case: `.png` and others."""
    return {ending for endings in ENDINGS.values() for ending in endings}


def decoder_versions() -> str:
    """The libraries that decode here, with their versions: others may give other pixels."""
    try:
        return f"Pillow {PIL.__version__}, pillow-heif {metadata.version('pillow-heif')}"
    except metadata.PackageNotFoundError:
        return f"Pillow {PIL.__version__}"


def read_image(path: str | Path) -> np.ndarray:
    """Reads one image file as the person who took it sees it.

    A phone's rotation is applied and transparency is put on white. Grey stays grey. A photo whose
    shorter side has twice `SHORT_SIDE` pixels or more is reduced by a whole number.

    Returns:
        uint8, (1, h, w) if the file is grey, else (3, h, w).

    Raises:
        FashionTransferError: the file cannot be read as an image.
    """
    try:
        with _without_pillows_limits(), _open(path) as file:
            if file.format in ("JPEG", "MPO"):  # decodes a half, a quarter or an eighth at once
                file.draft(None, (SHORT_SIDE, SHORT_SIDE))
            orientation = _take_orientation(file)
            bits = stated_bits(file)
            if bits < 16 and file.mode.startswith("RGB"):
                with _open(path) as again:
                    deep_colour(file, again, bits)
            return _decode(file, bits, orientation)
    except FileNotFoundError:
        raise FashionTransferError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise FashionTransferError(f"{path}: {_unidentified(path)}") from None
    except ArgumentError as error:
        raise FashionTransferError(f"{path}: {error.message}") from None
    except Exception as error:  # Pillow's decoders raise errors of any type on damaged files
        text = str(getattr(error, "strerror", None) or error).strip()
        reason = (text.splitlines() or [type(error).__name__])[0]
        raise FashionTransferError(f"{path}: cannot be read ({reason})") from error


def decode(image: Image.Image) -> np.ndarray:
    """The pixels of an image as `read_image` gives them: uint8, (1 or 3, h, w).

    Raises:
        ArgumentError: the image holds values that are no number.
    """
    return _decode(image, stated_bits(image))


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


def _open(path: str | Path) -> ImageFile.ImageFile:
    """An image file that is opened and not decoded."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise ArgumentError("image", "a folder, not an image")
    if not stat.S_ISREG(mode):  # opening a pipe would wait for whoever writes into it
        raise ArgumentError("image", "not a file that can be read: save it as one")
    names = [name for name in ENDINGS if name != "HEIF"]
    if _is_heif(path) and _register_heif():
        names.append("HEIF")
    image = Image.open(path, formats=names)
    problem = _too_large(image.format or "", *image.size)
    if problem:
        image.close()
        raise ArgumentError("image", f"{problem}: save it smaller")
    return image


def _too_large(format: str, width: int, height: int) -> str:
    limit = MAX_PIXELS.get(format, MAX_PIXELS_ELSE)
    if width * height > limit:
        return (
            f"{width} x {height} are {width * height / 1e6:.0f} megapixels, and {format} files are "
            f"read up to {limit / 1e6:.0f}"
        )
    if max(width, height) > MAX_SIDE:
        return f"{width} x {height}, and images are read up to {MAX_SIDE} pixels a side"
    return ""


def _is_heif(path: str | Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and not start.startswith(b"avi", 8)


def _register_heif() -> bool:
    """Whether HEIC photos can be opened here, with the extra `heic`."""
    try:
        import pillow_heif  # slow to import, and few need it
    except ImportError:
        return False
    with _lock:
        if "HEIF" not in Image.OPEN:
            pillow_heif.register_heif_opener()
    return True


def _unidentified(path: str | Path) -> str:
    ending = os.path.splitext(path)[1].lower()
    if (ending in ENDINGS["HEIF"] or _is_heif(path)) and not _register_heif():
        return 'a HEIC photo, which needs an extra: run `pip install -e ".[heic]"`'
    return "not an image that can be read"


@contextmanager
def _without_pillows_limits() -> Iterator[None]:
    # Pillow warns of 89 megapixels and refuses twice that, which are photos; `MAX_PIXELS` is lower
    # than memory allows. It also refuses a PNG file with a megabyte of text, such as the settings
    # of a program that painted it. Its limits are of the whole process, hence the count of readers.
    global _reading, _pillows_limits
    with _lock:
        if _reading == 0:
            _pillows_limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
            Image.MAX_IMAGE_PIXELS = None
            PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
        _reading += 1
    try:
        yield
    finally:
        with _lock:
            _reading -= 1
            if _reading == 0:
                Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = _pillows_limits


def _decode(image: Image.Image, bits: int, orientation: int | None = None) -> np.ndarray:
    image.load()
    full_width, full_height = image.im.size  # of the pixels: see _take_orientation
    step = _reduction((full_width, full_height))
    width, height = -(-full_width // step), -(-full_height // step)
    rows = max(STRIP // (full_width * step), 1) * step
    levels = grey_levels(image, bits, rows) if is_deep(image) else None
    grey = is_deep(image) or image.mode in ("1", "L", "LA", "La")
    pixels = np.empty((height, width, 1 if grey else 3), np.uint8)
    top = 0
    for strip in strips(image, rows):
        if levels is not None:
            strip = levels.to_eight_bits(strip)
        strip = _on_white(strip).convert("L" if grey else "RGB")
        reduced = np.asarray(strip.reduce(step) if step > 1 else strip)
        part = pixels[top : top + len(reduced)]
        part[:] = reduced.reshape(part.shape)
        top += len(reduced)
    method = ROTATIONS.get(_orientation(image) if orientation is None else orientation)
    if method is not None:
        upright = Image.fromarray(pixels[..., 0] if grey else pixels).transpose(method)
        pixels = np.asarray(upright).reshape(upright.height, upright.width, -1)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _reduction(size: tuple[int, int]) -> int:
    """The whole number by which an image of a size is reduced."""
    return max(min(size) // SHORT_SIDE, -(-max(size) // LONG_SIDE), 1)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # which Pillow converts to nothing else
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _take_orientation(file: ImageFile.ImageFile) -> int | None:
    """The rotation of a TIFF file, which Pillow then no longer applies; None of other formats.

    Pillow would rotate the whole image while it loads it, in a second copy.
    """
    if file.format != "TIFF":
        return None
    orientation = _orientation(file)
    file.getexif().pop(ExifTags.Base.Orientation, None)
    return orientation


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # the picture is whole, only what a camera wrote beside it is not
        return 1
