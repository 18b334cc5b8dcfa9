"""Fashion-MNIST: a balanced subset of the training images, and the official test images."""

import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fashion_transfer.data.alignment import FOREGROUND
from fashion_transfer.data.batch import Split
from fashion_transfer.data.datamodule import ClassificationDataModule, SplitName
from fashion_transfer.data.idx_files import IdxPair, find_files, load_pair
from fashion_transfer.data.subset import balanced_subset
from fashion_transfer.errors import FashionTransferError

log = logging.getLogger(__name__)

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class FashionMNISTDataModule(ClassificationDataModule):
    """500 images per class of Fashion-MNIST, grey, 28 x 28; the source is Xiao et al. 2017.

    Three disjoint splits: the subset (of the training file, without validation), validation (the
    last `val_per_class` of each class in the training file), test (the official 10,000).

    Args:
        dir: where the four IDX files are looked for first, and downloaded to.
        images_per_class: size of the subset per class; "all" takes what validation leaves.
        selection: "first" in file order or "random" under `seed`.
        val_per_class: validation images per class; 0: no validation.
        batch_size: images per step.
        min_epoch_size: images per epoch, by passing over fewer several times.
        check_md5: refuse any files but the official ones. Other data sets in their format have ten
            classes, too, and square images; their test files may be empty.
        **options: of `ClassificationDataModule`.

    Raises:
        ArgumentError: a value is not possible.
        FashionTransferError: the files are missing or damaged.
    """

    preparation = "fashion_mnist"

    def __init__(
        self,
        dir: str = "data",
        images_per_class: int | Literal["all"] = 500,
        selection: Literal["first", "random"] = "first",
        val_per_class: int = 100,
        batch_size: int = 256,
        min_epoch_size: int = 4096,
        check_md5: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(batch_size=batch_size, min_epoch_size=min_epoch_size, **options)
        self.dir = dir
        self.images_per_class = images_per_class
        self.selection = selection
        self.val_per_class = val_per_class
        self.check_md5 = check_md5
        self._pairs: dict[bool, IdxPair] = {}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the ten classes, by label."""
        return CLASS_NAMES

    def prepare_data(self) -> None:
        """Finds the files, or downloads them."""
        find_files(self.dir, official=self.check_md5)

    def read_ahead(self) -> None:
        """Reads the training files in a thread, which `setup` then need not decompress."""
        threading.Thread(target=self._read_training_files, daemon=True).start()

    def _read_training_files(self) -> None:
        with suppress(FashionTransferError):  # which `setup` will raise
            folder = find_files(self.dir, download=False, official=self.check_md5)
            load_pair(folder, train=True, check_md5=self.check_md5)

    def load_split(self, name: SplitName) -> Split | None:
        """The subset, validation or test images."""
        if name == "test":
            pair = self._pair(train=False)
            rows = np.arange(len(pair.labels))
            return _split("test images", pair, rows) if len(rows) else None
        pair = self._pair(train=True)
        subset, validation = balanced_subset(
            pair.labels,
            self.class_names,
            self.images_per_class,
            self.selection,
            self.seed,
            self.val_per_class,
        )
        if name == "train":
            return _split("training images", pair, subset)
        return _split("validation images", pair, validation) if len(validation) else None

    def _pair(self, train: bool) -> IdxPair:
        """A pair of files, read once: training and validation share one."""
        if train not in self._pairs:
            self._pairs[train] = self._load(train)
        return self._pairs[train]

    def _load(self, train: bool) -> IdxPair:
        folder = find_files(self.dir, download=False, official=self.check_md5)
        pair = load_pair(folder, train, self.check_md5)
        if not self.check_md5:
            _check_others(folder, pair, train)
        return pair


def _check_others(folder: Path, pair: IdxPair, train: bool) -> None:
    """Checks files of another data set, and names the images that show nothing."""
    name = "training" if train else "test"
    counts = np.bincount(pair.labels, minlength=len(CLASS_NAMES))
    if len(counts) > len(CLASS_NAMES):
        raise FashionTransferError(
            f"{folder}: the labels of the {name} images go up to {len(counts) - 1}, expected 0 to "
            f"{len(CLASS_NAMES) - 1}: is this another data set?"
        )
    if train and not counts.all():
        raise FashionTransferError(
            f"{folder}: no training image has the label {np.flatnonzero(counts == 0)[0]}, expected "
            f"0 to {len(CLASS_NAMES) - 1}: is this another data set?"
        )
    height, width = pair.images.shape[1:]
    if height != width:
        raise FashionTransferError(
            f"{folder}: the {name} images are {height} pixels high and {width} wide, expected "
            "square ones: pad them with black"
        )
    blank = np.flatnonzero(pair.images.max(axis=(1, 2), initial=0) <= FOREGROUND)
    if len(blank):
        numbers = ", ".join(map(str, blank[:5])) + (", ..." if len(blank) > 5 else "")
        log.warning(
            "%s: %d of %d %s images are blank, and in no composite: number %s, counted from 0",
            *(folder, len(blank), len(pair.labels), name, numbers),
        )


def _split(name: str, pair: IdxPair, rows: np.ndarray) -> Split:
    return Split(name, pair.images[:, None], pair.labels[rows], pair.md5, rows)
