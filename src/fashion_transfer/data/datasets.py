"""Datasets that give whole batches: images of a split, or their cached features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fashion_transfer.data.augmentation import Augmentation, render, view_matrices
from fashion_transfer.data.batch import Batch, Split, concatenate
from fashion_transfer.data.preparation import Preparation

RESIZED_ON_CPU = {"mps"}
"""Types of devices that images are resized for and not on: MPS has an antialiased resize from torch
2.7 on, and repeats an image's edge from 2.13 on."""

Item = int | tuple[int, int]
"""A position in a dataset, or a position and a view number; a position alone means view 0."""


class Request(NamedTuple):
    """What an extractor needs to know of the images of one source under one view.

    Attributes:
        key: all that determines the backbone's input, JSON types only.
        source_size: number of images in the source; None: rows are keys of images.
        rows: int64, (N,), the images wanted.
        inputs: gives the backbone's input for some rows, (B, C, S, S) in [0, 1], on a device.
        title: the name of this work on the progress bar.
    """

    key: Mapping[str, Any]
    source_size: int | None
    rows: np.ndarray
    inputs: Callable[[np.ndarray, torch.device], Tensor]
    title: str


class CachedFeatures(Protocol):
    """Features of the images of one source under one view number (see `features.FeatureTable`).

    Attributes:
        batch_field: the field of `Batch` they go into: "features" or "maps".
        width: D of the features.
    """

    batch_field: str
    width: int

    def gather(self, rows: np.ndarray, out: Tensor | None = None) -> Tensor:
        """Features by row of the source, or by key: float32, (B, D), put into `out` if given."""


class ImageDataset(Dataset[Batch]):
    """The images of a split, prepared and resized, or what was cached of them.

    It is picklable if the split's images are, so worker processes may be spawned.

    Args:
        split: labels and images.
        preparation: from a decoded image to what the backbone sees.
        image_size: height and width of the backbone's input, pixels.
        augmentation: ranges of the views other than 0; None: every view is the clean image.
        view_seed: of the views.

    Attributes:
        features: cached features, one entry per cached view; empty: batches hold images.
        fresh: views other than 0 are not cached, so their batches hold images.
    """

    def __init__(
        self,
        split: Split,
        preparation: Preparation,
        image_size: int,
        augmentation: Augmentation | None = None,
        view_seed: int = 0,
    ) -> None:
        self.split = split
        self.preparation = preparation
        self.image_size = image_size
        self.augmentation = augmentation
        self.view_seed = view_seed
        self.features: list[CachedFeatures] = []
        self.fresh = False

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, item: Item) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[Item]) -> Batch:
        """A batch of the images at some positions, in their order, with labels."""
        return self.fetch(*split_items(items))

    def has_features(self, views: np.ndarray) -> bool:
        """Whether the features of these views are cached."""
        return bool(self.features) and not (
            self.fresh and self.augmentation is not None and views.any()
        )

    def fetch(self, positions: np.ndarray, views: np.ndarray, out: Tensor | None = None) -> Batch:
        """As `__getitems__`, by positions and view numbers, both int64, (B,).

        Args:
            positions: of the images.
            views: of each.
            out: float32, (B, D), where cached features are put; None: a new tensor.
        """
        if self.augmentation is None:
            views = np.zeros_like(views)
        labels = torch.from_numpy(self.split.labels[positions])
        rows = self.split.rows[positions]
        if self.has_features(views):
            field = self.features[0].batch_field
            return Batch(labels=labels, **{field: self._gather(rows, views, out)})
        images = input_images(
            self.split.read(rows), self.preparation, self.image_size, self._matrices(rows, views)
        )
        return Batch(labels=labels, images=images)

    def inputs(self, view: int, rows: np.ndarray, device: torch.device) -> Tensor:
        """The backbone's input for one view of some rows: float32, (B, C, S, S), on a device."""
        matrices = self._matrices(rows, np.full(len(rows), view))
        images = self.split.read(rows)
        return input_images(images, self.preparation, self.image_size, matrices, device)

    def request(self, view: int) -> Request:
        """What an extractor needs to know of a view."""
        split = self.split
        title = f"{split.name}, view {view}" if view else split.name
        size = None if split.fingerprint is None else len(split.images)
        return Request(self.key(view), size, split.rows, partial(self.inputs, view), title)

    def key(self, view: int) -> dict[str, Any]:
        """All that determines `inputs` of a view, as JSON types; part of the key of its features.

        A clean image does not depend on the augmentation, so its key does not name it. All
        content-addressed splits have one key: what differs between them is the rows.
        """
        fingerprint = self.split.fingerprint
        source = {"content": "pixels"} if fingerprint is None else {"split": fingerprint}
        key: dict[str, Any] = source | {
            "preparation": f"{self.preparation.name}/{self.preparation.version}",
            "image_size": self.image_size,
            "view": view if self.augmentation else 0,
        }
        if key["view"] and self.augmentation:
            key |= {"view_seed": self.view_seed, **asdict(self.augmentation)}
        return key

    def _matrices(self, rows: np.ndarray, views: np.ndarray) -> Tensor | None:
        if self.augmentation is None or not views.any():
            return None
        return view_matrices(rows, views, self.augmentation, self.view_seed)

    def _gather(self, rows: np.ndarray, views: np.ndarray, out: Tensor | None) -> Tensor:
        if not views.any():
            return self.features[0].gather(rows, out)
        gathered = _empty(len(rows), self.features[0].width) if out is None else out
        for view in np.unique(views):
            chosen = np.flatnonzero(views == view)
            gathered[chosen] = self.features[view].gather(rows[chosen])
        return gathered


