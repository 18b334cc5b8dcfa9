"""Order and views of an epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class ViewSampler(Sampler[tuple[int, int]]):
    """Yields every position once with a view number, both drawn from nothing but (seed, epoch).

    Lightning calls `set_epoch`, so a resumed run draws what an uninterrupted one would have.

    Args:
        size: number of images.
        views: number of cached views to draw from; None: epoch e takes view e + 1 of each image,
            which no other epoch does.
        seed: of the draws.
    """

    def __init__(self, size: int, views: int | None, seed: int = 0) -> None:
        self.size = size
        self.views = views
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch that the next iteration draws for."""
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
