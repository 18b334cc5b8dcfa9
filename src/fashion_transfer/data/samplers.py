"""Order and views of an epoch, and the share of a rank."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from fashion_transfer import ranks


class ViewSampler(Sampler[tuple[int, int]]):
    """Yields positions with view numbers, both drawn from nothing but (seed, epoch).

    Every position comes once, or as often as an epoch has passes, each in an order of its own.

    Of N ranks, each gets every Nth position of each batch, so that a step sees the images that it
    would see in one process. A last batch with fewer images than ranks leaves some without any:
    these get its first image, which counts nothing (see `share`).

    Lightning calls `set_epoch`, so a resumed run draws what an uninterrupted one would have.

    Args:
        size: number of images.
        views: number of cached views to draw from; None: epoch e takes view e + 1 of each image,
            which no other epoch does.
        seed: of the draws.
        batch_size: images per batch, over all ranks; a multiple of their number.
        rank: number of the process.
        world_size: number of processes.
        passes: over the images, in an epoch.
    """

    def __init__(
        self,
        size: int,
        views: int | None,
        seed: int = 0,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
        passes: int = 1,
    ) -> None:
        self.size = size
        self.passes = passes
        self.length = size * passes  # over all ranks
        self.views = views
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the next iteration draws for."""
        self.epoch = epoch

    def share(self, batch_idx: int) -> tuple[int, int]:
        """Returns how many images of a batch count for this rank, and how many it has in all.

        Args:
            batch_idx: number of the batch in the epoch.
        """
        total = min(self.batch_size, self.length - batch_idx * self.batch_size)
        return len(range(self.rank, total, self.world_size)), total

    def __len__(self) -> int:
        return len(self._positions()) if self.world_size > 1 else self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = np.concatenate([generator.permutation(self.size) for _ in range(self.passes)])
        if self.views is None:
            views = np.full(self.length, self.epoch + 1)
        else:
            views = generator.integers(0, self.views, self.length)
        chosen = self._positions()
        return zip(order[chosen].tolist(), views[chosen].tolist(), strict=True)

    def _positions(self) -> np.ndarray:
        """Places in the order that this rank gets."""
        # The ranks divide the batch size, so every Nth of a batch is every Nth of the order.
        positions = np.arange(self.rank, self.length, self.world_size)
        last = self.length % self.batch_size
        if 0 < last <= self.rank:
            positions = np.append(positions, self.length - last)
        return positions


def share_of(loader: Any, size: int, batch_idx: int) -> tuple[int, int]:
    """Returns how many images of a step count on this rank, and how many it has on all of them.

    Args:
        loader: what the batch is from; None: this is the only process.
        size: images of the batch.
        batch_idx: its number in the epoch.
    """
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, ViewSampler):
        return sampler.share(batch_idx)
    return size, size * ranks.world_size()


class ShardSampler(Sampler[int]):
    """Yields the positions of one of N consecutive parts, which together have each of them once.

    Args:
        size: number of images.
        rank: number of the part, from 0.
        world_size: number of parts.
    """

    def __init__(self, size: int, rank: int, world_size: int) -> None:
        self.positions = range(size * rank // world_size, size * (rank + 1) // world_size)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[int]:
        return iter(self.positions)
