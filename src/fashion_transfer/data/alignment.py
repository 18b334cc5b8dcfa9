"""An item on black, aligned to how Fashion-MNIST shows it: upright, filling the image.

Needs only NumPy.
"""

from math import ceil

import numpy as np

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

BLACK_EDGE, SMALL_BLACK_EDGE = 0.5, 0.25
"""Fraction of the edge that is black where an item is on black, and of a small grey image's."""

BAR = 0.1
"""Lines of a bar hold at most this fraction of the fullest line's pixels: a clock, or noise."""

FULL_EDGE = 0.05
"""Fraction of the edge of a picture between black bars that may be black itself."""

SMALL = 112
"""Longest side of a small image, pixels; composites have at most 84."""

ANGLES = np.radians(sorted(range(-42, 43, 3), key=abs))
"""Rotations that are tried, the smallest first; from 45 degrees on, a box lies on another side."""


def is_on_black(image: np.ndarray) -> bool:
    """Whether an image shows an item on black.

    That is if at least half of its edge is black. A small grey image, as Fashion-MNIST's own and
    composites of them are, may show an item that reaches over its edges: then a quarter is enough.

    Args:
        image: uint8, (C, h, w).
    """
    minimum = SMALL_BLACK_EDGE if is_small_and_grey(image) else BLACK_EDGE
    return _black_edge(image) >= minimum


def is_on_white(image: np.ndarray) -> bool:
    """Whether at least half of an image's edge is white.

    Args:
        image: uint8, (C, h, w).
    """
    return _black_edge(255 - image) >= BLACK_EDGE


def is_small_and_grey(image: np.ndarray) -> bool:
    """Whether an image is as small and grey as Fashion-MNIST's own and composites of them.

    Args:
        image: uint8, (C, h, w).
    """
    return max(image.shape[1:]) <= SMALL and bool((image == image[:1]).all())


def without_black_bars(image: np.ndarray) -> np.ndarray:
    """A picture without the black bars or the black frame around it, as a screenshot has them.

    Args:
        image: uint8, (C, h, w).

    Returns:
        uint8, a view of the image; all of it if what is not black is no full rectangle.
    """
    if max(image.shape[1:]) <= SMALL or _black_edge(image) < BLACK_EDGE:
        return image
    foreground = image.max(axis=0) > FOREGROUND
    if not foreground.any():
        return image
    counts = [foreground.sum(axis=axis) for axis in (1, 0)]
    (top, bottom), (left, right) = (
        np.flatnonzero(count > BAR * count.max())[[0, -1]] + (0, 1) for count in counts
    )
    inside = image[:, top:bottom, left:right]
    return inside if _black_edge(inside) <= FULL_EDGE else image


def _black_edge(image: np.ndarray) -> float:
    """Fraction of an image's edge that is black."""
    brightest = image.max(axis=0)
    edges = brightest[0], brightest[-1], brightest[1:-1, 0], brightest[1:-1, -1]
    return float((np.concatenate(edges) <= FOREGROUND).mean())


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
