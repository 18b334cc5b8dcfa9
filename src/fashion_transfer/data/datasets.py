"""Batches of a subset: which images, in which order, under which views."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from fashion_transfer.data.sources import Split
from fashion_transfer.data.views import Augmentation, view_matrices

Batch = dict[str, Any]
"""What a batch holds, by name: `labels` (B,) int64, and `features` (B, D) float32, or `maps`
likewise (what is kept of images where the backbone's last stage learns), or
`images` (B, C, S, S) float32 in [0, 1]."""


class Features(Protocol):
    """Kept features of the images of one file under one view number.

    Attributes:
        kind: what they are called in a batch.
    """

    kind: str

    def gather(self, indices: np.ndarray) -> Tensor:
        """Features of the images at `indices` in their file: float32, (B, D)."""


class ViewDataset(Dataset[Batch]):
    """Some images of one file, by (position, view number), fetched by whole batches.

    A plain position stands for view 0, the clean image, so that any ordinary sampler works.

    Args:
        split: the file pair.
        indices: which of its images, int64.
        augmentation: what views other than 0 may do.
        view_seed: seed of the views.

    Attributes:
        features: of each kept view, by number; empty: batches hold pixels.
        fresh: views other than 0 are never kept, so their batches hold pixels.
    """

    def __init__(
        self,
        split: Split,
        indices: np.ndarray,
        augmentation: Augmentation,
        view_seed: int,
    ) -> None:
        self.split = split
        self.indices = indices
        self.augmentation = augmentation
        self.view_seed = view_seed
        self.features: list[Features] = []
        self.fresh = False

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """A batch of `labels` with `features`, or with uint8 `pixels` (B, 28, 28) and `matrices`.

        The datamodule renders pixels to images once they are on the device.
        """
        pairs = np.array([item if isinstance(item, tuple) else (item, 0) for item in items])
        indices, views = self.indices[pairs[:, 0]], pairs[:, 1]
        batch: Batch = {"labels": torch.from_numpy(self.split.labels[indices])}
        if self.features and not (self.fresh and views.any()):
            return batch | {self.features[0].kind: self._gather(indices, views)}
        batch["pixels"] = torch.from_numpy(self.split.images[indices])
        if views.any():
            batch["matrices"] = view_matrices(indices, views, self.augmentation, self.view_seed)
        return batch

    def _gather(self, indices: np.ndarray, views: np.ndarray) -> Tensor:
        if not views.any():
            return self.features[0].gather(indices)
        first = self.features[0].gather(indices[:1])
        gathered = first.new_empty(len(indices), first.shape[1])
        for view in np.unique(views):
            chosen = np.flatnonzero(views == view)
            gathered[chosen] = self.features[view].gather(indices[chosen])
        return gathered


class ViewSampler(Sampler[tuple[int, int]]):
    """Every position once, in an order and with a view drawn from (seed, epoch) alone.

    Lightning calls `set_epoch`; so a resumed run draws what one that never stopped would have.

    Args:
        size: how many images.
        views: how many views to draw from; None: epoch e takes view e + 1, which no other does.
        seed: of the draw.
    """

    def __init__(self, size: int, views: int | None, seed: int = 0) -> None:
        self.size = size
        self.views = views
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Names the epoch that the next iteration draws for."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = generator.permutation(self.size)
        if self.views is None:
            views = np.full(self.size, self.epoch + 1)
        else:
            views = generator.integers(0, self.views, self.size)
        return zip(order.tolist(), views.tolist(), strict=True)
