"""Test images that nearly equal a training image, and photos that are copies of another.

Geier 2019, "Training on test data: Removing near duplicates in Fashion-MNIST" (arXiv:1906.08255),
compares the pixels of all images and looks at the most similar pairs. Photos of two shirts on one
bed correlate as much as a photo and a cropped copy do, so of photos the features name candidates,
and then details are compared.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from fashion_transfer.errors import ArgumentError

SIMILAR = 0.995
"""Correlation of two images' pixels from which they count as near-duplicates.

20 of the official test images have such a partner among all training images: each pair shows one
article, photographed once or twice, sometimes with other brightness or contrast, to which
correlation is blind. Under 0.994 there are other prints, other colours and, above all, other plain
trousers.
"""

BLOCK = 1000
"""Images that are compared at once."""

CANDIDATE = 0.75
"""Cosine of two photos' components from which their pixels are compared.

Copies of 122 of the CC0 clothing photos, saved at JPEG quality 50, at half the size, brightened by
10 % or cropped by 3 % have 0.82 or more. 2 to 4 in 10 photos have such a partner in another split.
"""

SIMILAR_PHOTOS = 0.88
"""Correlation of two photos' details from which they count as near-duplicates.

Of such copies of 487 photos all have it, but for 1 % (cropped by 3 % at two edges) or 3 % (at all
four) of the cropped ones. Of 1,085 pairs of different photos with that cosine none has it: the
most similar two have 0.87.
"""

SIDE = 32
"""Height and width of thumbnails, pixels."""

RADIUS = 2
"""Details are differences from the mean of the pixels up to this far away."""

READ = 8
"""Photos in memory at once."""

MARGINS = (0.0, 0.03, 0.06)
"""What a copy may lack at each edge, as a fraction of the photo's side."""


class NearDuplicate(NamedTuple):
    """Two photos of different splits that are one: their positions, and how similar they are."""

    position: int
    other: int
    similarity: float


def near_duplicates(
    images: np.ndarray, others: np.ndarray, similar: float = SIMILAR
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which images have a near-duplicate among others.

    Args:
        images: uint8 or float32, (N, h, w).
        others: the same, (M, h, w), M at least 1.
        similar: Pearson correlation of their pixels from which two are near-duplicates.

    Returns:
        bool, (N,): whether an image has one, and float32, (N,): the highest correlation.

    Raises:
        ArgumentError: there are no others, or they are of another size.
    """
    if not len(others) or others.shape[1:] != images.shape[1:]:
        raise ArgumentError(
            "others",
            f"must be at least one image of {images.shape[1:]} pixels, got {others.shape}",
        )
    reference = _standardise(others)
    highest = np.empty(len(images), np.float32)
    for start in range(0, len(images), BLOCK):
        block = slice(start, start + BLOCK)
        highest[block] = (_standardise(images[block]) @ reference.T).max(axis=1)
    return highest >= similar, highest


def near_duplicate_photos(
    components: np.ndarray,
    splits: np.ndarray,
    read: Callable[[Sequence[int]], Sequence[np.ndarray]],
) -> list[NearDuplicate]:
    """Returns photos that are a copy of one in an earlier split, the most similar ones first.

    A copy may be saved again, resized, brightened or cropped by a few per cent. Each photo is
    compared with the one photo of all earlier splits whose components have the highest cosine.

    Args:
        components: float32, (N, K), as `principal_components` gives them.
        splits: int64, (N,), the split of each photo; training before validation before test.
        read: gives photos by position, each uint8, (C, h, w), of any size.
    """
    candidates = _candidates(components, splits)
    positions = sorted({position for pair in candidates for position in pair})
    details: dict[int, np.ndarray] = {}
    for start in range(0, len(positions), READ):
        part = positions[start : start + READ]
        thumbnails = np.stack([_thumbnail(photo) for photo in read(part)])
        details |= zip(part, _details(thumbnails), strict=True)
    pairs = [NearDuplicate(a, b, _similarity(details[a], details[b])) for a, b in candidates]
    near = [pair for pair in pairs if pair.similarity >= SIMILAR_PHOTOS]
    return sorted(near, key=lambda pair: -pair.similarity)


def _candidates(components: np.ndarray, splits: np.ndarray) -> list[tuple[int, int]]:
    """Each photo with its nearest one of the earlier splits, if that is near."""
    unit = components / np.maximum(np.linalg.norm(components, axis=1, keepdims=True), 1e-6)
    candidates = []
    for split in np.unique(splits)[1:]:
        earlier, own = np.flatnonzero(splits < split), np.flatnonzero(splits == split)
        for start in range(0, len(own), BLOCK):
            block = own[start : start + BLOCK]
            cosines = unit[block] @ unit[earlier].T
            for row in np.flatnonzero(cosines.max(axis=1) >= CANDIDATE):
                candidates.append((int(block[row]), int(earlier[cosines[row].argmax()])))
    return candidates


def _thumbnail(photo: np.ndarray) -> np.ndarray:
    """A photo in grey, stretched to a square: float32, (SIDE, SIDE)."""
    channels = [
        Image.fromarray(channel).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        for channel in photo
    ]
    grey = channels[0] if len(channels) == 1 else Image.merge("RGB", channels).convert("L")
    return np.asarray(grey, np.float32)


def _details(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails without what is coarse in them, such as a shirt's outline: float32, as given."""
    padded = np.pad(thumbnails, ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)), mode="edge")
    window = (2 * RADIUS + 1,) * 2
    around = np.lib.stride_tricks.sliding_window_view(padded, window, axis=(1, 2))
    details: np.ndarray = thumbnails - around.mean(axis=(3, 4), dtype=np.float32)
    return details


def _similarity(details: np.ndarray, others: np.ndarray) -> float:
    """The highest correlation of one with a crop of the other, or the other way round."""
    return max(
        float(near_duplicates(_crops(whole), cropped[None])[1].max())
        for whole, cropped in ((details, others), (others, details))
    )


def _crops(details: np.ndarray) -> np.ndarray:
    """All that remains without a margin at each edge, resized: float32, (81, SIDE, SIDE)."""
    down = _CROP_WEIGHTS.transpose(0, 2, 1) @ details  # (9, SIDE, SIDE)
    crops: np.ndarray = (down[:, None] @ _CROP_WEIGHTS).reshape(-1, SIDE, SIDE)
    return crops


def _crop_weights() -> np.ndarray:
    """Linear interpolation of an axis without a margin at both ends: (9, from SIDE, to SIDE)."""
    centres, units = np.arange(SIDE), np.eye(SIDE)
    weights = []
    for before in MARGINS:
        for after in MARGINS:
            places = SIDE * before + (centres + 0.5) * (1 - before - after) - 0.5
            weights.append([np.interp(places, centres, unit) for unit in units])
    return np.array(weights, np.float32)


_CROP_WEIGHTS = _crop_weights()


def _standardise(images: np.ndarray) -> np.ndarray:
    """Pixels with mean 0 and norm 1: float32, (N, h * w); zeros where all pixels are equal."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat
