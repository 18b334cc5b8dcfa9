"""Splits of synthetic images: composites, controls and out-of-distribution images.

They are splits like any other: preparation and resizing come later, in the data set that has them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fashion_transfer.data.alignment import FOREGROUND
from fashion_transfer.data.batch import Split
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic import composites, out_of_distribution
from fashion_transfer.synthetic.composites import TooFewImagesError, check_labels, check_layout
from fashion_transfer.synthetic.images import BLOCK, MAX_ROWS, CompositeImages, OODImages
from fashion_transfer.synthetic.layouts import LAYOUTS, TRAINED_LAYOUTS
from fashion_transfer.synthetic.out_of_distribution import OUT_OF_DISTRIBUTION, ood_images


def composite_split(
    split: Split,
    rows: Sequence[int] | np.ndarray | None,
    layouts: Sequence[str],
    count: int,
    control: bool = False,
    multi_item_label: int = -1,
) -> Split:
    """Returns composites of some images of a split, or their controls, as a split.

    A larger count, or another label, changes no image. Blank images show no item, and are left out.

    Args:
        split: the source: grey, square images of one size, one item on black each.
        rows: of `split.images`, among `split.rows`: which images are the items; None: all.
        layouts: names in `LAYOUTS`, which alternate in blocks of `BLOCK` images.
        count: number of images, 0 to `MAX_ROWS`.
        control: give the controls, labelled with the class of their item.
        multi_item_label: label of the composites.

    Raises:
        ArgumentError: an unknown layout, none at all, rows that are not in the split, or a count
            that is not possible.
        TooFewImagesError: too few classes or images per class for a layout.
        FashionTransferError: the source's images are in colour, not square or of different sizes.
    """
    check_count(count)
    if not layouts:
        raise ArgumentError("layouts", "must name at least one layout, got none")
    chosen = np.asarray(split.rows if rows is None else rows, np.int64)
    labels = _labels_of(split, chosen)
    for layout in layouts:
        check_layout(layout)
    items = _grey_images(split, chosen)
    visible = items.max(axis=(1, 2)) > FOREGROUND
    if not visible.all():
        chosen, labels, items = chosen[visible], labels[visible], items[visible]
    for layout in layouts[: -(-count // BLOCK)]:  # the split has no image of the others
        check_labels(labels, layout)
    images = CompositeImages(items, labels, tuple(layouts), control, chosen)
    name = "controls" if control else "composites"
    numbers = np.arange(count)
    multi_item = np.full(count, multi_item_label, np.int64)
    return Split(
        name=f"{layouts[0]} {name}" if len(layouts) == 1 else name,
        images=images,
        labels=images.control_labels(numbers) if control else multi_item,
        rows=numbers,
        fingerprint=_fingerprint(
            images=name,
            version=composites.VERSION,
            source=split.fingerprint,
            rows=_hash(chosen),
            labels=_hash(labels),
            layouts=[[layout, asdict(LAYOUTS[layout])] for layout in layouts],
        ),
    )


def ood_split(name: str, split: Split, count: int) -> Split:
    """Returns out-of-distribution images as a split, all with the label -1.

    Args:
        name: one of `OUT_OF_DISTRIBUTION`.
        split: whose images are shuffled, for `shuffled_patches`: grey, square, of one size. The
            other sets do not use it.
        count: number of images, 0 to `MAX_ROWS`. A larger count changes no image.

    Raises:
        ArgumentError: an unknown name, or a count that is not possible.
        FashionTransferError: the images cannot be shuffled.
    """
    if name not in OUT_OF_DISTRIBUTION:
        raise ArgumentError(
            "name", f"must be one of {', '.join(OUT_OF_DISTRIBUTION)}, got {name!r}"
        )
    check_count(count)
    source: dict[str, Any] = {}
    images = None
    if name == "shuffled_patches":
        images = _grey_images(split, split.rows)
        source = {"source": split.fingerprint, "rows": _hash(split.rows)}
        ood_images(name, 0, images=images)  # rejects a size that cannot be cut into patches
    return Split(
        name=f"{name} images",
        images=OODImages(name, images),
        labels=np.full(count, -1, np.int64),
        rows=np.arange(count),
        fingerprint=_fingerprint(images=name, version=out_of_distribution.VERSION, **source),
    )


@dataclass(frozen=True)
class Exposure:
    """Gives the synthetic training images of a data set: composites and their controls.

    Outlier exposure (Hendrycks et al. 2019, "Deep anomaly detection with outlier exposure") with
    composites as the outliers: here they have a class of their own, *multi-item*, whose label is
    one more than the last class. Controls, labelled with the class of their item, teach the
    classifier that size, place and blur alone are no sign of several items.

    Args:
        composites: number of images of several items; 0: none, and no multi-item class.
        controls: number of images of one item that lies as in a composite; 0: none.
        images_per_class: the items are the first N training images per class, in file order, so
            that a larger training set leaves the synthetic images as they are.

    Raises:
        ArgumentError: a number is not possible.
    """

    composites: int = 1400
    controls: int = 3500
    images_per_class: int = 500

    def __post_init__(self) -> None:
        for name, minimum in (("composites", 0), ("controls", 0), ("images_per_class", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or not minimum <= value <= MAX_ROWS:
                raise ArgumentError(
                    name, f"must be a whole number from {minimum} to {MAX_ROWS}, got {value!r}"
                )

    @property
    def multi_item(self) -> bool:
        """Whether there is a multi-item class."""
        return self.composites > 0

    def __call__(self, train: Split, num_classes: int) -> list[Split]:
        """Returns composites and controls of training images, each at most as many as those.

        Args:
            train: the training split: grey, square images, one item on black each.
            num_classes: number of classes, which is the label of the composites.

        Raises:
            FashionTransferError: too few training images, or unsuitable ones.
        """
        items = self._items(train, num_classes)
        splits = []
        for count, control in ((self.composites, False), (self.controls, True)):
            count = min(count, len(train.labels))
            if not count:
                continue
            try:
                split = composite_split(train, items, TRAINED_LAYOUTS, count, control, num_classes)
            except TooFewImagesError as error:
                raise FashionTransferError(
                    f"too few training images: {error}, or set composites=0 and controls=0"
                ) from error
            splits.append(split)
        return splits

    def _items(self, train: Split, num_classes: int) -> np.ndarray:
        order = np.argsort(train.rows, kind="stable")
        rows, labels = train.rows[order], train.labels[order]
        first = [rows[labels == label][: self.images_per_class] for label in range(num_classes)]
        return np.sort(np.concatenate(first))


def check_count(count: int) -> None:
    """Checks the number of images of a split.

    Raises:
        ArgumentError: it is not possible.
    """
    if not 0 <= count <= MAX_ROWS:
        raise ArgumentError("count", f"must be 0 to {MAX_ROWS}, got {count}")


def _labels_of(split: Split, rows: np.ndarray) -> np.ndarray:
    """Class labels of rows of `split.images`: int64, (M,)."""
    missing = rows[~np.isin(rows, split.rows)]
    if len(missing):
        raise ArgumentError("rows", f"must be rows of the {split.name}, got {missing[0]}")
    labels: np.ndarray = np.empty(len(split.images), np.int64)
    labels[split.rows] = split.labels
    return np.take(labels, rows)


def _grey_images(split: Split, rows: np.ndarray) -> np.ndarray:
    """Images at some rows of a split's source: uint8, (M, h, h)."""
    if not len(rows):
        return np.empty((0, 1, 1), np.uint8)
    shape = split.images[int(rows[0])].shape
    if shape[0] == 1 and shape[1] == shape[2]:
        if isinstance(split.images, np.ndarray):
            # A view where it can be, since evaluation has a split per layout.
            whole = np.array_equal(rows, np.arange(len(split.images)))
            grey: np.ndarray = split.images[:, 0]
            return grey if whole else grey[rows]
        images = split.read(rows)
        if all(image.shape == shape for image in images):
            return np.concatenate(images)
        shape = next(image.shape for image in images if image.shape != shape)
    raise FashionTransferError(
        f"{split.name} are of shape {shape}: synthetic images need grey, square images of one "
        "size, (1, h, h): use such images, or no synthetic ones"
    )


def _hash(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers, np.int64).tobytes()).hexdigest()


def _fingerprint(**parts: Any) -> str:
    """SHA-256 of canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
