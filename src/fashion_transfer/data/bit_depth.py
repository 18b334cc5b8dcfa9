"""Images of more than eight bits, brought to eight by the range that their file states."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

from fashion_transfer.errors import ArgumentError

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
MAX_SAMPLE_VALUE, S_MIN_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE = 281, 340, 341
"""Numbers of TIFF's tags."""

OTHER_BYTE = {"16L": "16B", "16B": "16L", "16N": "16B" if np.little_endian else "16L"}
"""Of Pillow's raw modes of colours with 16 bits, whose upper byte it takes: the one that takes the
lower byte."""


class GreyLevels(NamedTuple):
    """The values that are black and white in a grey image of more than eight bits.

    Attributes:
        black: becomes 0.
        white: becomes 255; it is below `black` in a negative.
        transparent: value of pixels that are not there, and become white; None: all are.
    """

    black: float
    white: float
    transparent: float | None = None

    def to_eight_bits(self, image: Image.Image) -> Image.Image:
        """The image in 256 steps, mode L."""
        values = np.asarray(image)
        span = self.white - self.black or 1.0
        scaled = (values.astype(np.float64) - self.black) * (255 / span)
        pixels = np.round(scaled).clip(0, 255).astype(np.uint8)
        if self.transparent is not None:
            pixels[values == self.transparent] = 255
        return Image.fromarray(pixels)


def strips(image: Image.Image, rows: int) -> Iterator[Image.Image]:
    """Yields the lines of a loaded image in their order, some rows at once, as images."""
    width, height = image.im.size
    for top in range(0, height, rows):
        yield image.crop((0, top, width, min(top + rows, height)))


def is_deep(image: Image.Image) -> bool:
    """Whether an image is grey and has more than eight bits, or floating-point values."""
    return image.mode == "F" or image.mode.startswith("I")


def stated_bits(image: Image.Image) -> int:
    """The bits of a value, of the 16 that it takes, that a PNG or TIFF file says it uses.

    To be called before the image is loaded.
    """
    if image.format == "PNG":
        return _significant_bits(image)
    bits = int(_tag(image, BITS_PER_SAMPLE) or 16)
    largest = _tag(image, MAX_SAMPLE_VALUE) or 0
    if 1 <= largest < 2**16:  # or the largest value that occurs, so that only its bits count
        bits = min(bits, int(largest).bit_length())
    return bits if 8 < bits < 16 else 16


def grey_levels(image: Image.Image, bits: int, rows: int) -> GreyLevels:
    """The black and the white of a deep grey image, by what its file says, else by its type.

    Values of 16 bits have a range. Those of 32 bits and floating-point ones have none, so that the
    darkest and the lightest pixel are black and white.

    Args:
        image: loaded, of a mode for which `is_deep` holds.
        bits: from `stated_bits`.
        rows: number of lines that are looked at together.

    Raises:
        ArgumentError: a value is not finite.
    """
    if image.mode.startswith("I;16"):
        used = 0
        for strip in strips(image, rows):
            used |= int(np.bitwise_or.reduce(np.asarray(strip), axis=None))
        largest = _largest(used, bits, image.format)
        transparent = image.info.get("transparency") if image.format == "PNG" else None
        if image.format == "TIFF" and _tag(image, PHOTOMETRIC) == 0:  # white is zero
            return GreyLevels(largest, 0)
        return GreyLevels(0, largest, transparent if isinstance(transparent, int) else None)
    low, high = np.inf, -np.inf
    for strip in strips(image, rows):
        values = np.asarray(strip)
        if not np.isfinite(values).all():
            raise ArgumentError(
                "image", "holds values that are not finite (NaN or infinity): replace them"
            )
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    black, white = _range(image, low, high)
    if image.format == "TIFF" and _tag(image, PHOTOMETRIC) == 0:
        black, white = white, black
    return GreyLevels(black, white)


def deep_colour(image: ImageFile.ImageFile, again: ImageFile.ImageFile, bits: int) -> None:
    """Loads a colour image of 16-bit values that use fewer bits, of which Pillow takes the upper 8.

    Args:
        image: opened, not loaded; it is left as it is if its values do fill 16 bits.
        again: the same file, opened once more.
        bits: from `stated_bits`.
    """
    for number, tile in enumerate(again.tile):
        whole = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        name, _, packing = str(whole[0]).partition(";")
        if name not in ("RGB", "RGBA", "RGBX") or packing not in OTHER_BYTE:
            return
        args = (f"{name};{OTHER_BYTE[packing]}", *whole[1:])
        again.tile[number] = tile._replace(args=args if isinstance(tile.args, tuple) else args[0])
    image.load()
    again.load()
    rows = max(1_000_000 // image.im.size[0], 1)
    used = 0
    for strip, lower in zip(strips(image, rows), strips(again, rows), strict=True):
        used |= int(np.bitwise_or.reduce(_join(strip, lower), axis=None))
    white = _largest(used, bits, image.format)
    if white == 2**16 - 1:
        return
    pairs = zip(strips(image, rows), strips(again, rows), strict=True)
    for number, (strip, lower) in enumerate(pairs):
        pixels = np.round(_join(strip, lower) * (255 / white)).astype(np.uint8)
        image.paste(Image.fromarray(pixels), (0, number * rows))


def _join(upper: Image.Image, lower: Image.Image) -> np.ndarray:
    """The values, uint16, (h, w, C), of which two images have the upper and the lower byte."""
    values: np.ndarray = (np.asarray(upper).astype(np.uint16) << 8) | np.asarray(lower)
    return values


def _largest(used: int, bits: int, format: str | None) -> int:
    """The value that is white, where the bits that any of the values has are `used`."""
    if used >= 2**bits:  # what the file says is not so
        return 2**16 - 1
    # PNG wants values shifted up, to fill 16 bits. Then the low bits of dark ones are zero; where
    # they are not, the file was written as they are.
    shifted = format == "PNG" and used & (2 ** (16 - bits) - 1) == 0
    return int(2**16 - 1 if shifted else 2**bits - 1)


def _range(image: Image.Image, low: float, high: float) -> tuple[float, float]:
    """Black and white of values of 32 bits, from `low` to `high`."""
    smallest, largest = (_tag(image, tag) for tag in (S_MIN_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE))
    smallest = smallest or 0.0
    if largest is not None and smallest <= low and high <= largest and smallest < largest:
        return smallest, largest
    if image.mode == "F" or low < 0 or high >= 2**16:
        return low, high
    if image.format == "TIFF" and _tag(image, BITS_PER_SAMPLE) == 16:  # with a sign
        return 0, 2**15 - 1
    # An image in memory may have been converted from eight bits.
    return 0, 255 if high < 256 and image.format is None else 2**16 - 1


def _tag(image: Image.Image, number: int) -> float | None:
    """The largest value of a tag of a TIFF file; None if it has none, or no number."""
    value = getattr(image, "tag_v2", {}).get(number)
    try:
        return max(map(float, value if isinstance(value, tuple) else (value,)))
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _significant_bits(image: Image.Image) -> int:
    """What a PNG file's chunk sBIT says."""
    file = getattr(image, "fp", None)
    if file is None:
        return 16
    place = file.tell()
    try:
        file.seek(8)
        while True:
            length, name = struct.unpack(">I4s", file.read(8))
            if name == b"IDAT":
                return 16
            if name == b"sBIT":
                bits = max(file.read(min(length, 4)), default=16)
                return bits if 8 < bits < 16 else 16
            file.seek(length + 4, 1)
    except struct.error:  # the file ends here
        return 16
    finally:
        file.seek(place)
