"""The one way from a decoded image to what the backbone sees, wherever it comes from.

Training, evaluation, prediction and notebook all call the same object; the checkpoint names it.
Needs only NumPy. Resizing to the backbone's input comes after it (`augmentation.render`).
"""

from math import ceil
from typing import Protocol

import numpy as np

from fashion_transfer.errors import ArgumentError

FOREGROUND = 25
"""Pixel values above this belong to an item, the others to the black background."""

FILLED = 0.9
"""An item that takes at least this fraction of the image's longer side fills the image."""

BLACK = 0.1
"""Fraction of the background that is exactly black (0) in an image that was put on black."""

MARGIN = 0.07
"""Fraction of an item's longer side that is left around it: one pixel on each side of 28."""

SMALLER = 0.92
"""A rotated box is taken if its area is at most this fraction of the upright one's."""

PAD = (124, 116, 104)
"""Colour of what is added to a photo: ImageNet's mean, which the backbone takes for nothing."""

TOLERANCE = 12
"""Difference of a pixel from a plain border's colour, per channel, that compression explains."""

ANGLES = np.radians(sorted(range(-42, 43, 3), key=abs))
"""Rotations that are tried, the smallest first; from 45 degrees on, a box lies on another side."""


class Preparation(Protocol):
    """Turns a decoded image into what the backbone is to see, at any size.

    Attributes:
        name: in `PREPARATIONS` and in checkpoints.
        version: raised with every change of its output; part of the key of cached features.
    """

    name: str
    version: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The prepared image, uint8, (C', h', w'), of an image, uint8, (C, h, w)."""


class FashionMNISTPreparation:
    """Aligns an item on black to how Fashion-MNIST shows it: upright, filling the image.

    Fashion-MNIST's own images reach from edge to edge and stay as they are.
    """

    name = "fashion_mnist"
    version = 3

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """As `Preparation`; the result is square, or the image itself."""
        return align_foreground(image)


class PhotoPreparation:
    """Shows a photo whole and undistorted: plain borders cropped, padded to a square, in colour."""

    name = "photo"
    version = 2

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """As `Preparation`; the result is square, and grey images get three equal channels."""
        colour = image if len(image) == 3 else np.repeat(image[:1], 3, axis=0)
        return pad_to_square(crop_plain_borders(colour))


PREPARATIONS: dict[str, Preparation] = {
    preparation.name: preparation for preparation in (FashionMNISTPreparation(), PhotoPreparation())
}
"""Every preparation by the name that data sets and checkpoints use."""


def get_preparation(name: str) -> Preparation:
    """The preparation of a name in `PREPARATIONS`.

    Raises:
        ArgumentError: there is none of that name.
    """
    if name not in PREPARATIONS:
        raise ArgumentError(
            "preparation", f"must be one of {', '.join(PREPARATIONS)}, got {name!r}"
        )
    return PREPARATIONS[name]


def crop_plain_borders(image: np.ndarray) -> np.ndarray:
    """Crops borders of one colour, such as the bars of a screenshot or the ground of a collage.

    Args:
        image: uint8, (C, h, w).

    Returns:
        uint8, a view of the image; all of it if it is plain from edge to edge.
    """
    height, width = image.shape[1:]
    top, bottom = _plain_lines(image), height - _plain_lines(image[:, ::-1])
    if top >= bottom:
        return image
    sideways = image[:, top:bottom].swapaxes(1, 2)
    left, right = _plain_lines(sideways), width - _plain_lines(sideways[:, ::-1])
    return image[:, top:bottom, left:right]


def pad_to_square(image: np.ndarray) -> np.ndarray:
    """Centres an image, uint8, (C, h, w), on a square, (C, s, s), s = max(h, w), filled with `PAD`.

    Without it, resizing to the backbone's square input would stretch the image.
    """
    height, width = image.shape[1:]
    side = max(height, width)
    if height == width:
        return image
    square = np.empty((len(image), side, side), np.uint8)
    square[:] = np.array(PAD, np.uint8)[: len(image), None, None]
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = image
    return square


def _plain_lines(image: np.ndarray) -> int:
    """Number of lines, from the first on, whose pixels all have the colour of the first line."""
    colour = np.median(image[:, 0], axis=1).astype(np.int16)[:, None]
    count, lines = 0, 1
    while count < image.shape[1]:  # most photos have no border: look at one line, then at more
        block = image[:, count : count + lines].astype(np.int16)
        plain = (np.abs(block - colour[:, None]) <= TOLERANCE).all(axis=(0, 2))
        if not plain.all():
            return count + int(plain.argmin())
        count, lines = count + len(plain), 2 * lines
    return count


def align_foreground(image: np.ndarray) -> np.ndarray:
    """Crops an image to the item on its black background, upright.

    An image whose item fills `FILLED` of its longer side is returned as it is: it was taken of
    this one item. So is one whose dimmest pixels, where the background is exactly black,
    reach from one edge to the opposite one. Any other is cropped, and rotated by up to 45 degrees
    where the smallest box around the item (Freeman & Shapira 1975, "Determining the minimum-area
    encasing rectangle for an arbitrary closed curve") is rotated.

    Args:
        image: uint8, (C, h, w).

    Returns:
        uint8: the image, or a square (C, s, s) around the item with a narrow margin.
    """
    brightest = image.max(axis=0)
    foreground = brightest > FOREGROUND
    if not foreground.any():
        return image
    (top, bottom), (left, right) = _extent(foreground)
    height, width = bottom - top, right - left
    side = max(height, width)
    if side >= FILLED * max(foreground.shape):
        return image
    if np.mean(brightest[~foreground] == 0) >= BLACK and _spans(brightest > 0):
        return image
    box = _smallest_box(foreground)
    if box is not None:
        return _rotate(image, *box)
    side += round(MARGIN * side)
    square = np.zeros((len(image), side, side), np.uint8)
    # The margin shows what is there, however dim, and black beyond the image.
    top, left = top - (side - height) // 2, left - (side - width) // 2
    part = image[:, max(top, 0) : top + side, max(left, 0) : left + side]
    down, along = max(-top, 0), max(-left, 0)
    square[:, down : down + part.shape[1], along : along + part.shape[2]] = part
    return square


def _extent(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last + 1 position of a mask's true pixels, of rows and of columns."""
    lines = (np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1))
    return [(int(line[0]), int(line[-1]) + 1) for line in lines]


def _spans(mask: np.ndarray) -> bool:
    """Whether true pixels touch both edges of the longer side."""
    extent = _extent(mask)
    return any(
        end - start == length == max(mask.shape)
        for (start, end), length in zip(extent, mask.shape, strict=True)
    )


def _smallest_box(foreground: np.ndarray) -> tuple[float, np.ndarray, float] | None:
    """Rotation, centre and longer side of the smallest box; None if it is hardly smaller."""
    rows = np.flatnonzero(foreground.any(axis=1))
    lines = foreground[rows]
    # A box touches no more than the ends of each row, at the corners of their pixels.
    ends = np.stack([lines.argmax(1), foreground.shape[1] - lines[:, ::-1].argmax(1)])
    points = np.concatenate([np.stack([e, rows + y]) for e in ends for y in (0, 1)], 1)
    along = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)
    across = np.stack([-np.sin(ANGLES), np.cos(ANGLES)], 1)
    places = np.stack([along @ points, across @ points])  # (axis, angle, point)
    low, high = places.min(2), places.max(2)
    areas = (high - low).prod(0)
    best = int(areas.argmin())
    if areas[best] > SMALLER * areas[0]:
        return None
    return float(ANGLES[best]), (low + high)[:, best] / 2, float((high - low)[:, best].max())


