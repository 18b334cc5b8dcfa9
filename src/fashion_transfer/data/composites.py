"""Composites: images of several items, each a pure function of (images, seed, layout, number).

A classifier trained on some learns to be unsure of them (outlier exposure: Hendrycks et al. 2019,
"Deep anomaly detection with outlier exposure"). A detector of canvas size or sharpness is no
detector of items, so every composite has its control: one of its items, alone, as it lay there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F

from fashion_transfer.data.views import FOREGROUND
from fashion_transfer.errors import FashionTransferError

VISIBLE = 0.6  # the least fraction of an item's foreground that those upon it leave in sight
TRIES = 16  # at positions that leave as much in sight, before items are moved apart
FINE = 84  # items are sampled on a canvas at least this large, so that small ones do not alias
CHUNK = 64  # composites at a time, to bound memory


def _grid(columns: int, rows: int = 1) -> tuple[tuple[float, ...], ...]:
    return tuple(
        (x / columns, y / rows, (x + 1) / columns, (y + 1) / rows)
        for y, x in np.ndindex(rows, columns)
    )


@dataclass(frozen=True)
class Layout:
    """How the items of a composite lie.

    Attributes:
        canvas: height and width of the composite in pixels.
        cells: where each item may lie, lowest item first: (left, top, right, bottom) in fractions
            of the canvas, all mirrored at random, each axis on its own. Items overlap where their
            cells do: `_grid(1) * K` gives each the whole canvas, and scatters them.
        classes: the items are of "different" classes, of the "same", or of "any".
        size: range of an item's size, as a fraction of the largest that fits its cell. It lies
            anywhere in the cell that leaves it whole.
        rotation: of each item, uniformly up to so many degrees to both sides.
    """

    canvas: int
    cells: tuple[tuple[float, ...], ...]
    classes: Literal["different", "same", "any"]
    size: tuple[float, float] = (0.75, 1.0)
    rotation: float = 10.0


LAYOUTS: dict[str, Layout] = {
    "side_by_side": Layout(28, _grid(2), "different"),
    "stacked": Layout(42, _grid(1, 2), "different"),
    "overlapping": Layout(28, _grid(1) * 2, "different", (0.55, 0.75), 15),
    "same_side_by_side": Layout(42, _grid(2), "same"),
    "same_overlapping": Layout(56, _grid(1) * 2, "same", (0.55, 0.75), 15),
    "triangle": Layout(42, ((0.25, 0, 0.75, 0.5), *_grid(2, 2)[2:]), "any"),
    "square_of_four": Layout(28, _grid(2, 2), "any", (0.8, 1.0)),
    "scatter_of_two": Layout(42, _grid(1) * 2, "any", (0.45, 0.7), 20),
    "scatter_of_three": Layout(56, _grid(1) * 3, "any", (0.35, 0.55), 20),
    "scatter_of_four": Layout(84, _grid(1) * 4, "any", (0.25, 0.5), 20),
    "diagonal": Layout(42, _grid(2, 2)[::3], "different", (0.85, 1.0)),
    "same_stacked": Layout(28, _grid(1, 2), "same"),
    "crossed": Layout(84, _grid(1) * 2, "different", (0.55, 0.75), 40),
    "unequal": Layout(56, ((0, 0, 0.625, 1), (0.625, 0.5, 1, 1)), "different", (0.85, 1.0)),
    "row_of_three": Layout(84, _grid(3), "different"),
    "quincunx": Layout(84, _grid(3, 3)[::2], "any", (0.8, 1.0)),
}
"""Every layout by name. Its composites are drawn from the name: a new layout changes no other."""

HELD_OUT_LAYOUTS = ("diagonal", "same_stacked", "crossed", "unequal", "row_of_three", "quincunx")
"""Only measured on: whether what was learned carries over to arrangements never trained on."""

TRAINED_LAYOUTS = tuple(name for name in LAYOUTS if name not in HELD_OUT_LAYOUTS)


class Composites(NamedTuple):
    """N composites of one layout, of K items each, or their controls, of one.

    Attributes:
        pixels: uint8, (N, S, S), S the layout's canvas, on black.
        items: int64, (N, K), which of the images each holds, lowest first; controls: (N, 1).
        labels: int64, the items' labels, in the same shape.
        visible: float64, the fraction of each item in sight, `VISIBLE` to 1, in the same shape.
    """

    pixels: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    visible: np.ndarray


def compose(
    images: np.ndarray,
    labels: np.ndarray,
    layout: str,
    which: Sequence[int] | np.ndarray,
    seed: int = 0,
    control: bool = False,
) -> Composites:
    """Puts several items on one canvas, no image twice, every class as likely as another.

    Args:
        images: uint8, (M, h, h), items on black.
        labels: whole numbers, (M,), their classes.
        layout: a name in `LAYOUTS`.
        which: (N,) numbers of the composites, from 0. What else is asked for changes none.
        seed: of all draws, from 0.
        control: of each composite one item alone, drawn at random, whole, and pixel for pixel
            where and as it lies in the composite.

    Raises:
        FashionTransferError: an unknown layout, a wrong type or shape, a negative number, too few
            classes or images, or an image too dark to be seen.
    """
    numbers = np.asarray(which)
    if problem := _problem(images, labels, layout, numbers):
        raise FashionTransferError(problem)
    plan = LAYOUTS[layout]
    count = len(plan.cells)
    pixels = np.empty((len(numbers), plan.canvas, plan.canvas), np.uint8)
    items = np.empty((len(numbers), 1 if control else count), np.int64)
    visible = np.empty(items.shape)
    for start in range(0, len(numbers), CHUNK):
        part = slice(start, start + CHUNK)
        chosen, slots, geometry = _drawn(labels, layout, numbers[part], seed)
        layers = _lay(images[chosen], plan, geometry)
        dark = chosen[visible_fractions(layers[:, :, 0]) < VISIBLE]
        if len(dark):
            raise FashionTransferError(f"image {dark[0]} is too dark to be seen: leave it out")
        if control:
            rows = np.arange(len(chosen))[:, None]
            chosen, layers = chosen[rows, slots], layers[rows, slots]
        items[part], pixels[part] = chosen, _stack(layers)
        visible[part] = visible_fractions(layers[:, :, 0])
    return Composites(pixels, items, labels[items].astype(np.int64), visible)


def composite_items(
    labels: np.ndarray, layout: str, which: Sequence[int] | np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Which items `compose` would choose, without composing: int64, (N, K), and of controls (N, 1).

    Args:
        labels: as of `compose`, as are the others.
        layout: a name in `LAYOUTS`.
        which: (N,) numbers.
        seed: of all draws.
    """
    items, slots, _ = _drawn(labels, layout, np.asarray(which), seed)
    return items, np.take_along_axis(items, slots, 1)


