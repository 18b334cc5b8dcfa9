"""The two contracts of data: what a split of a data set gives, and what a batch holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Images(Protocol):
    """Images by row: a NumPy array, or anything that reads or composes them when asked.

    It may also define `__getitems__(rows) -> list` to give many at once. Of a content-addressed
    split (see `Split`) the rows are keys.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> np.ndarray:
        """The image, uint8, (C, h, w), C 1 or 3, of any size."""


_ALL = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """Labelled images: training, validation or test, or images made from them.

    Attributes:
        name: for people, such as "training images".
        images: all images of the source; the split may use some of them.
        labels: int64, (N,), of the split's images.
        fingerprint: of the content of `images`: equal where and only where the pixels are.
            It is part of the key of cached features. None: the split is content-addressed.
        rows: int64, (N,), which rows of `images` the split has. By default the first N, in order.
            In a content-addressed split a row is no position but the key of an image, 0 to
            2**63 - 1, which its pixels alone determine: `images[key]` is that image, and its
            features are cached by key, whatever split or folder it comes from.

    Raises:
        ValueError: labels and rows differ in number, a row is not one of `images`, or the keys of
            a content-addressed split are left out or below 0.
    """

    name: str
    images: Images
    labels: np.ndarray
    fingerprint: str | None
    rows: np.ndarray = field(default_factory=lambda: _ALL)

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels, np.int64)
        if self.fingerprint is None and self.rows is _ALL:
            raise ValueError(f"{self.name}: rows must be keys of images without a fingerprint")
        rows = np.arange(len(labels)) if self.rows is _ALL else np.asarray(self.rows, np.int64)
        if len(rows) != len(labels):
            raise ValueError(f"{self.name}: {len(labels)} labels but {len(rows)} rows")
        if self.fingerprint is None:
            if len(rows) and rows.min() < 0:
                raise ValueError(f"{self.name}: keys of images must be from 0, got {rows.min()}")
        elif len(rows) and not 0 <= rows.min() <= rows.max() < len(self.images):
            raise ValueError(
                f"{self.name}: rows {rows.min()} to {rows.max()} of {len(self.images)} images"
            )
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "rows", rows)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Images by row of the source, each uint8, (C, h, w)."""
        fetch = getattr(self.images, "__getitems__", None)
        if fetch is not None:
            return list(fetch(rows))
        return [self.images[int(row)] for row in rows]


@dataclass(eq=False)
class Batch:
    """What the model receives: labels, and images in exactly one of three forms.

    Attributes:
        labels: int64, (B,); None where they are not known.
        images: float32, (B, C, S, S), in [0, 1], C 1 or 3.
        features: float32, (B, D), cached outputs of the frozen backbone.
        maps: float32, (B, D'), cached inputs of trainable stages.

    Raises:
        ValueError: not exactly one of the three is given.
    """

    labels: Tensor | None = None
    images: Tensor | None = None
    features: Tensor | None = None
    maps: Tensor | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.images, self.features, self.maps)) != 1:
            raise ValueError("a batch holds exactly one of images, features and maps")

    def __len__(self) -> int:
        return len(next(t for t in (self.images, self.features, self.maps) if t is not None))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on a device. Lightning calls this."""
        moved = {
            name: tensor.to(device, non_blocking=non_blocking)
            for name, tensor in self._tensors().items()
        }
        return replace(self, **moved)

    def _tensors(self) -> dict[str, Tensor]:
        named = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of several of the same form, in their order."""
    first = batches[0]._tensors()
    return Batch(**{name: torch.cat([b._tensors()[name] for b in batches]) for name in first})
