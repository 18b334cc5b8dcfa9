"""Checks of arguments that more than one function of this package takes."""

import torch
from torch import Tensor

from fashion_transfer.errors import ArgumentError


def check_fraction(name: str, value: float) -> None:
    """Raises `ArgumentError` unless a value is a number from 0 to 1.

    Args:
        name: of the argument, for the error.
        value: its value, of any type.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise ArgumentError(name, f"must be a number from 0 to 1, got {value!r}")


def check_rows(name: str, rows: Tensor, labels: Tensor) -> None:
    """Raises `ArgumentError` unless there is one row for each label and one column per class.

    Args:
        name: of the argument `rows`, for the error.
        rows: (N, C), logits or probabilities.
        labels: whole numbers, (N,), from 0 to C - 1.
    """
    if rows.ndim != 2 or labels.shape != rows.shape[:1] or not rows.numel():
        raise ArgumentError(
            name,
            "must be (N, C) and labels (N,), of at least one image and one class, "
            f"got {tuple(rows.shape)} and {tuple(labels.shape)}",
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ArgumentError("labels", f"must be whole numbers, got {labels.dtype}")
    low, high, last = int(labels.min()), int(labels.max()), rows.shape[1] - 1
    if low < 0 or high > last:
        raise ArgumentError("labels", f"must be from 0 to {last}, got {low} to {high}")
