"""Geometry of composites: each item scaled, rotated and placed on a canvas, then merged."""

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F

from fashion_transfer.data.alignment import FOREGROUND
from fashion_transfer.synthetic.layouts import Layout, grid

MIN_VISIBLE = 0.6
"""Minimum fraction of an item's foreground that the items above it leave visible."""

ATTEMPTS = 16
"""Random positions tried to leave as much visible, before the items are placed side by side."""

WORN_SPREAD = 0.3
"""Fraction of its cell's free room in which an item of an outfit lies, about the middle."""

MIN_SAMPLED = 84
"""Items are sampled on a canvas of at least this many pixels a side, so that none aliases."""


def num_draws(items: int) -> int:
    """Returns how many uniform draws `place` needs for a composite of K items."""
    return 2 + 2 * items + 2 * items * (ATTEMPTS + 1)


def place(images: np.ndarray, plan: Layout, draws: np.ndarray) -> np.ndarray:
    """Places each item alone on the canvas.

    Args:
        images: uint8, (N, K, h, h).
        plan: where the items may lie.
        draws: float64, (N, P), uniform: mirroring, sizes, rotations, positions of each attempt.

    Returns:
        float32, (N, K, 2, S, S): pixel values 0 to 255, and how far the item covers each pixel,
        0 to 1.
    """
    count, canvas, half = len(plan.cells), plan.canvas, images.shape[-1] / 2
    mirror, size, turn, position = np.split(draws, np.cumsum([2, count, count]), 1)
    position = position.reshape(-1, ATTEMPTS + 1, count, 2)
    if plan.is_outfit:
        mirror = np.stack([mirror[:, 0], np.ones(len(mirror))], 1)  # left and right alone
        position = 0.5 + WORN_SPREAD * (position - 0.5)
    rotations = _rotations(np.radians(plan.rotation) * (2 * turn - 1))
    low, extent = _bounding_boxes(images, rotations)
    cells = np.array(plan.cells).reshape(count, 2, 2) * canvas
    cells = np.where(mirror[:, None, None] < 0.5, canvas - cells[:, ::-1], cells)
    fits = ((cells[:, :, 1] - cells[:, :, 0]) / extent).min(-1)
    scales = fits * (plan.size[0] + (plan.size[1] - plan.size[0]) * size)
    layers = np.empty((len(images), count, 2, canvas, canvas), np.float32)
    todo = np.arange(len(images))
    for attempt in range(ATTEMPTS + 1):
        if attempt == ATTEMPTS:  # side by side, sharing no pixel
            cells[todo] = np.round(np.array(grid(count)) * canvas).reshape(count, 2, 2)
        room = cells[todo, :, 1] - cells[todo, :, 0]
        scale = np.minimum(scales[todo], (room / extent[todo]).min(-1))[..., None]
        corner = cells[todo, :, 0] + (room - scale * extent[todo]) * position[todo, attempt]
        # Pixel p of the canvas shows the image at rotation⁻¹ ((p - corner) / scale + low).
        back = rotations[todo].swapaxes(-1, -2) / half
        offset = back @ (low[todo] - corner / scale)[..., None]
        matrices = np.concatenate([back / scale[..., None], offset], -1)
        layers[todo] = _warp(images[todo], matrices, canvas)
        todo = todo[(visible_fractions(layers[todo, :, 0]) < MIN_VISIBLE).any(1)]
        if not len(todo):
            break
    return layers


def _rotations(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, K, 2, 2) of angles (N, K) in radians."""
    entries = [np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)]
    return np.stack(entries, -1).reshape(*angles.shape, 2, 2)


def _bounding_boxes(images: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower corner and extent of each rotated foreground, (N, K, 2), pixels from the centre."""
    half = images.shape[-1] / 2
    points = rotations @ (np.indices(images.shape[2:])[::-1].reshape(2, -1) + 0.5 - half)
    masks = (images > FOREGROUND).reshape(*images.shape[:2], 1, -1)
    masks |= ~masks.any(-1, keepdims=True)  # a dark image has a box too, and is rejected later
    reach = np.abs(rotations).sum(-1)  # interpolation spreads a pixel by one to each side
    low = np.where(masks, points, np.inf).min(-1) - reach
    return low, np.where(masks, points, -np.inf).max(-1) + reach - low


def _warp(images: np.ndarray, matrices: np.ndarray, canvas: int) -> np.ndarray:
    """Returns what `place` does, of images (N, K, h, h) and maps from canvas to image.

    The maps are (N, K, 2, 3), from canvas pixels to image coordinates in [-1, 1].
    """
    factor = ceil(MIN_SAMPLED / canvas)
    steps = (np.arange(factor * canvas) + 0.5) / factor
    x, y, offset = np.moveaxis(matrices.reshape(-1, 2, 1, 3), -1, 0)
    # Elementwise: a matrix product may round differently in batches of another size.
    columns, rows = (x * steps + offset).astype(np.float32), (y * steps).astype(np.float32)
    positions = torch.from_numpy(columns[:, :, None] + rows[..., None]).movedim(1, -1)
    pixels = torch.from_numpy(images.reshape(-1, 1, *images.shape[2:])).float()
    # An item covers its edge pixels in part, by their brightness relative to the inner pixels
    # beside them. Else they would draw a dark line around it, which no single item has. Thin
    # parts have no inner pixels.
    item = F.pad(pixels, (1, 1, 1, 1)) > FOREGROUND
    inner = F.max_pool2d(1 - item.float(), 3, 1) == 0
    cover = (pixels / F.max_pool2d(pixels * inner, 3, 1, 1)).clamp(max=1)
    cover = torch.where(inner, 1, cover).where(pixels > FOREGROUND, 0)
    layers = F.grid_sample(torch.cat([pixels, cover], 1), positions, align_corners=False)
    layers = F.avg_pool2d(layers, factor) if factor > 1 else layers
    layers[:, 0].round_()
    warped: np.ndarray = layers.numpy()
    return warped.reshape(*images.shape[:2], *warped.shape[1:])


def flatten(layers: np.ndarray) -> np.ndarray:
    """Merges layers (N, K, 2, S, S) into images, uint8, (N, S, S).

    An item hides the items below it; the black around it does not.
    """
    picture = layers[:, 0, 0]
    for upper, cover in layers[:, 1:].transpose(1, 2, 0, 3, 4):
        over = np.minimum(upper + (1 - cover) * picture, 255)
        picture = np.where(cover > 0, over, np.maximum(picture, upper))
    flat: np.ndarray = np.rint(picture).astype(np.uint8)
    return flat


def visible_fractions(layers: np.ndarray) -> np.ndarray:
    """Returns the fraction of each item's foreground that no later layer covers: float64, (N, K).

    Args:
        layers: (N, K, S, S), the items one by one on a black canvas, lowest first.
    """
    masks = layers > FOREGROUND
    hidden = np.zeros_like(masks)
    for k in range(layers.shape[1] - 1, 0, -1):
        hidden[:, k - 1] = hidden[:, k] | masks[:, k]
    fractions: np.ndarray = (masks & ~hidden).sum((2, 3)) / np.maximum(masks.sum((2, 3)), 1)
    return fractions
