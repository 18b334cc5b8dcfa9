"""Splits of photos: by content, disjoint, each picture once and under one label."""

import re
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from fashion_transfer.data import content_key
from fashion_transfer.data.folder_listing import Listing, Photo
from fashion_transfer.data.photo_index import Entry
from fashion_transfer.data.photo_splits import drawn_split, readable_photos, split_photos
from fashion_transfer.errors import ArgumentError, FashionTransferError


def pixels(number) -> str:
    return sha256(str(number).encode()).hexdigest()


def data_set(*photos):
    """A listing and its entries, from (name, label, split, picture)."""
    entries = {Path(name): Entry(0, 0, pixels(picture)) for name, *_, picture in photos}
    listed = [Photo(Path(name), label, split) for name, label, split, _ in photos]
    return Listing(tuple(sorted({photo.label for photo in listed})), listed), entries


def many(count, split=None, offset=0):
    """A data set of two classes with `count` photos in each."""
    return [
        (f"{label}/{number}", label, split, (label, number + offset))
        for label in ("cat", "dog")
        for number in range(count)
    ]


def names(split) -> list[str]:
    return sorted(str(split.images.path(key)) for key in split.rows)


def keys(splits):
    return {name: set(split.rows.tolist()) for name, split in splits.items()}


# ---- drawn by content


def test_drawn_splits_are_80_10_and_10_percent():
    counts = Counter(drawn_split(pixels(number)) for number in range(5000))
    assert counts["train"] == pytest.approx(4000, abs=100)
    assert counts["val"] == pytest.approx(500, abs=75)
    assert counts["test"] == pytest.approx(500, abs=75)


@pytest.mark.parametrize(
    ("fraction", "split"),
    [(0.0, "train"), (0.7999, "train"), (0.8001, "val"), (0.8999, "val"), (0.9001, "test")],
)
def test_drawn_split_has_fixed_limits(fraction, split):
    assert drawn_split(f"{int(fraction * 2**64):016x}" + "0" * 48) == split
    assert drawn_split("f" * 64) == "test"


def test_growing_moves_no_photo_to_another_split():
    small = keys(split_photos(*data_set(*many(50))))
    large = keys(split_photos(*data_set(*many(90))))
    assert all(small[name] < large[name] for name in ("train", "val", "test"))


def test_class_without_validation_is_named_once(caplog):
    split_photos(
        *data_set(*many(3, "train"), ("v", "cat", "val", 1), ("t", "cat", "test", 2)),
    )
    assert caplog.messages == [
        "the test images show none of dog: add photos of each class",
        "the validation images show none of dog: add photos of each class",
    ]


def test_missing_split_is_left_out_without_a_word(caplog):
    assert set(split_photos(*data_set(*many(3, "train")))) == {"train"}
    assert caplog.messages == []


def test_class_without_training_photos_is_rejected():
    with pytest.raises(FashionTransferError, match="no training photos of hat: add some"):
        split_photos(*data_set(*many(3, "train"), ("h", "hat", "val", 1)))


# ---- splits


def test_splits_are_addressed_by_content():
    splits = split_photos(*data_set(*many(40)))
    assert {split.name for split in splits.values()} == {
        "training images", "validation images", "test images"
    }  # fmt: skip
    for split in splits.values():
        assert split.fingerprint is None
        assert split.rows.dtype == split.labels.dtype == np.int64
        assert np.all(np.diff(split.rows) > 0)
        for key, label in zip(split.rows, split.labels, strict=True):
            name = split.images.path(key)
            assert label == ["cat", "dog"].index(name.parent.name)
            assert key == content_key(pixels((name.parent.name, int(name.name))))


def test_splits_depend_on_neither_names_nor_order_of_files():
    listing, entries = data_set(*many(40))
    renamed = {Path("x") / path: entry for path, entry in reversed(entries.items())}
    photos = [Photo(Path("x") / p, label, s) for p, label, s in reversed(listing.photos)]
    before = split_photos(listing, entries, 10)
    after = split_photos(Listing(listing.class_names, photos), renamed, 10)
    for name, split in before.items():
        assert np.array_equal(split.rows, after[name].rows)
        assert np.array_equal(split.labels, after[name].labels)


# ---- copies


def test_picture_under_two_labels_is_rejected():
    with pytest.raises(
        FashionTransferError,
        match=re.escape("one picture under two labels: cat/0 (cat) and z (dog): remove the wrong"),
    ):
        split_photos(*data_set(*many(3, "train"), ("z", "dog", "test", ("cat", 0))))


