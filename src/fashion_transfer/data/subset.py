"""The balanced subset: the same number of training images of each class."""

from typing import Literal

import numpy as np

from fashion_transfer.data.sources import CLASSES
from fashion_transfer.errors import FashionTransferError


def balanced_subset(
    labels: np.ndarray,
    images_per_class: int | Literal["all"] = 500,
    selection: Literal["first", "random"] = "first",
    seed: int = 0,
    val_per_class: int = 100,
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses training and validation images from the training file, disjoint by construction.

    Validation is the last `val_per_class` images of each class in file order, whatever the
    subset, so that runs with different subsets stay comparable. The subset comes from the rest.

    Args:
        labels: int64, (N,), of the whole training file.
        images_per_class: how many of each class; "all" is all that validation leaves.
        selection: "first" in file order, as the reference notebook took them, or "random".
        seed: draws the random selection.
        val_per_class: validation images of each class.

    Returns:
        Indices into the training file of the subset and of validation, int64, each ascending.

    Raises:
        FashionTransferError: a value is not possible, or a class has fewer images than asked for.
    """
    if selection not in ("first", "random"):
        raise FashionTransferError(
            f"data.selection is {selection!r}: it must be 'first' or 'random'"
        )
    if images_per_class != "all" and (
        not isinstance(images_per_class, int) or images_per_class < 1
    ):
        raise FashionTransferError(
            f"data.images_per_class is {images_per_class!r}: it must be a whole number from 1, "
            "or 'all'"
        )
    if val_per_class < 0:
        raise FashionTransferError(
            f"data.val_per_class is {val_per_class}: it must not be negative"
        )
    subset, validation = [], []
    for label, name in enumerate(CLASSES):
        of_class = np.flatnonzero(labels == label)
        split = len(of_class) - val_per_class
        rest = of_class[: max(split, 0)]
        count = len(rest) if images_per_class == "all" else images_per_class
        if split < 1 or count > len(rest):
            raise FashionTransferError(
                f"data.images_per_class={images_per_class} asks for more than there is: class "
                f"{name} has {len(rest)} training images beside {val_per_class} for validation"
            )
        if selection == "random":
            # One generator a class: more images of a class keep the ones drawn before.
            rest = np.random.default_rng([seed, label]).permutation(rest)
        subset.append(rest[:count])
        validation.append(of_class[split:])
    return np.sort(np.concatenate(subset)), np.sort(np.concatenate(validation))
