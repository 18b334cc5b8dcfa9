"""Views: augmented versions of an image, each a pure function of (view seed, image, number).

View 0 is the clean image. View k of image i is the same on every machine, in any order and in any
worker process, so its features can be cached.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import inf

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fashion_transfer.errors import ArgumentError


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random affine map of a view, each uniform to both sides.

    The default is the mirror image alone. The map is that of Keras's `ImageDataGenerator`, which
    the reference notebook used; as there, pixels from outside the image repeat its edge.

    Attributes:
        rotation: degrees.
        shift: fraction of the image's size, of each axis.
        zoom: fraction, of each axis.
        shear: degrees, as Keras's `shear_range`.
        flip: probability of a horizontal flip.

    Raises:
        ArgumentError: a value is no number from 0, `flip` is over 1 or `zoom` is not under 1.
    """

    rotation: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    flip: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or not 0 <= value < inf:
                raise ArgumentError(field.name, f"must be a number from 0, got {value!r}")
            object.__setattr__(self, field.name, float(value))  # 10 and 10.0 are the same view
        if self.flip > 1:
            raise ArgumentError("flip", f"must be a probability from 0 to 1, got {self.flip:g}")
        if self.zoom >= 1:
            raise ArgumentError("zoom", f"must be under 1, got {self.zoom:g}")


def view_matrices(
    rows: Sequence[int] | np.ndarray,
    views: Sequence[int] | np.ndarray,
    augmentation: Augmentation,
    view_seed: int = 0,
) -> Tensor:
    """The affine maps of views, from output to input coordinates.

    Args:
        rows: (B,) rows of the images in their source.
        views: (B,) view numbers; 0 gives the identity.
        augmentation: the ranges to draw from.
        view_seed: of the draws; a view depends on nothing else but its row and number.

    Returns:
        float32, (B, 2, 3), as `torch.nn.functional.affine_grid` takes them.
    """
    draws = np.stack([_draw(view_seed, i, k) for i, k in zip(rows, views, strict=True)])
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
    rotate = _affine(np.cos(angle), -np.sin(angle), zeros, np.sin(angle), np.cos(angle), zeros)
    move = _affine(ones, zeros, shift[:, 0], zeros, ones, shift[:, 1])
    skew = _affine(ones, -np.sin(shear), zeros, zeros, np.cos(shear), zeros)
    scale = _affine(zoom[:, 0] * mirror, zeros, zeros, zeros, zoom[:, 1], zeros)
    return torch.from_numpy((rotate @ move @ skew @ scale)[:, :2].astype(np.float32))


def render(images: Tensor, size: int, matrices: Tensor | None = None) -> Tensor:
    """Resizes a batch of images to the backbone's input, bilinearly, and augments them on the way.

    Args:
        images: uint8, (B, C, h, w).
        size: height and width of the output in pixels.
        matrices: float32, (B, 2, 3) from `view_matrices`; None: clean images. A clean image that
            shrinks is antialiased; a view samples the original pixels.

    Returns:
        float32, (B, C, size, size), in [0, 1].
    """
    pixels = images.float() / 255
    if matrices is None:
        shape = [size, size]
        return F.interpolate(pixels, shape, mode="bilinear", antialias=True, align_corners=False)
    shape = [len(pixels), pixels.shape[1], size, size]
    grid = F.affine_grid(matrices, shape, align_corners=False)
    return F.grid_sample(pixels, grid, "bilinear", padding_mode="border", align_corners=False)


def _draw(view_seed: int, row: int, view: int) -> np.ndarray:
    # Counter-based (Salmon et al. 2011): no state to carry from one view to the next.
    key = np.array([view_seed, view], dtype=np.uint64)
    counter = np.array([0, 0, 0, row], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key)).random(7)


def _affine(*entries: np.ndarray) -> np.ndarray:
    """Matrices (B, 3, 3) of their first six entries, row by row, each (B,)."""
    rows = np.stack(entries, axis=-1).reshape(-1, 2, 3)
    last = np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(rows), 1, 3))
    return np.concatenate([rows, last], axis=1)
