"""Test images that nearly equal a training image: Fashion-MNIST has some.

Geier 2019, "Training on test data: Removing near duplicates in Fashion-MNIST" (arXiv:1906.08255),
compares the pixels of all images and looks at the most similar pairs.
"""

import numpy as np

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


def near_duplicates(
    images: np.ndarray, others: np.ndarray, similar: float = SIMILAR
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which images have a near-duplicate among others.

    Args:
        images: uint8, (N, h, w).
        others: uint8, (M, h, w), M at least 1.
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


def _standardise(images: np.ndarray) -> np.ndarray:
    """Pixels with mean 0 and norm 1: float32, (N, h * w); zeros where all pixels are equal."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat
