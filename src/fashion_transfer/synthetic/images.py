"""Sequences of synthetic images, each computed when it is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fashion_transfer.synthetic.composites import compose, composite_items
from fashion_transfer.synthetic.out_of_distribution import ood_images

MAX_ROWS = 100_000
"""Length of every sequence of synthetic images, however few of them a split uses.

Cached features have a row for each, so a split that grows does not move those that are cached.
"""

BLOCK = 16
"""Consecutive rows of one layout."""


@dataclass(frozen=True, eq=False)
class CompositeImages:
    """A sequence of `MAX_ROWS` composites or controls, composed when they are read.

    Args:
        images: uint8, (M, h, h), one item on black each.
        labels: int64, (M,), class labels.
        layouts: names in `LAYOUTS`, which alternate in blocks of `BLOCK` rows.
        control: give the controls instead of the composites.
        rows: (M,), numbers that errors name the images by; None: their positions.
    """

    images: np.ndarray
    labels: np.ndarray
    layouts: tuple[str, ...]
    control: bool = False
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return MAX_ROWS

    def __getitem__(self, row: int, /) -> np.ndarray:
        """Returns one image, uint8, (1, S, S), S the canvas of its layout."""
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Returns images, uint8, (1, S, S) each, composed together where the layout is the same."""
        rows = _checked(rows)
        images: dict[int, np.ndarray] = {}
        for layout, places, numbers in self._by_layout(rows):
            composed = compose(
                self.images, self.labels, layout, numbers, control=self.control, rows=self.rows
            )
            images |= zip(places.tolist(), composed.pixels[:, None], strict=True)
        return [images[place] for place in range(len(rows))]

    def control_labels(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the class labels of controls without composing them: int64, (N,)."""
        rows = _checked(rows)
        labels = np.empty(len(rows), np.int64)
        for layout, places, numbers in self._by_layout(rows):
            labels[places] = self.labels[composite_items(self.labels, layout, numbers)[1][:, 0]]
        return labels

    def _by_layout(self, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """By layout: the places in `rows` that it has, and the numbers of its composites there."""
        blocks = rows // BLOCK
        numbers = blocks // len(self.layouts) * BLOCK + rows % BLOCK
        for index, layout in enumerate(self.layouts):
            places = np.flatnonzero(blocks % len(self.layouts) == index)
            if len(places):
                yield layout, places, numbers[places]


@dataclass(frozen=True, eq=False)
class OODImages:
    """A sequence of `MAX_ROWS` out-of-distribution images, drawn when they are read.

    Args:
        name: one of `OUT_OF_DISTRIBUTION`.
        images: for `shuffled_patches` only: uint8, (M, h, h).
    """

    name: str
    images: np.ndarray | None = None

    def __len__(self) -> int:
        return MAX_ROWS

    def __getitem__(self, row: int, /) -> np.ndarray:
        """Returns one image, uint8, (1, S, S)."""
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Returns images, uint8, (1, S, S) each."""
        return list(ood_images(self.name, _checked(rows), images=self.images)[:, None])


def _checked(rows: Sequence[int] | np.ndarray) -> np.ndarray:
    numbers = np.asarray(rows, np.int64)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < MAX_ROWS:
        raise IndexError(f"rows are 0 to {MAX_ROWS - 1}, got {numbers.min()} to {numbers.max()}")
    return numbers
