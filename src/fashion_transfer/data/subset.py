"""The balanced subset: the same number of training images of each class."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from fashion_transfer.errors import ArgumentError


def balanced_subset(
    labels: np.ndarray,
    class_names: Sequence[str],
    images_per_class: int | Literal["all"] = 500,
    selection: Literal["first", "random"] = "first",
    seed: int = 0,
    val_per_class: int = 100,
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses training and validation images, disjoint by construction.

    Validation is the last `val_per_class` images of each class in file order and does not depend
    on the subset, so that runs with different subsets stay comparable.

    Args:
        labels: int64, (N,), of all training images.
        class_names: by label.
        images_per_class: size of the subset per class; "all" takes what validation leaves.
        selection: "first" in file order, as the reference notebook took them, or "random".
        seed: of the random selection.
        val_per_class: validation images per class.

    Returns:
        Rows of the subset and of validation, int64, each ascending.

    Raises:
        ArgumentError: a value is not possible, or a class has fewer images than asked for.
    """
    if selection not in ("first", "random"):
        raise ArgumentError("selection", f"must be 'first' or 'random', got {selection!r}")
    if images_per_class != "all" and (
        not isinstance(images_per_class, int) or images_per_class < 1
    ):
        raise ArgumentError(
            "images_per_class",
            f"must be a whole number from 1, or 'all', got {images_per_class!r}",
        )
    if not isinstance(val_per_class, int) or val_per_class < 0:
        raise ArgumentError(
            "val_per_class", f"must be a whole number from 0, got {val_per_class!r}"
        )
    subset, validation = [], []
    for label, name in enumerate(class_names):
        rows = np.flatnonzero(labels == label)
        end = len(rows) - val_per_class
        available = rows[: max(end, 0)]
        count = len(available) if images_per_class == "all" else images_per_class
        if end < 1 or count > len(available):
            raise ArgumentError(
                "images_per_class",
                f"is {images_per_class}, more than there are: class {name} has "
                f"{len(available)} training images beside {val_per_class} for validation",
            )
        if selection == "random":
            # One generator per class: a larger subset contains the smaller one.
            available = np.random.default_rng([seed, label]).permutation(available)
        subset.append(available[:count])
        validation.append(rows[end:])
    return np.sort(np.concatenate(subset)), np.sort(np.concatenate(validation))
