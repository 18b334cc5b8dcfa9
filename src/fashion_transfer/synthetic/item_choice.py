"""Which photos a collage shows, chosen so that a photo more or less changes few collages.

Rendezvous hashing (Thaler & Ravishankar 1998, "Using name-based mappings to increase hit rates"):
every photo has a random weight in every place of every collage, and the highest one is chosen.
"""

from collections.abc import Iterator
from zlib import crc32

import numpy as np

from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS

MAX_WEIGHTS = 2**19
"""Weights computed at a time, to bound memory."""

_PHOTO, _CLASS, _CONTROL = range(3)  # what a weight is for


def hash_integers(*parts: np.ndarray | int) -> np.ndarray:
    """Returns a hash of whole numbers, uint64, of the shape that the parts broadcast to.

    Each part goes through the finaliser of SplitMix64 (Steele et al. 2014, "Fast splittable
    pseudorandom number generators").
    """
    state = np.zeros(1, np.uint64)
    with np.errstate(over="ignore"):
        for part in parts:
            state = (state + np.uint64(0x9E3779B97F4A7C15)) ^ np.asarray(part).astype(np.uint64)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def enough_photos(labels: np.ndarray, layout: str) -> bool:
    """Returns whether there are enough photos for a collage of a layout.

    Args:
        labels: (M,), class labels of different photos.
        layout: name in `COLLAGE_LAYOUTS`.
    """
    plan, counts = COLLAGE_LAYOUTS[layout], np.unique(labels, return_counts=True)[1]
    available = counts.max(initial=0) if plan.classes == "same" else counts.sum()
    return bool(available >= len(plan.cells))


def choose_items(
    keys: np.ndarray, labels: np.ndarray, layout: str, numbers: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Returns the photos of some collages, lowest first: int64, (N, K), positions in `keys`.

    Classes are equally likely, and none is taken a second time in a layout of "different" classes
    while others have photos. No photo is in a collage twice. The order of the photos does not
    matter.

    Args:
        keys: int64, (M,), content keys of the photos, each once.
        labels: int64, (M,), their class labels, enough of them (see `enough_photos`).
        layout: name in `COLLAGE_LAYOUTS`.
        numbers: (N,), numbers of the collages, from 0.
        seed: of all draws.
    """
    plan = COLLAGE_LAYOUTS[layout]
    stream, slots = _stream(layout, seed), len(plan.cells)
    classes, counts = np.unique(labels, return_counts=True)
    places = np.arange(len(numbers))
    unused = np.repeat(counts[None], len(numbers), 0)  # (N, classes), photos not in the collage
    items = np.full((len(numbers), slots), -1, np.int64)
    chosen = np.zeros(len(numbers), np.int64)
    for slot in range(slots):
        if plan.classes != "same" or slot == 0:
            possible = unused >= slots if plan.classes == "same" else unused > 0
            if plan.classes == "different":
                fresh = unused == counts
                possible = np.where(fresh.any(1, keepdims=True), fresh, possible)
            weights = hash_integers(stream, _CLASS, numbers[:, None], slot, classes)
            chosen = np.where(possible, weights | np.uint64(1), np.uint64(0)).argmax(1)
        for index, label in enumerate(classes):
            members = np.flatnonzero(labels == label)
            for rows in _chunks(np.flatnonzero(chosen == index), len(members)):
                parts = stream, _PHOTO, numbers[rows, None], slot, keys[members]
                weights = hash_integers(*parts) | np.uint64(1)
                taken = (items[rows, :slot, None] == members).any(1)
                items[rows, slot] = members[np.where(taken, np.uint64(0), weights).argmax(1)]
        unused[places, chosen] -= 1
    return items


def choose_control(layout: str, numbers: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns which of its photos the control of a collage shows: int64, (N,), from 0.

    Args:
        layout: name in `COLLAGE_LAYOUTS`.
        numbers: (N,), numbers of the collages.
        seed: of all draws.
    """
    slots = np.uint64(len(COLLAGE_LAYOUTS[layout].cells))
    weights = hash_integers(_stream(layout, seed), _CONTROL, numbers) >> np.uint64(11)
    return (weights % slots).astype(np.int64)


def _stream(layout: str, seed: int) -> np.ndarray:
    return hash_integers(seed, crc32(layout.encode()))


def _chunks(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Parts of some rows, so that each has at most `MAX_WEIGHTS` weights, or one row."""
    step = max(1, MAX_WEIGHTS // max(width, 1))
    return (rows[start : start + step] for start in range(0, len(rows), step))
