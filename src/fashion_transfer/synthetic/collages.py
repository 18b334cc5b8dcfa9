"""Splits of collages, which are composites of photos, and of their controls.

Photos show no item on black, so composites of them are collages as people make them on a phone.
The splits are content-addressed: a collage has a key that everything it shows determines, so that
a photo more or less changes few keys, and only what changed is computed again.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np

from fashion_transfer.data.batch import Split
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic import out_of_distribution
from fashion_transfer.synthetic.collage_images import (
    PATCHED_SIZE,
    Collages,
    KeyedImages,
    ShuffledPatches,
)
from fashion_transfer.synthetic.collage_pixels import VERSION
from fashion_transfer.synthetic.composites import TooFewImagesError
from fashion_transfer.synthetic.images import MAX_ROWS
from fashion_transfer.synthetic.item_choice import (
    choose_control,
    choose_items,
    enough_photos,
    hash_integers,
)
from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS, TRAINED_COLLAGES
from fashion_transfer.synthetic.splits import check_count, ood_split

MIN_COUNT = 24
"""Minimum number of training collages, and of controls: three of each layout."""

log = logging.getLogger(__name__)


def collage_split(
    split: Split,
    layouts: Sequence[str],
    count: int,
    control: bool = False,
    multi_item_label: int = -1,
) -> Split:
    """Returns collages of the photos of a split, or their controls, as a content-addressed split.

    A larger count, or another label, changes no image. A control is one photo of its collage,
    drawn at random, alone on the same canvas, where and as it lies in the collage.

    Args:
        split: the source: photos of any size, content-addressed or not.
        layouts: names in `COLLAGE_LAYOUTS`, which take turns.
        count: number of images, 0 to `MAX_ROWS`.
        control: give the controls, labelled with the class of their photo.
        multi_item_label: label of the collages.

    Raises:
        ArgumentError: an unknown layout, none at all, or a count that is not possible.
        TooFewImagesError: too few photos for a layout.
    """
    check_count(count)
    _check_layouts(layouts)
    keys, rows, labels = _photos(split)
    for layout in layouts:
        if not enough_photos(labels, layout):
            raise TooFewImagesError(_too_few(split, layout))
    width = max(len(COLLAGE_LAYOUTS[layout].cells) for layout in layouts)
    items = np.full((count, width), -1, np.int64)
    shown = np.zeros(count, np.int64)
    content = np.empty(count, np.int64)
    for index, layout in enumerate(layouts):
        places = np.arange(index, count, len(layouts))
        numbers = places // len(layouts)
        chosen = choose_items(keys, labels, layout, numbers)
        items[places, : chosen.shape[1]] = chosen
        shown[places] = choose_control(layout, numbers)
        recipe = {"layout": layout, **asdict(COLLAGE_LAYOUTS[layout]), "control": control}
        content[places] = _content_keys(recipe, np.column_stack([numbers, keys[chosen]]))
    item_labels = labels[items[np.arange(count), shown]]
    render = Collages(split, tuple(layouts), rows[items], shown if control else None)
    name = "controls" if control else "collages"
    return Split(
        name=f"{layouts[0]} {name}" if len(layouts) == 1 else name,
        images=KeyedImages(content, render),
        labels=item_labels if control else np.full(count, multi_item_label, np.int64),
        fingerprint=None,
        rows=content,
    )


def photo_ood_split(name: str, split: Split, count: int) -> Split:
    """Returns the out-of-distribution images of a data set of photos, all with the label -1.

    They are those of `ood_split`, but `shuffled_patches` are of the central squares of photos, in
    colour, 224 pixels high and wide, and content-addressed: a photo more changes no other image.

    Args:
        name: one of `OUT_OF_DISTRIBUTION`.
        split: whose photos are shuffled, for `shuffled_patches`: of any size.
        count: number of images, 0 to `MAX_ROWS`.

    Raises:
        ArgumentError: an unknown name, or a count that is not possible.
        TooFewImagesError: there is no photo to shuffle.
    """
    if name != "shuffled_patches":
        return ood_split(name, split, count)
    check_count(count)
    keys, rows, _ = _photos(split)
    if not len(keys):
        raise TooFewImagesError(f"{split.name}: no photo to shuffle: give more images")
    order = np.argsort(hash_integers(keys), kind="stable")
    # No photo repeats before all have occurred.
    chosen, draws = order[np.arange(count) % len(order)], np.arange(count) // len(order)
    recipe = {"images": name, "version": out_of_distribution.VERSION, "size": PATCHED_SIZE}
    content = _content_keys(recipe, np.column_stack([draws, keys[chosen]]))
    # The permutation follows from the key, too, and not from the place in the order.
    render = ShuffledPatches(split, rows[chosen], content)
    labels = np.full(count, -1, np.int64)
    return Split(f"{name} images", KeyedImages(content, render), labels, None, content)


@dataclass(frozen=True)
class CollageExposure:
    """Gives the synthetic training images of a data set of photos: collages and their controls.

    As `Exposure`, outlier exposure with a class of its own, *multi-item*, whose label is one more
    than the last class. The number of images follows that of the photos.

    Args:
        composites: number of collages, as a fraction of the number of training photos, but at
            least `MIN_COUNT` and at most `MAX_ROWS`; 0: none, and no multi-item class.
        controls: the same of controls; 0: none.

    Raises:
        ArgumentError: a number is not possible.
    """

    composites: float = 0.3
    controls: float = 0.3

    def __post_init__(self) -> None:
        for name in ("composites", "controls"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not 0 <= value < inf
            ):
                raise ArgumentError(
                    name, f"must be a fraction of the training photos, from 0, got {value!r}"
                )

    @property
    def multi_item(self) -> bool:
        """Whether there is a multi-item class."""
        return self.composites > 0

    def __call__(self, train: Split, num_classes: int) -> list[Split]:
        """Returns collages and controls of training photos, in the layouts that these suffice for.

        Args:
            train: the training split.
            num_classes: number of classes, which is the label of the collages.

        Raises:
            FashionTransferError: the photos suffice for no layout.
        """
        fractions = (self.composites, False), (self.controls, True)
        if not any(fraction for fraction, _ in fractions):
            return []
        labels = _photos(train)[2]
        layouts = [layout for layout in TRAINED_COLLAGES if enough_photos(labels, layout)]
        if not layouts:
            raise FashionTransferError(
                f"too few training images: {_too_few(train, TRAINED_COLLAGES[0])}, or set "
                "composites=0 and controls=0"
            )
        missing = [layout for layout in TRAINED_COLLAGES if layout not in layouts]
        if missing:
            log.warning("too few training images for collages: %s", ", ".join(missing))
        return [
            collage_split(train, layouts, self._count(fraction, train), control, num_classes)
            for fraction, control in fractions
            if fraction
        ]

    @staticmethod
    def _count(fraction: float, train: Split) -> int:
        return round(min(max(fraction * len(train), MIN_COUNT), MAX_ROWS))


def _check_layouts(layouts: Sequence[str]) -> None:
    if not layouts:
        raise ArgumentError("layouts", "must name at least one layout, got none")
    for layout in layouts:
        if layout not in COLLAGE_LAYOUTS:
            names = ", ".join(COLLAGE_LAYOUTS)
            raise ArgumentError("layout", f"must be one of {names}, got {layout!r}")


def _too_few(split: Split, layout: str) -> str:
    count = len(COLLAGE_LAYOUTS[layout].cells)
    of_class = "of one class " if COLLAGE_LAYOUTS[layout].classes == "same" else ""
    return (
        f"layout {layout!r} needs {count} different photos {of_class}among the {split.name}, which "
        f"are {len(split)}: give more images"
    )


def _photos(split: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Content keys, rows of `split.images` and labels of a split's photos, each (M,), each once."""
    keys, rows = split.rows, split.rows
    if split.fingerprint is not None:
        # A row of a source is content as well, as long as the source does not change.
        keys = _content_keys({"source": split.fingerprint}, rows[:, None])
    keys, first = np.unique(keys, return_index=True)
    return keys, rows[first], split.labels[first]


def _content_keys(recipe: dict[str, Any], numbers: np.ndarray) -> np.ndarray:
    """63-bit hashes of a recipe, this module's version, and each row of whole numbers: (N,)."""
    text = json.dumps({"version": VERSION, **recipe}, sort_keys=True, separators=(",", ":"))
    prefix = hashlib.blake2b(text.encode(), digest_size=8)
    keys = np.empty(len(numbers), np.int64)
    for place, row in enumerate(np.ascontiguousarray(numbers, "<i8")):
        content = prefix.copy()
        content.update(row.tobytes())
        keys[place] = int.from_bytes(content.digest(), "big") >> 1
    return keys
