"""Views: augmented versions of an image, each a pure function of (view seed, image, number).

View 0 is the clean image. Because view k of image i is the same on every machine, in any order
and in any worker, what the frozen backbone says about it can be kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fashion_transfer.errors import FashionTransferError

FOREGROUND = 25
"""Pixels above this are an item, the others the black ground that it lies on."""

FILLS = 0.9
"""Fraction of an image's longer side from which what it shows fills it."""

MARGIN = 0.07
"""Of what is shown, that `frame` leaves around it: a pixel to each side of 28."""

SMALLER = 0.92
"""A turned box is taken if its area is at most this fraction of the upright one's."""

TURNS = np.radians(sorted(range(-42, 43, 3), key=abs))
"""The turns that are tried, the least first; from 45 degrees on, a box lies on its other side."""


FRAMING = 2
"""Version of `frame`: of kept features of what it framed."""


@dataclass(frozen=True)
class Augmentation:
    """How far a view may stray from its image, each uniformly to both sides.

    The defaults are the reference notebook's Keras `ImageDataGenerator`. As there, what comes in
    from outside the image repeats its edge.

    Attributes:
        rotation: degrees.
        shift: fraction of the image's size, each axis on its own.
        zoom: fraction, each axis on its own.
        shear: degrees. The notebook's `shear_range=0.1` reads as a fraction, but is this little.
        flip: probability of a horizontal flip.

    Raises:
        FashionTransferError: a value is negative, `flip` is over 1 or `zoom` is not under 1.
    """

    rotation: float = 10.0
    shift: float = 0.1
    zoom: float = 0.1
    shear: float = 0.1
    flip: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value = float(getattr(self, field.name))
            object.__setattr__(self, field.name, value)  # 10 and 10.0 are the same view
            if not value >= 0 or (field.name == "flip" and value > 1):
                raise FashionTransferError(
                    f"data.augmentation.{field.name} is {value}: it must not be negative"
                    + (", nor over 1" if field.name == "flip" else "")
                )
        if self.zoom >= 1:
            raise FashionTransferError(f"data.augmentation.zoom is {self.zoom}: it must be under 1")


def view_matrices(
    indices: Sequence[int] | np.ndarray,
    views: Sequence[int] | np.ndarray,
    augmentation: Augmentation,
    view_seed: int = 0,
) -> Tensor:
    """The affine maps of some views, from output to input coordinates.

    Args:
        indices: (B,) places of the images in the official training file.
        views: (B,) view numbers; 0 gives the identity.
        augmentation: the ranges to draw from.
        view_seed: with index and number, all that a view depends on.

    Returns:
        float32, (B, 2, 3), as `torch.nn.functional.affine_grid` takes them.
    """
    draws = np.stack([_draw(view_seed, i, k) for i, k in zip(indices, views, strict=True)])
    clean = np.asarray(views) == 0
    signed = draws[:, :6] * 2 - 1
    signed[clean] = 0
    angle = np.radians(augmentation.rotation) * signed[:, 0]
    shift = 2 * augmentation.shift * signed[:, 1:3]  # the image spans -1 to 1
    shear = np.radians(augmentation.shear) * signed[:, 3]
    zoom = 1 + augmentation.zoom * signed[:, 4:6]
    mirror = np.where((draws[:, 6] < augmentation.flip) & ~clean, -1.0, 1.0)

    # Keras's order: rotate · shift · shear · zoom, then the flip of the result.
    zeros, ones = np.zeros_like(angle), np.ones_like(angle)
    rotate = _matrices(np.cos(angle), -np.sin(angle), zeros, np.sin(angle), np.cos(angle), zeros)
    move = _matrices(ones, zeros, shift[:, 0], zeros, ones, shift[:, 1])
    skew = _matrices(ones, -np.sin(shear), zeros, zeros, np.cos(shear), zeros)
    scale = _matrices(zoom[:, 0] * mirror, zeros, zeros, zeros, zoom[:, 1], zeros)
    return torch.from_numpy((rotate @ move @ skew @ scale)[:, :2].astype(np.float32))