class ConcatDataset(Dataset[Batch]):
    """Several datasets as one: the positions of the second follow those of the first.

    Unlike `torch.utils.data.ConcatDataset` it fetches whole batches.

    Args:
        datasets: each fetched by positions and view numbers.
    """

    def __init__(self, datasets: Sequence[ImageDataset]) -> None:
        self.datasets = tuple(datasets)
        self.ends = np.cumsum([len(dataset) for dataset in datasets])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, item: Item) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[Item]) -> Batch:
        """A batch with the images of the first dataset first, then the second's, and so on."""
        positions, views = split_items(items)
        numbers = np.searchsorted(self.ends, positions, side="right")
        parts = []
        for number in np.unique(numbers):
            chosen = numbers == number
            start = self.ends[number - 1] if number else 0
            parts.append((self.datasets[number], positions[chosen] - start, views[chosen]))
        if not all(dataset.has_features(of_views) for dataset, _, of_views in parts):
            return concatenate([dataset.fetch(*places) for dataset, *places in parts])
        # Joined features would be copied once more: each dataset puts its own where they belong.
        table = parts[0][0].features[0]
        joined, end, labels = _empty(len(items), table.width), 0, []
        for dataset, *places in parts:
            start, end = end, end + len(places[0])
            labels.append(dataset.fetch(*places, out=joined[start:end]).labels)
        return Batch(labels=torch.cat(labels), **{table.batch_field: joined})


def input_images(
    images: Sequence[np.ndarray],
    preparation: Preparation,
    size: int,
    matrices: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The backbone's input for decoded images: prepared, resized, as one batch on a device.

    Args:
        images: each uint8, (C, h, w), C 1 or 3, of any size.
        preparation: applied to each.
        size: height and width of the output in pixels.
        matrices: of the views (see `augmentation.view_matrices`); None: clean images.
        device: where images are resized, but for `RESIZED_ON_CPU`: what travels there is bytes at
            their own size.

    Returns:
        float32, (B, C, size, size), in [0, 1]; C is 1 if all images are grey, else 3.
    """
    return render_images([preparation(image) for image in images], size, matrices, device)


def render_images(
    images: Sequence[np.ndarray],
    size: int,
    matrices: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """As `input_images`, of images that are prepared."""
    device = torch.device(device)
    if device.type in RESIZED_ON_CPU:
        return render_images(images, size, matrices).to(device)
    prepared = [torch.from_numpy(np.ascontiguousarray(image)) for image in images]
    if len({image.shape for image in prepared}) == 1:
        return render(_send(torch.stack(prepared), device), size, _send(matrices, device))
    rendered = [
        render(_send(image[None], device), size, _send(_row(matrices, number), device))
        for number, image in enumerate(prepared)
    ]
    channels = max(image.shape[1] for image in rendered)
    return torch.cat([image.expand(-1, channels, -1, -1) for image in rendered])


def split_items(items: Sequence[Item]) -> tuple[np.ndarray, np.ndarray]:
    """Positions and view numbers, each int64, (B,)."""
    pairs = np.array([item if isinstance(item, tuple) else (item, 0) for item in items], np.int64)
    return pairs[:, 0], pairs[:, 1]


def _empty(count: int, width: int) -> Tensor:
    """A tensor to be filled: float32, (count, width)."""
    # torch fills its own with NaN where algorithms are to be deterministic.
    return torch.from_numpy(np.empty((count, width), np.float32))


def _row(matrices: Tensor | None, number: int) -> Tensor | None:
    return None if matrices is None else matrices[number : number + 1]


def _send(tensor: Any, device: torch.device) -> Any:
    if tensor is None or device.type == "cpu":
        return tensor
    # Pinned, a copy to a GPU does not wait for the passes before it.
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=device.type == "cuda")
