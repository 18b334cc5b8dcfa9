"""Composites, which are images of two to five items, and their controls, of one item.

Composite i of a layout is a pure function of (images, labels, seed, layout, i). Training on
composites teaches a classifier to be unsure of such images: outlier exposure (Hendrycks et al.
2019, "Deep anomaly detection with outlier exposure"). It could also learn to recognise the canvas
or the blur. The control of a composite rules that out: one of its items alone, as it lies there.
"""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic.layouts import LAYOUTS, Layout
from fashion_transfer.synthetic.placement import (
    MIN_VISIBLE,
    flatten,
    num_draws,
    place,
    visible_fractions,
)

VERSION = 1
"""Raised with every change of pixels; part of the fingerprint of what is composed."""

CHUNK = 64
"""Composites computed at a time, to bound memory."""


class TooFewImagesError(FashionTransferError):
    """There are too few classes, or images of one, to compose a layout."""


class Composites(NamedTuple):
    """N composites of K items each, all of one layout; or their controls, with K = 1.

    Attributes:
        pixels: uint8, (N, S, S), S the layout's canvas, items on black.
        items: int64, (N, K), positions of the items in the images given, lowest item first.
        labels: int64, (N, K), the items' class labels.
        visible: float64, (N, K), fraction of each item that is visible, `MIN_VISIBLE` to 1.
    """

    pixels: np.ndarray
    items: np.ndarray
    labels: np.ndarray
    visible: np.ndarray


def compose(
    images: np.ndarray,
    labels: np.ndarray,
    layout: str,
    numbers: Sequence[int] | np.ndarray,
    seed: int = 0,
    control: bool = False,
    rows: np.ndarray | None = None,
) -> Composites:
    """Composes images of several items.

    No item occurs twice in an image, and every class is equally likely; in outfits, every class of
    an item's role.

    Args:
        images: uint8, (M, h, h), one item on black each.
        labels: integers, (M,), class labels.
        layout: name in `LAYOUTS`.
        numbers: (N,), numbers of the composites, from 0. Composite i is the same in any list.
        seed: of all draws, from 0.
        control: give the control of each composite instead: one of its items, drawn at random
            from `Layout.control_cells`, alone and whole, pixel for pixel where and as it lies in
            the composite.
        rows: (M,), numbers that errors name the images by; None: their positions.

    Raises:
        ArgumentError: an unknown layout, a wrong type or shape, or a negative number.
        TooFewImagesError: too few classes or images per class.
        FashionTransferError: an image that is too dark to be visible.
    """
    numbers = np.asarray(numbers)
    check_layout(layout)
    _check_arrays(images, labels, numbers, seed)
    check_labels(labels, layout)
    plan = LAYOUTS[layout]
    pixels = np.empty((len(numbers), plan.canvas, plan.canvas), np.uint8)
    items = np.empty((len(numbers), 1 if control else len(plan.cells)), np.int64)
    visible = np.empty(items.shape)
    for start in range(0, len(numbers), CHUNK):
        chunk = slice(start, start + CHUNK)
        chosen, slots, draws = _draw_composites(labels, layout, numbers[chunk], seed)
        layers = place(images[chosen], plan, draws)
        dark = chosen[visible_fractions(layers[:, :, 0]) < MIN_VISIBLE]
        if len(dark):
            number = dark[0] if rows is None else rows[dark[0]]
            raise FashionTransferError(
                f"image {number}, counted from 0, with the label {labels[dark[0]]} is too dark to "
                "be visible in a composite: use another, or no synthetic ones"
            )
        if control:
            at = np.arange(len(chosen))[:, None]
            chosen, layers = chosen[at, slots], layers[at, slots]
        items[chunk], pixels[chunk] = chosen, flatten(layers)
        visible[chunk] = visible_fractions(layers[:, :, 0])
    return Composites(pixels, items, labels[items].astype(np.int64), visible)


