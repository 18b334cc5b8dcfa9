"""Content-addressed splits of listed photos: every picture once, in one split, under one label."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from fashion_transfer.data.batch import Split
from fashion_transfer.data.datamodule import SplitName
from fashion_transfer.data.folder_listing import Listing, Photo
from fashion_transfer.data.photo_index import Entry
from fashion_transfer.data.photos import Photos, content_key
from fashion_transfer.errors import ArgumentError, FashionTransferError

log = logging.getLogger(__name__)

NAMES: dict[SplitName, str] = {
    "test": "test images",
    "val": "validation images",
    "train": "training images",
}
"""What people call the splits. A picture in two of them stays in the one that comes first here."""

TRAIN_LIMIT, VAL_LIMIT = 0.8, 0.9
"""Where the pixel hash, as a fraction, ends the training and the validation photos."""

NAMED = 5
"""How many files or pairs a message names before it counts the others."""


def drawn_split(pixels: str) -> SplitName:
    """The split that a picture belongs to by its pixel hash: 80, 10 and 10 % of all pictures.

    Equal pictures are on one side, and further photos move none to another.
    """
    fraction = int(pixels[:16], 16) / 2**64
    return "train" if fraction < TRAIN_LIMIT else "val" if fraction < VAL_LIMIT else "test"


def readable_photos(
    photos: Sequence[Photo], entries: Mapping[Path, Entry], strict: bool = False
) -> list[Photo]:
    """The photos whose files can be read; the others are named and counted.

    Args:
        photos: all.
        entries: of the index, for each of their paths.
        strict: whether a file that cannot be read is an error.

    Raises:
        FashionTransferError: there is one, and `strict`.
    """
    errors = {p.path: entries[p.path].error for p in photos if entries[p.path].error}
    if errors:
        named = _first([f"{path} ({error})" for path, error in errors.items()])
        if strict:
            raise FashionTransferError(
                f"photos that cannot be read: {named}: remove them, or let them be skipped"
            )
        log.warning("unreadable photos, skipped: %d of %d: %s", len(errors), len(entries), named)
    return [photo for photo in photos if photo.path not in errors]


def split_photos(
    listing: Listing,
    entries: Mapping[Path, Entry],
    images_per_class: int | Literal["all"] = "all",
    seed: int = 0,
) -> dict[SplitName, Split]:
    """The splits that have photos, content-addressed: their rows are content keys, ascending.

    Args:
        listing: photos that can be read.
        entries: of the index, for each of their paths.
        images_per_class: maximum of training photos per class, drawn by content and `seed` so
            that a larger subset contains the smaller one.
        seed: of the draw.

    Raises:
        ArgumentError: `images_per_class` is not possible.
        FashionTransferError: a picture has two labels, or a class has no training photo.
    """
    if images_per_class != "all" and (
        not isinstance(images_per_class, int) or images_per_class < 1
    ):
        raise ArgumentError(
            "images_per_class", f"must be a whole number from 1, or all, got {images_per_class!r}"
        )
    splits = _without_copies(listing.photos, entries)
    for name in NAMES:
        labels = {photo.label for photo in splits[name].values()}
        absent = ", ".join(label for label in listing.class_names if label not in labels)
        if absent and name == "train":
            raise FashionTransferError(
                f"no training photos of {absent}: add some that are in no other split"
            )
        if absent and splits[name]:
            log.warning("the %s show none of %s: add photos of each class", NAMES[name], absent)
    if images_per_class != "all":
        splits["train"] = _subset(splits["train"], images_per_class, seed)
    return {
        name: _make_split(NAMES[name], photos, listing.class_names)
        for name, photos in splits.items()
        if photos
    }


def _without_copies(
    photos: Iterable[Photo], entries: Mapping[Path, Entry]
) -> dict[SplitName, dict[str, Photo]]:
    """The photos of each split by pixel hash, none of them in two splits."""
    first: dict[str, Photo] = {}
    splits: dict[SplitName, dict[str, Photo]] = {name: {} for name in NAMES}
    copies = 0
    for photo in photos:
        pixels = entries[photo.path].sha256
        other = first.setdefault(pixels, photo)
        if other.label != photo.label:
            raise FashionTransferError(
                f"one picture under two labels: {other.path} ({other.label}) and {photo.path} "
                f"({photo.label}): remove the wrong one"
            )
        split = splits[photo.split or drawn_split(pixels)]
        copies += pixels in split
        split.setdefault(pixels, photo)
    if copies:
        log.info("copies of another photo in the same split, left out: %d", copies)
    leaks: dict[SplitName, set[str]] = {
        "train": splits["train"].keys() & (splits["val"].keys() | splits["test"].keys()),
        "val": splits["val"].keys() & splits["test"].keys(),
    }
    for name, shared in leaks.items():
        for pixels in shared:
            del splits[name][pixels]
    if any(leaks.values()):
        log.warning(
            "left out, as the same picture is in a later split: %d of the training photos, %d of "
            "the validation photos",
            len(leaks["train"]),
            len(leaks["val"]),
        )
    return splits


def _subset(photos: Mapping[str, Photo], size: int, seed: int) -> dict[str, Photo]:
    """At most `size` photos per class, the first ones in an order that only content decides."""
    ranked = sorted(photos, key=lambda p: sha256(f"{seed}/{content_key(p)}".encode()).digest())
    counts: dict[str, int] = {}
    subset = {}
    for pixels in ranked:
        label = photos[pixels].label
        counts[label] = counts.get(label, 0) + 1
        if counts[label] <= size:
            subset[pixels] = photos[pixels]
    smaller = sum(count < size for count in counts.values())
    if smaller:
        log.info(
            "%d of %d classes have under %d training photos: all of those are used",
            smaller,
            len(counts),
            size,
        )
    return subset


def _make_split(name: str, photos: Mapping[str, Photo], class_names: Sequence[str]) -> Split:
    # Sorted by content: neither names nor order of files change anything.
    by_key = {content_key(pixels): photos[pixels] for pixels in sorted(photos)}
    images = Photos({key: photo.path for key, photo in by_key.items()})
    label_of = {label: number for number, label in enumerate(class_names)}
    labels = np.array([label_of[photo.label] for photo in by_key.values()])
    return Split(name, images, labels, fingerprint=None, rows=np.array(list(by_key)))


def _first(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return ", ".join(items[:NAMED]) + more