def _rotate(image: np.ndarray, angle: float, centre: np.ndarray, side: float) -> np.ndarray:
    """The square around a box as `_smallest_box` gives it, upright, black beyond the image."""
    side *= 1 + MARGIN
    count = ceil(side)
    steps = ((np.arange(count) + 0.5) / count - 0.5) * side
    x, y = np.meshgrid(centre[0] + steps, centre[1] + steps)
    cos, sin = np.cos(angle), np.sin(angle)
    return _sample(image, x * cos - y * sin, x * sin + y * cos)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples, uint8, (C, h', w'), at coordinates in pixels, (h', w'); black outside.

    Rounds as `torch.nn.functional.grid_sample` does (float32, fused multiply-add), so that it
    makes no difference to cached features which of the two sampled an image.
    """
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1))).astype(np.float32)
    height, width = image.shape[1:]
    x, y = _to_pixels(x, width), _to_pixels(y, height)
    left, top = np.floor(x), np.floor(y)
    west, north = x - left, y - top
    east, south = 1 - west, 1 - north
    columns, rows = left.astype(np.int64) + 1, top.astype(np.int64) + 1

    def corner(down: int, along: int) -> np.ndarray:
        return padded[:, (rows + down).clip(0, height + 1), (columns + along).clip(0, width + 1)]

    sampled: np.ndarray = corner(0, 0) * (east * south)
    sampled = _multiply_add(corner(0, 1), west * south, sampled)
    sampled = _multiply_add(corner(1, 0), east * north, sampled)
    sampled = _multiply_add(corner(1, 1), west * north, sampled)
    pixels: np.ndarray = np.rint(sampled).astype(np.uint8)
    return pixels


def _to_pixels(coordinates: np.ndarray, size: int) -> np.ndarray:
    grid = (2 * coordinates / size - 1).astype(np.float32)  # -1 to 1, as grid_sample takes it
    return _multiply_add(grid + np.float32(1), np.float32(size / 2), np.float32(-0.5))


def _multiply_add(
    a: np.ndarray, b: np.ndarray | np.float32, c: np.ndarray | np.float32
) -> np.ndarray:
    """`a * b + c`, rounded once to float32: float64 holds the product of two float32 exactly."""
    return (a.astype(np.float64) * b + c).astype(np.float32)
