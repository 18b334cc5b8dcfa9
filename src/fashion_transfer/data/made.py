"""Datasets of images that are made, not found: composites with their controls, unfamiliar ones."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fashion_transfer.data.composites import LAYOUTS, compose, composite_items
from fashion_transfer.data.datasets import Batch, Features
from fashion_transfer.data.sources import CLASSES, Split
from fashion_transfer.data.unfamiliar import unfamiliar
from fashion_transfer.data.views import FRAMING, frame, render
from fashion_transfer.errors import FashionTransferError

SEVERAL = len(CLASSES)
"""The label of an image of several items."""

MOST = 100_000
"""Rows of a table of made images: as many can be kept, so that growing moves none."""

BLOCK = 16
"""Images of one layout that come one after the other."""


class MadeDataset(Dataset[Batch]):
    """Images by number, made when they are due; what they show is framed as photos are.

    Args:
        make: gives the images of some numbers, each uint8, (S, S), of any S.
        labels: int64, (N,), of the numbers from 0.
        image_size: height and width of the backbone's input, pixels.
        key: all that determines the images but size and framing, JSON types only.

    Attributes:
        features: kept ones, or none: batches hold images.
    """

    def __init__(
        self,
        make: Callable[[np.ndarray], Sequence[np.ndarray]],
        labels: np.ndarray,
        image_size: int,
        key: Mapping[str, Any],
    ) -> None:
        if len(labels) > MOST:
            raise FashionTransferError(f"{len(labels)} images are to be made: {MOST} at most")
        self.make = make
        self.labels = labels
        self.image_size = image_size
        self.key = {**key, "framing": FRAMING}
        self.features: list[Features] = []

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """A batch of `labels` with `features` (or `maps`), or with `images`."""
        numbers = np.array([item[0] if isinstance(item, tuple) else item for item in items])
        batch: Batch = {"labels": torch.from_numpy(self.labels[numbers])}
        if self.features:
            return batch | {self.features[0].kind: self.features[0].gather(numbers)}
        return batch | {"images": self.render(numbers, torch.device("cpu"))}

    def render(self, numbers: np.ndarray, device: torch.device) -> Tensor:
        """The backbone's input: float32, (B, 1, S, S), in [0, 1], on a device."""
        shown = [frame(torch.from_numpy(image).unsqueeze(0)) for image in self.make(numbers)]
        return torch.cat([render(one.unsqueeze(0), self.image_size) for one in shown]).to(device)


class Mixture(Dataset[Batch]):
    """Several datasets as one: the positions of the second follow those of the first.

    Args:
        datasets: each fetched by whole batches, of (position, view number).
    """

    def __init__(self, datasets: Sequence[Any]) -> None:
        self.datasets = tuple(datasets)
        self.ends = np.cumsum([len(dataset) for dataset in datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, item: int | tuple[int, int]) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[int | tuple[int, int]]) -> Batch:
        """A batch of those that the first dataset has, then the second's, and so on.

        Pixels and images may stand side by side in it: pixels come first when they are rendered.
        """
        pairs = np.array([item if isinstance(item, tuple) else (item, 0) for item in items])
        which = np.searchsorted(self.ends, pairs[:, 0], side="right")
        found: dict[str, list[Tensor]] = {}
        for number in np.unique(which):
            start = self.ends[number - 1] if number else 0
            chosen = pairs[which == number] - [start, 0]
            for name, part in self.datasets[number].__getitems__(list(map(tuple, chosen))).items():
                found.setdefault(name, []).append(part)
        return {name: torch.cat(parts) for name, parts in found.items()}


def composite_set(
    split: Split,
    indices: np.ndarray,
    layouts: Sequence[str],
    count: int,
    image_size: int,
    control: bool = False,
) -> MadeDataset:
    """Composites of some images of a file pair, or their controls; a larger count changes none.

    Args:
        split: the file pair.
        indices: which of its images are the items.
        layouts: names in `LAYOUTS`, which take turns.
        count: how many.
        image_size: height and width of the backbone's input, pixels.
        control: one item of each composite alone, under its own label.

    Raises:
        FashionTransferError: too few images to compose of.
    """
    images, labels = split.images[indices], split.labels[indices]

    def parts(numbers: np.ndarray) -> list[tuple[str, np.ndarray, np.ndarray]]:
        """By layout: where in `numbers` its composites stand, and their own numbers."""
        turns = numbers // BLOCK
        own = turns // len(layouts) * BLOCK + numbers % BLOCK
        places = [np.flatnonzero(turns % len(layouts) == i) for i in range(len(layouts))]
        return [(n, at, own[at]) for n, at in zip(layouts, places, strict=True) if len(at)]

    def make(numbers: np.ndarray) -> list[np.ndarray]:
        found: list[np.ndarray] = [images[0]] * len(numbers)
        for name, places, own in parts(numbers):
            pixels = compose(images, labels, name, own, control=control).pixels
            for place, image in zip(places, pixels, strict=True):
                found[place] = image
        return found

    told = np.full(count, SEVERAL)
    compose(images, labels, layouts[0], [])  # says what is wrong with the images
    if control:
        for name, places, own in parts(np.arange(count)):
            told[places] = labels[composite_items(labels, name, own)[1][:, 0]]
    key = {
        "pixels": split.md5,
        "view": "controls" if control else "composites",
        "items": hashlib.sha256(np.ascontiguousarray(indices, np.int64).tobytes()).hexdigest(),
        "layouts": {name: asdict(LAYOUTS[name]) for name in layouts},
    }
    return MadeDataset(make, told.astype(np.int64), image_size, key)


def unfamiliar_set(kind: str, split: Split, count: int, image_size: int) -> MadeDataset:
    """Images of a kind in `UNFAMILIAR`; shuffled ones are of a file pair's. No label means much.

    Args:
        kind: what they show.
        split: the file pair.
        count: how many.
        image_size: height and width of the backbone's input, pixels.
    """

    def make(numbers: np.ndarray) -> Sequence[np.ndarray]:
        return unfamiliar(kind, int(numbers.max()) + 1, images=split.images)[numbers]

    key = {"pixels": split.md5, "view": kind}
    return MadeDataset(make, np.full(count, -1, np.int64), image_size, key)
