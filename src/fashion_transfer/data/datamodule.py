"""The contract of a data set: names, splits and a preparation; all else comes from here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fashion_transfer import ranks
from fashion_transfer.data.augmentation import Augmentation
from fashion_transfer.data.batch import Batch, Split
from fashion_transfer.data.datasets import (
    CachedFeatures,
    ConcatDataset,
    ImageDataset,
    Request,
)
from fashion_transfer.data.preparation import get_preparation
from fashion_transfer.data.samplers import ShardSampler, ViewSampler
from fashion_transfer.errors import ArgumentError, FashionTransferError

SplitName = Literal["train", "val", "test"]

MINIMUM = {
    "image_size": 32,
    "views": 1,
    "view_seed": 0,
    "seed": 0,
    "batch_size": 1,
    "min_epoch_size": 1,
    "num_workers": 0,
}
"""Smallest value of each whole number."""


class Extractor(Protocol):
    """Gives features of images, from a cache where it has them (see `features.Extractor`)."""

    def __call__(
        self,
        key: Mapping[str, Any],
        source_size: int | None,
        rows: np.ndarray,
        inputs: Callable[[np.ndarray, torch.device], Tensor],
        title: str,
    ) -> CachedFeatures:
        """Features of some images of a source.

        Args:
            key: all that determines the backbone's input, JSON types only; its height and width in
                pixels is `image_size`.
            source_size: number of images in the source; None: rows are keys of images.
            rows: int64, (N,), the images wanted.
            inputs: gives the backbone's input for some rows, (B, C, S, S) in [0, 1], on a device.
            title: the name of this work on the progress bar.
        """

    def plan(self, requests: Sequence[Request]) -> AbstractContextManager[None]:
        """Makes the calls within it share a progress bar; checks before that there is room."""


class Synthesis(Protocol):
    """Makes further training images from those of the training split (see `synthetic`).

    Attributes:
        multi_item: whether some show several items. Their label is then the number of classes.
    """

    @property
    def multi_item(self) -> bool:
        """As the attribute."""

    def __call__(self, train: Split, num_classes: int) -> list[Split]:
        """The further training splits."""


class ClassificationDataModule(L.LightningDataModule):
    """Training, validation and test images of a data set, as images or as cached features.

    A data set is a subclass with `preparation`, `class_names` and `load_split`, and a file in
    `conf/data/`. Everything else (views, synthetic images, cached features, loaders) is here.
    A loader yields a `Batch`. Given an extractor, it holds features wherever they can be cached.

    Args:
        image_size: height and width of the backbone's input, pixels.
        augmentation: ranges of the views other than the clean one.
        views: number of cached views per training image; each epoch draws one of them. None:
            every epoch computes a fresh view, which is not cached.
        view_seed: of the views only, so that runs with other seeds share features.
        seed: with the epoch, determines the order of images and the view drawn.
        batch_size: images per batch; of several ranks, those of all of them together.
        min_epoch_size: images per epoch, by several passes over half as many or fewer, if cached.
        num_workers: processes that prepare image batches; cached features need none.
        synthetic: makes further training images, such as composites; None: there are none.
        extractor: computes and caches features; may be set later, before `setup`.

    Attributes:
        preparation: name of the data set's preparation in `PREPARATIONS`.
        train_set: the training images; None before `setup`, as the others.
        synthetic_sets: the images of `synthetic`.
        val_set: validation images; None if the data set has none.
        test_set: test images; None if the data set has none.

    Raises:
        ArgumentError: a value is not possible.
    """

    preparation: str = "photo"

    def __init__(
        self,
        image_size: int = 224,
        augmentation: Augmentation | None = None,
        views: int | None = 1,
        view_seed: int = 0,
        seed: int = 0,
        batch_size: int = 128,
        min_epoch_size: int = 2048,
        num_workers: int = 0,
        synthetic: Synthesis | None = None,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__()
        self.image_size = image_size
        self.augmentation = augmentation or Augmentation()
        self.views = views
        self.view_seed = view_seed
        self.seed = seed
        self.batch_size = batch_size
        self.min_epoch_size = min_epoch_size
        self.num_workers = num_workers
        self.synthetic = synthetic
        self.extractor = extractor
        self.train_set: ImageDataset | None = None
        self.synthetic_sets: list[ImageDataset] = []
        self.val_set: ImageDataset | None = None
        self.test_set: ImageDataset | None = None
        self._next_epoch = 0
        _check_numbers(self)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by label."""
        raise NotImplementedError

    def load_split(self, name: SplitName) -> Split | None:
        """The training, validation or test images; None if the data set has no such split."""
        raise NotImplementedError

    def read_ahead(self) -> None:
        """Begins to read what `setup` will need for training, where that takes a while."""

    @property
    def multi_item(self) -> bool:
        """Whether training images of several items have a label of their own."""
        return self.synthetic is not None and self.synthetic.multi_item

    @property
    def class_counts(self) -> list[int]:
        """Number of training images of each class, synthetic ones included, after `setup`."""
        assert self.train_set is not None, "setup('fit') comes first"
        labels = [dataset.split.labels for dataset in (self.train_set, *self.synthetic_sets)]
        counts = np.bincount(np.concatenate(labels), minlength=len(self.class_names))
        return [int(count) for count in counts[: len(self.class_names)]]

    def setup(self, stage: str | None = None) -> None:
        """Reads the splits of a stage (None: all) and, given an extractor, caches their features.

        Raises:
            FashionTransferError: there is no room for them, or fewer images than ranks.
        """
        views: dict[ImageDataset, int] = {}  # to cache
        if stage in (None, "fit", "validate") and self.train_set is None:
            with ranks.first():  # it notes what the others then need not read again
                train, val = self.load_split("train"), self.load_split("val")
            assert train is not None, "a data set has training images"
            self.train_set = self._new_dataset(train, self.views)
            views[self.train_set] = 1 if self.views is None else self.views
            synthetic = self.synthetic(train, len(self.class_names)) if self.synthetic else []
            self.synthetic_sets = [self._new_dataset(split) for split in synthetic]
            # With fresh views, batches hold images, and a batch holds one form only.
            views |= dict.fromkeys(self.synthetic_sets, 0 if self.views is None else 1)
            self.val_set = None if val is None else self._new_dataset(val)
            views |= {} if self.val_set is None else {self.val_set: 1}
        if stage in (None, "test") and self.test_set is None:
            with ranks.first():
                test = self.load_split("test")
            self.test_set = None if test is None else self._new_dataset(test)
            views |= {} if self.test_set is None else {self.test_set: 1}
        self._cache_features(views)

    def make_datasets(self, splits: Sequence[Split]) -> list[ImageDataset]:
        """Datasets of the clean images of splits, with cached features, given an extractor."""
        datasets = [self._new_dataset(split) for split in splits]
        self._cache_features(dict.fromkeys(datasets, 1))
        return datasets

    def _new_dataset(self, split: Split, views: int | None = 1) -> ImageDataset:
        if len(split) < ranks.world_size():
            raise FashionTransferError(
                f"{len(split)} {split.name} cannot be shared by {ranks.world_size()} processes: "
                "use fewer devices, or more images"
            )
        augmentation = None if views == 1 else self.augmentation
        preparation = get_preparation(self.preparation)
        dataset = ImageDataset(split, preparation, self.image_size, augmentation, self.view_seed)
        dataset.fresh = views is None
        return dataset

    def _cache_features(self, views: Mapping[ImageDataset, int]) -> None:
        """Caches that many views of each dataset, once there is room for all of them."""
        if self.extractor is None:
            return
        requests = [
            (dataset, dataset.request(view))
            for dataset, count in views.items()
            for view in range(count)
        ]
        with self.extractor.plan([request for _, request in requests]):
            for dataset, request in requests:
                dataset.features.append(self.extractor(*request))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training and synthetic images, a view of each; order and views from (seed, epoch)."""
        assert self.train_set is not None, "setup('fit') comes first"
        sets: Sequence[ImageDataset] = [self.train_set, *self.synthetic_sets]
        dataset = ConcatDataset(sets) if len(sets) > 1 else sets[0]
        size, place = len(dataset), (ranks.rank(), ranks.world_size())
        passes = max(1, self.min_epoch_size // size) if self.views else 1
        sampler = ViewSampler(size, self.views, self.seed, self.batch_size, *place, passes)
        sampler.set_epoch(self._next_epoch)  # workers fetch before Lightning names the epoch
        return self._loader(dataset, self.train_set, sampler)

    def clean_dataloader(self) -> DataLoader[Batch]:
        """The clean training images in order: what features are standardised by."""
        assert self.train_set is not None, "setup('fit') comes first"
        return self.dataloader(self.train_set)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Validation images, clean, in order; an empty list if there are none."""
        return [] if self.val_set is None else self.dataloader(self.val_set)

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Test images, clean, in order; an empty list if there are none."""
        return [] if self.test_set is None else self.dataloader(self.test_set)

    def dataloader(self, dataset: ImageDataset) -> DataLoader[Batch]:
        """The images of a dataset, clean, in order; of several ranks, this one's part of them."""
        place = ranks.rank(), ranks.world_size()
        shard = ShardSampler(len(dataset), *place) if ranks.world_size() > 1 else None
        return self._loader(dataset, dataset, shard)

    def state_dict(self) -> dict[str, int]:
        """The epoch to continue with, for the checkpoint."""
        assert self.trainer is not None
        # The number of epochs that have begun, whether the last one has ended by now or not.
        return {"next_epoch": self.trainer.fit_loop.epoch_progress.current.ready}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Restores what `state_dict` gave."""
        self._next_epoch = state_dict["next_epoch"]

    def _loader(
        self, dataset: Dataset[Batch], first: ImageDataset, sampler: Sampler[Any] | None = None
    ) -> DataLoader[Batch]:
        workers = self.num_workers if not first.features or first.fresh else 0
        return DataLoader(
            dataset,
            batch_size=self.batch_size // ranks.world_size(),
            sampler=sampler,
            num_workers=workers,
            collate_fn=_identity,
            persistent_workers=workers > 0,
            # Its own, since it draws from one: the global one must depend on the epoch alone.
            generator=torch.Generator(),
        )


def _check_numbers(datamodule: ClassificationDataModule) -> None:
    for name, minimum in MINIMUM.items():
        value = getattr(datamodule, name)
        if value is None and name == "views":
            continue
        if not isinstance(value, int) or value < minimum:
            raise ArgumentError(name, f"must be a whole number from {minimum}, got {value!r}")


def _identity(batch: Any) -> Any:
    """The batch itself: datasets fetch whole batches."""
    return batch