def composite_items(
    labels: np.ndarray, layout: str, numbers: Sequence[int] | np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the items that `compose` would choose, without composing.

    Args:
        labels: as for `compose`, like the others.
        layout: name in `LAYOUTS`.
        numbers: (N,).
        seed: of all draws.

    Returns:
        Positions in `labels`, int64: the K items of each composite, (N, K), and the one item of
        its control, (N, 1).
    """
    items, slots, _ = _draw_composites(labels, layout, np.asarray(numbers), seed)
    return items, np.take_along_axis(items, slots, 1)


def check_layout(layout: str) -> None:
    """Checks that a layout exists.

    Raises:
        ArgumentError: there is no layout of that name.
    """
    if layout not in LAYOUTS:
        raise ArgumentError("layout", f"must be one of {', '.join(LAYOUTS)}, got {layout!r}")


def check_labels(labels: np.ndarray, layout: str) -> None:
    """Checks that there are enough classes, and images per class, to compose a layout.

    Raises:
        TooFewImagesError: there are not.
    """
    counts, items = np.unique(labels, return_counts=True)[1], len(LAYOUTS[layout].cells)
    different = LAYOUTS[layout].classes == "different"
    classes, of_class = (items, 1) if different else (1, items)
    if len(counts) < classes or min(counts) < of_class:
        raise TooFewImagesError(
            f"layout {layout!r} needs {classes} or more classes with at least {of_class} "
            f"image{'s' * (of_class > 1)} each, got {len(counts)} with {counts.tolist()!s:.60} "
            "images: give more images"
        )


def _check_arrays(images: np.ndarray, labels: np.ndarray, numbers: np.ndarray, seed: int) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1] != images.shape[2]:
        got = f"{images.dtype} of shape {images.shape}"
        raise ArgumentError("images", f"must be uint8 of shape (M, h, h), got {got}")
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
        got = f"{labels.dtype} of shape {labels.shape}"
        raise ArgumentError("labels", f"must be one whole number per image, got {got}")
    if numbers.ndim != 1 or (len(numbers) and (numbers.dtype.kind not in "iu" or min(numbers) < 0)):
        got = f"{numbers.tolist()!s:.60}"
        raise ArgumentError("numbers", f"must be a list of whole numbers from 0, got {got}")
    if seed < 0:
        raise ArgumentError("seed", f"must be at least 0, got {seed}")


def _draw_composites(
    labels: np.ndarray, layout: str, numbers: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items (N, K), the control's place among them (N, 1), and draws of the placement (N, P)."""
    plan, classes = LAYOUTS[layout], len(np.unique(labels))
    count = len(plan.cells)
    # Draws that depend on the number of classes come last, so that it changes no other draw.
    lengths = 1, num_draws(count), 1 + count + max(classes, count)
    # The reshape gives an empty list of numbers its second axis.
    draws = np.array([_uniform(seed, layout, number, sum(lengths)) for number in numbers])
    slot, placement, choice = np.split(draws.reshape(-1, sum(lengths)), np.cumsum(lengths[:2]), 1)
    shown = np.array(plan.control_cells)
    slots = shown[(slot * len(shown)).astype(int)]
    return _choose(labels, plan, choice), slots, placement


def _uniform(seed: int, layout: str, number: int, length: int) -> np.ndarray:
    # Counter-based (Salmon et al. 2011): composite i needs no state of those before it.
    philox = np.random.Philox(counter=[0, 0, 0, number], key=[seed, crc32(layout.encode())])
    return np.random.Generator(philox).random(length)


def _choose(labels: np.ndarray, plan: Layout, draws: np.ndarray) -> np.ndarray:
    """Positions in `labels` of the items of each composite: int64, (N, K)."""
    available, counts = np.unique(labels, return_counts=True)
    slots = np.arange(len(plan.cells))
    shift, pick, keys = np.split(draws, [1, 1 + len(slots)], 1)
    classes = _choose_classes(available, plan, keys)
    # Each slot draws from its own part of a class, so that no image occurs twice.
    part = (slots + (shift * len(slots)).astype(int)) % len(slots)
    first, last = (counts[classes] * (part + more) // len(slots) for more in (0, 1))
    places = (np.cumsum(counts) - counts)[classes] + first + (pick * (last - first)).astype(int)
    items: np.ndarray = np.argsort(labels, kind="stable")[places]
    return items


def _choose_classes(available: np.ndarray, plan: Layout, keys: np.ndarray) -> np.ndarray:
    """Positions in the available labels of the class of each item: int64, (N, K)."""
    count, slots = len(available), np.arange(len(plan.cells))
    if isinstance(plan.classes, str):
        order = keys.argsort(1) if plan.classes == "different" else (keys * count).astype(int)
        return order[:, 0 * slots if plan.classes == "same" else slots]
    classes = np.empty((len(keys), len(slots)), np.int64)
    for slot, role in enumerate(plan.classes):
        if slot and role == plan.classes[slot - 1]:  # a pair
            classes[:, slot] = classes[:, slot - 1]
            continue
        fitting = np.flatnonzero(np.isin(available, role))
        fitting = fitting if len(fitting) else np.arange(count)
        classes[:, slot] = fitting[(keys[:, slot] * len(fitting)).astype(int)]
    return classes
