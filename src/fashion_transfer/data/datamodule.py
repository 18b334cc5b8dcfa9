"""The LightningDataModule: subset, validation and test, as images or as kept features."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal, Protocol

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from fashion_transfer.data.composites import LAYOUTS, TRAINED_LAYOUTS
from fashion_transfer.data.datasets import Batch, Features, ViewDataset, ViewSampler
from fashion_transfer.data.made import MOST, MadeDataset, Mixture, composite_set, unfamiliar_set
from fashion_transfer.data.sources import CLASSES, Split, find_files, load_split
from fashion_transfer.data.subset import balanced_subset
from fashion_transfer.data.unfamiliar import UNFAMILIAR
from fashion_transfer.data.views import Augmentation, render, view_matrices
from fashion_transfer.errors import FashionTransferError

ITEMS_PER_CLASS = 500
"""Images of each class that composites are made of."""


class Extractor(Protocol):
    """Gives features for images, from a store where it has them (see `features.Extractor`)."""

    def __call__(
        self,
        key: Mapping[str, Any],
        rows: int,
        indices: np.ndarray,
        render: Callable[[np.ndarray, torch.device], Tensor],
        title: str,
    ) -> Features:
        """Features of the images at `indices`.

        Args:
            key: all that determines the pixels that reach the backbone, JSON types only.
            rows: how many images the file has.
            indices: the images wanted, int64, ascending.
            render: gives the backbone's input for some indices, (B, C, S, S) in [0, 1], on a
                device: what travels there is 28 x 28 bytes an image.
            title: what to call this work on the progress bar.
        """


class FashionMNISTDataModule(L.LightningDataModule):
    """500 images a class of Fashion-MNIST, grey 28 x 28, brought to the backbone's input size.

    Three disjoint sets: the subset (from the training file less validation), validation (the last
    `val_per_class` of each class in the training file), test (the official 10,000). A dataloader
    yields a `Batch`. Given an `extractor`, it holds features wherever a feature can be kept;
    without one, images, rendered on the device by whole batches.

    Args:
        dir: where the four IDX files are looked for first, and downloaded to.
        images_per_class: size of the subset, a class; "all" takes what validation leaves.
        selection: "first" in file order or "random" under `seed`.
        seed: draws the random selection and, with the epoch, order and views.
        val_per_class: validation images of each class.
        composites: training images of several items, made of the subset's (of its first
            `ITEMS_PER_CLASS` a class in file order: with selection="first", a larger subset leaves
            them as they are); as many as
            the subset has at most. Their label is one more than the classes'. 0: none.
        controls: training images of one item that lies as it does in a composite, likewise.
        image_size: height and width of the backbone's input, pixels.
        augmentation: what a view other than the clean one may do.
        views: how many views of a training image are kept; each epoch draws one of them. None:
            every epoch sees a fresh view, computed in the loop, never kept.
        view_seed: seed of the views alone, so that runs under other seeds share features.
        batch_size: images a batch.
        num_workers: processes that prepare image batches; features need none.
        check_md5: refuse any files but the official ones.
        extractor: turns images into kept features; may be set later, before `setup`.

    Raises:
        FashionTransferError: a value is not possible, or the files are missing or damaged.
    """

    def __init__(
        self,
        dir: str = "data",
        images_per_class: int | Literal["all"] = 500,
        selection: Literal["first", "random"] = "first",
        seed: int = 0,
        val_per_class: int = 100,
        composites: int = 0,
        controls: int = 0,
        image_size: int = 224,
        augmentation: Augmentation | None = None,
        views: int | None = 2,
        view_seed: int = 0,
        batch_size: int = 64,
        num_workers: int = 0,
        check_md5: bool = True,
        extractor: Extractor | None = None,
    ) -> None:
        super().__init__()
        if image_size < 32:
            raise FashionTransferError(
                f"data.image_size is {image_size}: the backbone needs at least 32 pixels"
            )
        least = {"views": 1, "batch_size": 1, "num_workers": 0, "seed": 0, "view_seed": 0}
        least |= {"composites": 0, "controls": 0}
        given = (views, batch_size, num_workers, seed, view_seed, composites, controls)
        for (name, lowest), value in zip(least.items(), given, strict=True):
            if value is not None and value < lowest:
                raise FashionTransferError(f"data.{name} is {value}: it must be at least {lowest}")
        self.dir = dir
        self.images_per_class = images_per_class
        self.selection = selection
        self.seed = seed
        self.val_per_class = val_per_class
        self.composites = composites
        self.controls = controls
        self.image_size = image_size
        self.augmentation = augmentation or Augmentation()
        self.views = views
        self.view_seed = view_seed
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.check_md5 = check_md5
        self.extractor = extractor
        self.train_set: ViewDataset | None = None
        self.made_sets: list[MadeDataset] = []
        self.val_set: ViewDataset | None = None
        self.test_set: ViewDataset | None = None
        self._next_epoch = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ten classes, by label."""
        return CLASSES

    def prepare_data(self) -> None:
        """Finds the files, or downloads them."""
        find_files(self.dir)

    def setup(self, stage: str | None = None) -> None:
        """Reads the files and, given an extractor, fills what is missing of the features."""
        folder = find_files(self.dir, download=False)
        if stage in (None, "fit", "validate") and self.val_set is None:
            split = load_split(folder, train=True, check_md5=self.check_md5)
            subset, validation = balanced_subset(
                split.labels, self.images_per_class, self.selection, self.seed, self.val_per_class
            )
            self.train_set = self._dataset(split, subset, "training", self.views)
            self.made_sets = self._made_for_training(split, subset)
            self.val_set = self._dataset(split, validation, "validation", 1)
        if stage in (None, "test") and self.test_set is None:
            split = load_split(folder, train=False, check_md5=self.check_md5)
            self.test_set = self._dataset(split, np.arange(len(split.labels)), "test", 1)

    def train_dataloader(self) -> DataLoader[Batch]:
        """The subset, one view of each image, composites and controls; all from (seed, epoch)."""
        assert self.train_set is not None, "setup('fit') comes first"
        every = Mixture([self.train_set, *self.made_sets]) if self.made_sets else self.train_set
        sampler = ViewSampler(len(every), self.views, self.seed)
        sampler.set_epoch(self._next_epoch)  # workers fetch before Lightning names the epoch
        return self._loader(every, sampler)

    def clean_dataloader(self) -> DataLoader[Batch]:
        """The subset's clean images in file order: what the features are standardised by."""
        assert self.train_set is not None, "setup('fit') comes first"
        return self._loader(self.train_set)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation images, clean, in file order."""
        assert self.val_set is not None, "setup('fit') comes first"
        return self._loader(self.val_set)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The official test images, clean, in file order."""
        assert self.test_set is not None, "setup('test') comes first"
        return self._loader(self.test_set)

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps: the epoch to go on with."""
        assert self.trainer is not None
        return {"next_epoch": self.trainer.current_epoch + 1}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Takes up what `state_dict` gave."""
        self._next_epoch = state_dict["next_epoch"]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Renders a batch of 28 x 28 pixels where it is cheapest: whole, on the device."""
        if "pixels" not in batch:
            return batch
        batch = dict(batch)
        matrices = batch.pop("matrices", None)
        images = render(batch.pop("pixels"), self.image_size, matrices)
        if "images" in batch:  # composites, after the subset's
            images = torch.cat([images, batch["images"]])
        return batch | {"images": images}

    def kinds(self, count: int) -> dict[str, MadeDataset]:
        """Test images of every kind that a warning is measured on.

        `multi/LAYOUT` and `control/LAYOUT` are composites of test images and their controls,
        `unfamiliar/KIND` shows nothing of Fashion-MNIST.

        Args:
            count: images of each kind.
        """
        assert self.test_set is not None, "setup('test') comes first"
        split, indices, size = self.test_set.split, self.test_set.indices, self.image_size
        kinds: dict[str, MadeDataset] = {}
        for name in LAYOUTS:
            for kind, control in (("multi", False), ("control", True)):
                made = composite_set(split, indices, [name], count, size, control)
                kinds[f"{kind}/{name}"] = made
        for name in UNFAMILIAR:
            kinds[f"unfamiliar/{name}"] = unfamiliar_set(name, split, count, size)
        for name, made in kinds.items():
            self._keep(made, f"{name} images")
        return kinds

    def kind_dataloader(self, made: MadeDataset) -> DataLoader[Batch]:
        """The images of one of `kinds`, by number."""
        return self._loader(made)

    def _dataset(
        self, split: Split, indices: np.ndarray, title: str, views: int | None
    ) -> ViewDataset:
        dataset = ViewDataset(split, indices, self.augmentation, self.view_seed)
        self._fill(dataset, title, views or 1)  # of fresh views only the clean one is kept
        dataset.fresh = views is None
        return dataset

    def _made_for_training(self, split: Split, subset: np.ndarray) -> list[MadeDataset]:
        labels = split.labels[subset]
        first = [subset[labels == label][:ITEMS_PER_CLASS] for label in range(len(CLASSES))]
        items = np.sort(np.concatenate(first))
        found = []
        for count, control in ((self.composites, False), (self.controls, True)):
            count = min(count, len(subset))
            if not count:
                continue
            try:
                made = composite_set(split, items, TRAINED_LAYOUTS, count, self.image_size, control)
            except FashionTransferError as error:
                raise FashionTransferError(
                    f"data.images_per_class is {self.images_per_class}, too few to compose images "
                    f"of several items ({error}): give more, or data.composites=0 data.controls=0"
                ) from error
            if self.views is not None:  # with fresh views, batches hold images
                self._keep(made, f"{'controls' if control else 'composites'}")
            found.append(made)
        return found

    def _keep(self, made: MadeDataset, title: str) -> None:
        if self.extractor is None:
            return
        key, numbers = {**made.key, "image_size": self.image_size}, np.arange(len(made))
        made.features = [self.extractor(key, MOST, numbers, made.render, title)]

    def _fill(self, dataset: ViewDataset, title: str, views: int) -> None:
        if self.extractor is None:
            return
        for view in range(views):
            name = f"{title} images" + (f", view {view}" if view else "")
            dataset.features.append(self._extract(self.extractor, dataset, view, name))

    def _extract(
        self, extractor: Extractor, dataset: ViewDataset, view: int, title: str
    ) -> Features:
        split, augmentation, seed = dataset.split, dataset.augmentation, dataset.view_seed
        # A clean image does not depend on the augmentation, so its key does not name it.
        drawn = {"view_seed": seed, **asdict(augmentation)} if view else {}
        key = {"pixels": split.md5, "image_size": self.image_size, "view": view, **drawn}

        def rendered(rows: np.ndarray, device: torch.device) -> Tensor:
            pixels = _send(torch.from_numpy(split.images[rows]), device)
            if not view:
                return render(pixels, self.image_size)
            matrices = view_matrices(rows, np.full(len(rows), view), augmentation, seed)
            return render(pixels, self.image_size, _send(matrices, device))

        return extractor(key, len(split.labels), dataset.indices, rendered, title)

    def _loader(
        self, dataset: ViewDataset | MadeDataset | Mixture, sampler: Sampler[Any] | None = None
    ) -> DataLoader[Batch]:
        first = dataset.datasets[0] if isinstance(dataset, Mixture) else dataset
        workers = self.num_workers if not first.features or getattr(first, "fresh", False) else 0
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=workers,
            collate_fn=_as_it_is,
            persistent_workers=workers > 0,
            # Its own, since it draws from one: the global one must depend on the epoch alone.
            generator=torch.Generator(),
        )


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    # Pinned, a copy to a GPU does not wait for the passes before it.
    pinned = tensor.pin_memory() if device.type == "cuda" else tensor
    return pinned.to(device, non_blocking=device.type == "cuda")


def _as_it_is(batch: Any) -> Any:
    return batch