def visible_fractions(layers: np.ndarray) -> np.ndarray:
    """Fraction of each foreground in sight, (N, K), of (N, K, S, S) lone items, lowest first."""
    masks = layers > FOREGROUND
    hidden = np.zeros_like(masks)
    for k in range(layers.shape[1] - 1, 0, -1):
        hidden[:, k - 1] = hidden[:, k] | masks[:, k]
    return (masks & ~hidden).sum((2, 3)) / np.maximum(masks.sum((2, 3)), 1)


def _problem(images: np.ndarray, labels: np.ndarray, layout: str, numbers: np.ndarray) -> str:
    if layout not in LAYOUTS:
        return f"layout is {layout!r}: it must be one of {', '.join(LAYOUTS)}"
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1] != images.shape[2]:
        return f"images are {images.dtype} of shape {images.shape}: they must be uint8, (M, h, h)"
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        return f"labels are {labels.dtype} of shape {labels.shape}: give each image a whole number"
    if numbers.ndim != 1 or (len(numbers) and (numbers.dtype.kind not in "iu" or min(numbers) < 0)):
        return f"which is {numbers.tolist()!s:.60}: it must be a list of whole numbers from 0"
    counts, items = np.unique(labels, return_counts=True)[1], len(LAYOUTS[layout].cells)
    classes = items if LAYOUTS[layout].classes == "different" else 1
    if len(counts) < classes or min(counts) < items:
        found = f"there are {len(counts)} classes, of {counts.tolist()!s:.60} images"
        return f"{found}: give layout {layout!r} at least {classes}, of {items} images each"
    return ""