def test_copies_in_a_split_count_once(caplog):
    caplog.set_level("INFO")
    copies = [(f"copy{n}", "cat", "train", ("cat", 0)) for n in range(2)]
    splits = split_photos(*data_set(*many(3, "train"), *copies))
    assert names(splits["train"]) == names(split_photos(*data_set(*many(3, "train")))["train"])
    assert caplog.messages == ["copies of another photo in the same split, left out: 2"]


def test_picture_in_two_splits_stays_in_the_later_one(caplog):
    splits = split_photos(
        *data_set(
            *many(5, "train"),
            ("v1", "cat", "val", ("cat", 1)),
            ("v2", "cat", "val", ("cat", 2)),
            ("v3", "dog", "val", 7),
            ("t2", "cat", "test", ("cat", 2)),
            ("t3", "dog", "test", ("dog", 3)),
        )
    )
    assert names(splits["train"]) == [
        "cat/0", "cat/3", "cat/4", "dog/0", "dog/1", "dog/2", "dog/4"
    ]  # fmt: skip
    assert names(splits["val"]) == ["v1", "v3"]
    assert names(splits["test"]) == ["t2", "t3"]
    assert caplog.messages == [
        "left out, as the same picture is in a later split: 3 of the training photos, 1 of the "
        "validation photos"
    ]


# ---- the subset


def test_subset_is_nested_and_balanced():
    whole = split_photos(*data_set(*many(60)))
    subsets = [split_photos(*data_set(*many(60)), size) for size in (1, 5, 20)]
    for size, subset in zip((1, 5, 20), subsets, strict=True):
        assert np.bincount(subset["train"].labels).tolist() == [size, size]
        assert np.array_equal(subset["val"].rows, whole["val"].rows)
        assert np.array_equal(subset["test"].rows, whole["test"].rows)
    chain = [*(keys(subset)["train"] for subset in subsets), keys(whole)["train"]]
    assert all(small < large for small, large in zip(chain, chain[1:], strict=False))


def test_subset_depends_on_the_seed():
    subsets = [keys(split_photos(*data_set(*many(60)), 20, seed))["train"] for seed in (0, 0, 1)]
    assert subsets[0] == subsets[1] != subsets[2]
    assert subsets[0] & subsets[2]


def test_class_with_fewer_photos_gives_all(caplog):
    caplog.set_level("INFO")
    photos = [*many(9, "train"), *(("hat" + str(n), "hat", "train", n) for n in range(4))]
    splits = split_photos(*data_set(*photos), 6)
    assert np.bincount(splits["train"].labels).tolist() == [6, 6, 4]
    assert caplog.messages == ["1 of 3 classes have under 6 training photos: all of those are used"]


@pytest.mark.parametrize("size", [0, -1, 2.5, "some", None])
def test_impossible_size_is_rejected(size):
    with pytest.raises(ArgumentError, match="images_per_class must be a whole number from 1"):
        split_photos(*data_set(*many(3)), size)


# ---- files that cannot be read


def damaged(count):
    photos = [Photo(Path(f"{n}.jpg"), "cat", None) for n in range(9)]
    bad = {photo.path: Entry(0, 0, "", "no picture") for photo in photos[:count]}
    return photos, {photo.path: Entry(0, 0, "0" * 64) for photo in photos} | bad


def test_unreadable_photos_are_skipped_and_named(caplog):
    photos, entries = damaged(2)
    assert readable_photos(photos, entries) == photos[2:]
    assert caplog.messages == [
        "unreadable photos, skipped: 2 of 9: 0.jpg (no picture), 1.jpg (no picture)"
    ]


def test_many_unreadable_photos_are_counted(caplog):
    photos, entries = damaged(7)
    assert readable_photos(photos, entries) == photos[7:]
    [message] = caplog.messages
    assert message.startswith("unreadable photos, skipped: 7 of 9: 0.jpg")
    assert message.endswith("4.jpg (no picture) and 2 more")


def test_unreadable_photo_is_an_error_if_strict():
    with pytest.raises(
        FashionTransferError,
        match=re.escape("photos that cannot be read: 0.jpg (no picture): remove them, or let them"),
    ):
        readable_photos(*damaged(1), strict=True)
    readable_photos(*damaged(0), strict=True)