def render(images: Tensor, size: int, matrices: Tensor | None = None) -> Tensor:
    """Brings whole batches straight to the backbone's input size, bilinearly, in one step.

    Args:
        images: uint8, (B, h, w) grey or (B, C, h, w).
        size: output height and width in pixels.
        matrices: float32, (B, 2, 3) from `view_matrices`; none: clean images. A shrunk clean
            image is antialiased; a view samples the original pixels, which are fewer than `size`.

    Returns:
        float32, (B, C, size, size), in [0, 1].
    """
    if images.ndim == 3:
        images = images.unsqueeze(1)
    pixels = images.float() / 255
    if matrices is None:
        shape = [size, size]
        return F.interpolate(pixels, shape, mode="bilinear", antialias=True, align_corners=False)
    shape = [len(pixels), pixels.shape[1], size, size]
    grid = F.affine_grid(matrices, shape, align_corners=False)
    return F.grid_sample(pixels, grid, "bilinear", padding_mode="border", align_corners=False)


def frame(image: Tensor) -> Tensor:
    """Brings what lies on black ground to how training shows it: upright, and filling the image.

    In Fashion-MNIST an item stands upright and reaches two opposite edges: 99.9 % of its images
    stay as they are. What fills less than `FILLS` of an image's longer side is cut out, and turned
    by up to 45 degrees where the smallest box about it (Freeman & Shapira 1975) lies aslant.

    Args:
        image: uint8, (C, h, w).

    Returns:
        uint8: the image, or a square (C, s, s) about what it shows with a narrow black margin.
    """
    shown = image.amax(dim=0) > FOREGROUND
    rows, columns = shown.any(1).nonzero().flatten(), shown.any(0).nonzero().flatten()
    if not len(rows):
        return image
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    side = max(height, width)
    if side >= FILLS * max(shown.shape):
        return image
    if aslant := _smallest_box(shown):
        return _turned(image, *aslant)
    side += round(MARGIN * side)
    square = image.new_zeros(len(image), side, side)
    # The margin holds what is there, as dim as it is, and black beyond the image.
    top, left = top - (side - height) // 2, left - (side - width) // 2
    part = image[:, max(top, 0) : top + side, max(left, 0) : left + side]
    down, right = max(-top, 0), max(-left, 0)
    square[:, down : down + part.shape[1], right : right + part.shape[2]] = part
    return square


def _smallest_box(shown: Tensor) -> tuple[float, np.ndarray, float] | None:
    """Turn, centre and longer side of the smallest box; None where it is hardly a smaller one."""
    rows = shown.any(1).nonzero().flatten()
    lines = shown[rows].byte()
    # A box touches no more than the ends of each row, at the corners of their pixels.
    ends = torch.stack([lines.argmax(1), shown.shape[1] - lines.flip(1).argmax(1)]).numpy()
    points = np.concatenate([np.stack([e, rows + y]) for e in ends for y in (0, 1)], 1)
    along = np.stack([np.cos(TURNS), np.sin(TURNS)], 1)
    across = np.stack([-np.sin(TURNS), np.cos(TURNS)], 1)
    places = np.stack([along @ points, across @ points])  # axis, turn, point
    low, high = places.min(2), places.max(2)
    areas = (high - low).prod(0)
    best = int(areas.argmin())
    if areas[best] > SMALLER * areas[0]:
        return None
    return TURNS[best], (low + high)[:, best] / 2, float((high - low)[:, best].max())


def _turned(image: Tensor, turn: float, centre: np.ndarray, side: float) -> Tensor:
    """The square about a box as `_smallest_box` gives it, upright, black beyond the image."""
    side *= 1 + MARGIN
    count = ceil(side)
    steps = ((np.arange(count) + 0.5) / count - 0.5) * side
    x, y = np.meshgrid(centre[0] + steps, centre[1] + steps)
    cos, sin = np.cos(turn), np.sin(turn)
    places = np.stack([x * cos - y * sin, x * sin + y * cos], -1)
    height, width = image.shape[1:]
    grid = torch.from_numpy(2 * places / [width, height] - 1).float()
    return F.grid_sample(image[None].float(), grid[None], align_corners=False)[0].round().byte()


def _draw(view_seed: int, index: int, view: int) -> np.ndarray:
    # Counter-based (Salmon et al. 2011): no state to carry from one view to the next.
    key = np.array([view_seed, view], dtype=np.uint64)
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key)).random(7)


def _matrices(*entries: np.ndarray) -> np.ndarray:
    rows = np.stack(entries, axis=-1).reshape(-1, 2, 3)
    last = np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(rows), 1, 3))
    return np.concatenate([rows, last], axis=1)