def _drawn(
    labels: np.ndarray, layout: str, numbers: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items of each composite (N, K), place among them of its control (N, 1), geometry's draws."""
    plan, classes = LAYOUTS[layout], len(np.unique(labels))
    count = len(plan.cells)
    # The classes' draws are last: how many classes there are moves no other.
    lengths = 1, 2 + 2 * count + 2 * count * (TRIES + 1), 1 + count + max(classes, count)
    draws = np.stack([_draw(seed, layout, i, sum(lengths)) for i in numbers])
    slot, geometry, choice = np.split(draws, np.cumsum(lengths[:2]), 1)
    return _choose(labels, plan, choice), (slot * count).astype(int), geometry


def _draw(seed: int, layout: str, number: int, length: int) -> np.ndarray:
    # Counter-based, as the draws of views are.
    philox = np.random.Philox(counter=[0, 0, 0, number], key=[seed, crc32(layout.encode())])
    return np.random.Generator(philox).random(length)


def _choose(labels: np.ndarray, plan: Layout, draws: np.ndarray) -> np.ndarray:
    """Positions in `labels` of the items of each composite: int64, (N, K)."""
    counts, slots = np.unique(labels, return_counts=True)[1], np.arange(len(plan.cells))
    shift, pick, keys = np.split(draws, [1, 1 + len(slots)], 1)
    order = keys.argsort(1) if plan.classes == "different" else (keys * len(counts)).astype(int)
    classes = order[:, 0 * slots if plan.classes == "same" else slots]
    # Each slot takes from its own part of a class, so that no image comes twice.
    part = (slots + (shift * len(slots)).astype(int)) % len(slots)
    first, last = (counts[classes] * (part + more) // len(slots) for more in (0, 1))
    places = (np.cumsum(counts) - counts)[classes] + first + (pick * (last - first)).astype(int)
    return np.argsort(labels, kind="stable")[places]


def _lay(images: np.ndarray, plan: Layout, draws: np.ndarray) -> np.ndarray:
    """Each item alone on the canvas, and how far it covers each pixel: float32, (N, K, 2, S, S)."""
    count, canvas, half = len(plan.cells), plan.canvas, images.shape[-1] / 2
    mirror, size, turn, place = np.split(draws, np.cumsum([2, count, count]), 1)
    place = place.reshape(-1, TRIES + 1, count, 2)
    angle = np.radians(plan.rotation) * (2 * turn - 1)
    turns = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1)
    turns = turns.reshape(-1, count, 2, 2)
    # The box about each turned foreground, in pixels of the image from its centre.
    points = turns @ (np.indices(images.shape[2:])[::-1].reshape(2, -1) + 0.5 - half)
    masks = (images > FOREGROUND).reshape(*images.shape[:2], 1, -1)
    masks |= ~masks.any(-1, keepdims=True)  # a blank image has a box too, and is refused later
    reach = np.abs(turns).sum(-1)  # interpolation spreads a pixel by one to each side
    low = np.where(masks, points, np.inf).min(-1) - reach
    extent = np.where(masks, points, -np.inf).max(-1) + reach - low
    cells = np.array(plan.cells).reshape(count, 2, 2) * canvas
    cells = np.where(mirror[:, None, None] < 0.5, canvas - cells[:, ::-1], cells)
    fits = ((cells[:, :, 1] - cells[:, :, 0]) / extent).min(-1)
    scales = fits * (plan.size[0] + (plan.size[1] - plan.size[0]) * size)
    layers = np.empty((len(images), count, 2, canvas, canvas), np.float32)
    todo = np.arange(len(images))
    for attempt in range(TRIES + 1):
        if attempt == TRIES:  # side by side, no pixel shared
            cells[todo] = np.round(np.array(_grid(count)) * canvas).reshape(count, 2, 2)
        room = cells[todo, :, 1] - cells[todo, :, 0]
        scale = np.minimum(scales[todo], (room / extent[todo]).min(-1))[..., None]
        corner = cells[todo, :, 0] + (room - scale * extent[todo]) * place[todo, attempt]
        # Pixel p of the canvas shows the image at turn⁻¹ ((p - corner) / scale + low).
        back = turns[todo].swapaxes(-1, -2) / half
        shift = back @ (low[todo] - corner / scale)[..., None]
        matrices = np.concatenate([back / scale[..., None], shift], -1)
        layers[todo] = _warp(images[todo], matrices, canvas)
        todo = todo[(visible_fractions(layers[todo, :, 0]) < VISIBLE).any(1)]
        if not len(todo):
            break
    return layers


def _warp(images: np.ndarray, matrices: np.ndarray, canvas: int) -> np.ndarray:
    """What `_lay` returns, of (N, K, h, h) and (N, K, 2, 3), the maps from canvas to image."""
    fine = ceil(FINE / canvas)
    steps = (np.arange(fine * canvas) + 0.5) / fine
    x, y, shift = np.moveaxis(matrices.reshape(-1, 2, 1, 3), -1, 0)
    # Elementwise: a product of matrices may round by the size of its batch.
    right, down = (x * steps + shift).astype(np.float32), (y * steps).astype(np.float32)
    grid = torch.from_numpy(right[:, :, None] + down[..., None]).movedim(1, -1)
    pixels = torch.from_numpy(images.reshape(-1, 1, *images.shape[2:])).float()
    # An item covers its edge pixels in part, as bright as they are beside its inner ones: else
    # they would draw a dark line about it that no single item has. Thin parts have no inner ones.
    item = F.pad(pixels, (1, 1, 1, 1)) > FOREGROUND
    inner = F.max_pool2d(1 - item.float(), 3, 1) == 0
    cover = (pixels / F.max_pool2d(pixels * inner, 3, 1, 1)).clamp(max=1)
    cover = torch.where(inner, 1, cover).where(pixels > FOREGROUND, 0)
    found = F.grid_sample(torch.cat([pixels, cover], 1), grid, align_corners=False)
    found = F.avg_pool2d(found, fine) if fine > 1 else found
    found[:, 0].round_()
    return found.unflatten(0, images.shape[:2]).numpy()


def _stack(layers: np.ndarray) -> np.ndarray:
    """One picture, uint8, (N, S, S): an upper item hides a lower one, its ground does not."""
    picture = layers[:, 0, 0]
    for upper, cover in layers[:, 1:].transpose(1, 2, 0, 3, 4):
        over = np.minimum(upper + (1 - cover) * picture, 255)
        picture = np.where(cover > 0, over, np.maximum(picture, upper))
    return np.rint(picture).astype(np.uint8)
