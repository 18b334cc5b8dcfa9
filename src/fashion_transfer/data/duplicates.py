"""Test images that nearly equal a training image: Fashion-MNIST has some.

Geier 2019, "Training on test data: Removing near duplicates in Fashion-MNIST" (arXiv:1906.08255),
finds them by the similarity of their pixels and looks at the pairs. So does this.
"""

import numpy as np

SIMILAR = 0.995
"""Correlation of two images' pixels from which they count as the same article. Of the official test
images, 20 have such a partner among all training images: each pair shows one article, photographed
once or twice, now and then in another tint, which correlation does not see. Under 0.994 there are
other prints, other colours and, above all, other plain trousers."""


def near_duplicates(
    images: np.ndarray, others: np.ndarray, similar: float = SIMILAR
) -> tuple[np.ndarray, np.ndarray]:
    """Which images have a near-duplicate among others.

    Args:
        images: uint8, (N, 28, 28).
        others: uint8, (M, 28, 28).
        similar: Pearson correlation of their pixels from which two are the same.

    Returns:
        bool, (N,): whether an image has one, and float32, (N,): the highest correlation.
    """
    known = _standardise(others)
    parts = [images[start : start + 1000] for start in range(0, len(images), 1000)]
    highest = np.concatenate([(_standardise(part) @ known.T).max(axis=1) for part in parts])
    return highest >= similar, highest


def _standardise(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
