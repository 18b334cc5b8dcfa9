"""The contracts of data: a split has one label per row, a batch one form of images."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from fashion_transfer.data import Batch, Split
from fashion_transfer.data.batch import concatenate

IMAGES = np.arange(5 * 3 * 4 * 6, dtype=np.uint8).reshape(5, 3, 4, 6)
FORMS = ("images", "features", "maps")


class OneByOne:
    """Images that can be read one at a time only."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, row):
        assert type(row) is int
        return IMAGES[row]


class Together(OneByOne):
    """Images that are read many at once."""

    def __init__(self):
        self.calls = []

    def __getitems__(self, rows):
        self.calls.append(list(rows))
        return [IMAGES[row] for row in rows]


def split_of(labels, images=IMAGES, **options) -> Split:
    return Split("training images", images, labels, "0123", **options)


def batch_of(form: str, size: int = 3, labels: bool = True) -> Batch:
    tensor = torch.rand(size, 1, 8, 8) if form == "images" else torch.rand(size, 7)
    return Batch(labels=torch.arange(size) if labels else None, **{form: tensor})


# Split


def test_split_has_the_first_rows_by_default():
    split = split_of(np.array([2, 0, 1]))
    assert len(split) == 3
    assert split.rows.tolist() == [0, 1, 2]
    assert split.rows.dtype == split.labels.dtype == np.int64


@pytest.mark.parametrize("labels", [[2, 0], (2, 0), np.array([2, 0], np.uint8)])
def test_split_labels_and_rows_become_int64(labels):
    split = split_of(labels, rows=[4, 3])
    assert split.labels.dtype == split.rows.dtype == np.int64
    assert (split.labels.tolist(), split.rows.tolist()) == ([2, 0], [4, 3])


@pytest.mark.parametrize("images", [IMAGES, OneByOne(), Together()])
def test_split_reads_images_by_row_of_the_source(images):
    split = split_of([1, 0], images, rows=[4, 3])
    for rows in ([4, 0, 4], np.array([4, 0, 4])):
        pixels = split.read(rows)
        assert len(pixels) == 3
        assert np.array_equal(pixels, IMAGES[[4, 0, 4]])


def test_split_reads_many_images_at_once_if_it_can():
    images = Together()
    split_of([1, 0], images).read([3, 1])
    assert images.calls == [[3, 1]]


def test_split_may_be_empty():
    split = split_of([], rows=[])
    assert len(split) == 0
    assert split.labels.dtype == split.rows.dtype == np.int64
    assert split.read(split.rows) == []


@pytest.mark.parametrize(("labels", "rows"), [([0, 1], [0]), ([0], []), ([], [0])])
def test_split_rejects_labels_and_rows_of_different_number(labels, rows):
    with pytest.raises(ValueError, match="training images: . labels but . rows"):
        split_of(labels, rows=rows)


@pytest.mark.parametrize("rows", [[0, 5], [-1, 0]])
def test_split_rejects_rows_that_are_no_images(rows):
    with pytest.raises(ValueError, match="training images: rows .* of 5 images"):
        split_of([0, 1], rows=rows)


def test_split_rejects_more_labels_than_images():
    with pytest.raises(ValueError, match="rows 0 to 5 of 5 images"):
        split_of(np.zeros(6))


def test_split_without_a_fingerprint_has_keys_for_rows():
    images = {2**63 - 1: IMAGES[0], 17: IMAGES[1]}
    split = Split("photos", images, [1, 0], None, list(images))
    assert split.rows.tolist() == list(images)
    assert np.array_equal(split.read(split.rows), IMAGES[:2])


def test_split_without_a_fingerprint_needs_keys_from_zero():
    with pytest.raises(ValueError, match="photos: rows must be keys of images"):
        Split("photos", {0: IMAGES[0]}, [1], None)
    with pytest.raises(ValueError, match="photos: keys of images must be from 0, got -1"):
        Split("photos", {-1: IMAGES[0]}, [1], None, [-1])


def test_split_is_frozen_and_pickles():
    split = split_of([1, 0], rows=[4, 3])
    with pytest.raises(AttributeError):
        split.name = "other"
    copy = pickle.loads(pickle.dumps(split))
    assert (copy.name, copy.fingerprint) == (split.name, split.fingerprint)
    assert np.array_equal(copy.rows, split.rows)
    assert np.array_equal(copy.read([4]), split.read([4]))


def test_split_with_default_rows_still_has_them_after_pickling():
    assert pickle.loads(pickle.dumps(split_of([1, 0]))).rows.tolist() == [0, 1]


# Batch


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("labels", [True, False])
def test_batch_holds_one_form_with_or_without_labels(form, labels):
    batch = batch_of(form, 3, labels)
    assert len(batch) == 3
    assert getattr(batch, form) is not None
    assert (batch.labels is not None) == labels
    assert all(getattr(batch, other) is None for other in FORMS if other != form)


@pytest.mark.parametrize("forms", [(), FORMS[:2], FORMS[1:], FORMS[::2], FORMS])
def test_batch_rejects_any_other_number_of_forms(forms):
    with pytest.raises(ValueError, match="exactly one of images, features and maps"):
        Batch(labels=torch.zeros(2), **dict.fromkeys(forms, torch.zeros(2, 3)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("labels", [True, False])
def test_batch_moves_whole_to_a_device(form, labels):
    moved = batch_of(form, labels=labels).to("meta", non_blocking=True)
    assert getattr(moved, form).device.type == "meta"
    assert moved.labels.device.type == "meta" if labels else moved.labels is None


def test_batch_on_its_device_keeps_its_tensors():
    batch = batch_of("features")
    assert batch.to(torch.device("cpu")).features is batch.features


def test_batch_pickles():
    batch = batch_of("maps")
    copy = pickle.loads(pickle.dumps(batch))
    assert torch.equal(copy.maps, batch.maps)
    assert torch.equal(copy.labels, batch.labels)


def test_lightning_moves_a_batch():
    from lightning.fabric.utilities import move_data_to_device

    moved = move_data_to_device(batch_of("images"), torch.device("meta"))
    assert isinstance(moved, Batch)
    assert moved.images.device.type == moved.labels.device.type == "meta"


# Concatenation


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("labels", [True, False])
def test_concatenate_joins_batches_in_their_order(form, labels):
    parts = [batch_of(form, size, labels) for size in (2, 1, 3)]
    joined = concatenate(parts)
    assert len(joined) == 6
    assert torch.equal(getattr(joined, form), torch.cat([getattr(p, form) for p in parts]))
    if labels:
        assert joined.labels.tolist() == [0, 1, 0, 0, 1, 2]
    else:
        assert joined.labels is None


def test_concatenate_rejects_batches_of_different_forms():
    with pytest.raises((KeyError, ValueError)):
        concatenate([batch_of("images"), batch_of("features")])


def test_concatenate_leaves_gradients_alone():
    layer = nn.Linear(4, 2)
    batch = Batch(features=layer(torch.ones(1, 4)))
    assert concatenate([batch, batch]).features.requires_grad
