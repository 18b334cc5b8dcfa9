"""Datasets of whole batches: images of any size, prepared and resized, or their features."""

import json
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from fashion_transfer.data import (
    Augmentation,
    Batch,
    ConcatDataset,
    ImageDataset,
    Split,
    datasets,
    get_preparation,
    input_images,
    render,
    view_matrices,
)
from fashion_transfer.data.datasets import split_items

PHOTO, ALIGNED = get_preparation("photo"), get_preparation("fashion_mnist")
KERAS = Augmentation(rotation=10, shift=0.1, zoom=0.1, shear=0.1, flip=0.5)
CPU = torch.device("cpu")
GREY = np.random.default_rng(0).integers(0, 256, (9, 1, 28, 28), dtype=np.uint8)
ROWS = np.array([7, 2, 5, 0, 8])
LABELS = np.array([3, 1, 4, 1, 2])


class MixedImages:
    """Grey and colour images of different sizes."""

    def __len__(self):
        return 6

    def __getitem__(self, row):
        shape = (3 if row % 2 else 1, 20 + row, 40 - row)
        return np.random.default_rng(row).integers(0, 256, shape, dtype=np.uint8)


class Table:
    """Stands for a table of cached features: the row and a number of its own."""

    width = 2

    def __init__(self, number, batch_field="features"):
        self.number = number
        self.batch_field = batch_field

    def gather(self, rows, out=None):
        rows = torch.from_numpy(np.asarray(rows)).float()
        features = torch.stack([rows, torch.full_like(rows, self.number)], dim=1)
        return features if out is None else out.copy_(features)


def grey_set(augmentation=KERAS, rows=ROWS, labels=LABELS, **options) -> ImageDataset:
    split = Split("images", GREY, labels, "0123", rows)
    return ImageDataset(split, PHOTO, 32, augmentation, **options)


def mixed_set(**options) -> ImageDataset:
    return ImageDataset(Split("mixed", MixedImages(), np.arange(6), "4567"), PHOTO, 32, **options)


def identity(batch):
    return batch


class Photos:
    """Images by key, in one folder or another."""

    def __init__(self, *keys):
        self.keys = keys

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, key):
        assert key in self.keys
        return np.random.default_rng(key).integers(0, 256, (3, 20, 24), dtype=np.uint8)


def photo_set(*keys, name="photos", **options) -> ImageDataset:
    split = Split(name, Photos(*keys), np.zeros(len(keys)), None, np.array(keys))
    return ImageDataset(split, PHOTO, 32, KERAS, **options)


def batches(dataset, **options) -> list[Batch]:
    return list(DataLoader(dataset, batch_size=4, collate_fn=identity, **options))


def assert_same(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.images, other.images)


# Items


def test_split_items_takes_positions_alone_and_with_a_view():
    positions, views = split_items([4, (2, 1), (0, 0), 3])
    assert positions.tolist() == [4, 2, 0, 3]
    assert views.tolist() == [0, 1, 0, 0]
    assert positions.dtype == views.dtype == np.int64


# Input images


def test_input_images_of_one_shape_are_rendered_together():
    images = list(GREY[:3])
    expected = render(torch.from_numpy(GREY[:3]).expand(-1, 3, -1, -1), 32)
    assert torch.equal(input_images(images, PHOTO, 32), expected)


@pytest.mark.parametrize("views", [False, True])
def test_input_images_of_different_shapes_equal_those_alone(views):
    images = [MixedImages()[row] for row in range(6)]
    matrices = view_matrices(range(6), [1] * 6, KERAS) if views else None
    together = input_images(images, PHOTO, 32, matrices)
    assert together.shape == (6, 3, 32, 32)
    assert together.dtype == torch.float32
    for row, image in enumerate(images):
        one = None if matrices is None else matrices[row : row + 1]
        assert torch.equal(input_images([image], PHOTO, 32, one)[0], together[row])


@pytest.mark.parametrize("views", [None, 1])
def test_input_images_are_resized_on_the_cpu_for_a_device_that_cannot(monkeypatch, views):
    matrices = None if views is None else view_matrices([0, 1], [1, 1], Augmentation(rotation=9))
    resized, seen = datasets.render, []

    def render(pixels, *arguments):
        seen.append(pixels.device.type)
        return resized(pixels, *arguments)

    monkeypatch.setattr(datasets, "render", render)
    for cannot, expected in (set(), "meta"), ({"meta"}, "cpu"):
        monkeypatch.setattr(datasets, "RESIZED_ON_CPU", cannot)
        images = input_images(GREY[:2], ALIGNED, 32, matrices, "meta")
        assert (images.device.type, images.shape) == ("meta", (2, 1, 32, 32))
        assert seen.pop() == expected


def test_input_images_stay_grey_unless_one_is_in_colour():
    grey, colour = MixedImages()[0], np.zeros((3, 40, 30), np.uint8)
    colour[0, :, 5:25] = 200  # a red item on black
    assert input_images([grey, GREY[0]], ALIGNED, 32).shape == (2, 1, 32, 32)
    mixed = input_images([grey, colour], ALIGNED, 32)
    assert mixed.shape == (2, 3, 32, 32)
    assert torch.equal(mixed[0], input_images([grey], ALIGNED, 32)[0].expand(3, -1, -1))


def test_input_images_are_prepared_first():
    item = np.zeros((1, 60, 40), np.uint8)
    item[0, 10:20, 10:18] = 200
    expected = render(torch.from_numpy(ALIGNED(item))[None], 32)
    assert torch.equal(input_images([item], ALIGNED, 32), expected)
    assert not torch.equal(input_images([item], PHOTO, 32)[:, :1], expected)


@pytest.mark.parametrize("turn", [np.rot90, np.fliplr])
def test_input_images_may_be_views_of_other_arrays(turn):
    image = turn(GREY[0, 0])[None]
    expected = input_images([image.copy()], PHOTO, 32)
    assert torch.equal(input_images([image], PHOTO, 32), expected)


# Images


def test_batch_holds_the_images_of_its_positions_in_their_order():
    dataset = grey_set()
    assert len(dataset) == 5
    batch = dataset.__getitems__([3, 0, 3])
    assert batch.labels.tolist() == [1, 3, 1]
    assert batch.labels.dtype == torch.int64
    assert torch.equal(batch.images, input_images(list(GREY[[0, 7, 0]]), PHOTO, 32))


def test_one_item_is_a_batch_of_one():
    dataset = grey_set()
    for item in (1, (1, 0)):
        assert torch.equal(dataset[item].images, input_images([GREY[2]], PHOTO, 32))
    assert not torch.equal(dataset[(1, 1)].images, dataset[1].images)


def test_views_are_those_of_the_row_in_the_source():
    # Not of the position in the split or batch: then cached views would change with the subset.
    batch = grey_set(view_seed=6).__getitems__([(2, 1), (0, 0), (4, 3)])
    matrices = view_matrices(ROWS[[2, 0, 4]], [1, 0, 3], KERAS, 6)
    expected = input_images(list(GREY[ROWS[[2, 0, 4]]]), PHOTO, 32, matrices)
    assert torch.equal(batch.images, expected)


def test_without_augmentation_every_view_is_the_clean_image():
    dataset = grey_set(augmentation=None)
    clean, view = (dataset.__getitems__([(p, v) for p in range(5)]) for v in (0, 3))
    assert torch.equal(clean.images, view.images)
    assert dataset.key(3) == dataset.key(0)
    dataset.features = [Table(0)]
    assert dataset[(1, 3)].features.tolist() == [[2, 0]]


def test_images_of_any_size_and_channels_make_a_batch():
    batch = mixed_set().__getitems__([0, 1, 2])
    assert batch.images.shape == (3, 3, 32, 32)


@pytest.mark.parametrize("position", [5, -6])
def test_position_outside_the_split_is_an_index_error(position):
    with pytest.raises(IndexError):
        grey_set().__getitems__([position])


# What features are computed of


@pytest.mark.parametrize("view", [0, 2])
def test_inputs_are_the_images_of_a_view_by_row_of_the_source(view):
    dataset = grey_set()
    expected = dataset.__getitems__([(position, view) for position in range(5)]).images
    assert torch.equal(dataset.inputs(view, ROWS, CPU), expected)


def test_key_is_json_and_names_all_that_changes_a_pixel():
    dataset = grey_set(view_seed=6)
    clean, view = dataset.key(0), dataset.key(2)
    assert json.loads(json.dumps(view)) == view
    assert clean == {
        "split": "0123",
        "preparation": f"photo/{PHOTO.version}",
        "image_size": 32,
        "view": 0,
    }
    assert view == clean | {
        "view": 2,
        "view_seed": 6,
        "rotation": 10.0,
        "shift": 0.1,
        "zoom": 0.1,
        "shear": 0.1,
        "flip": 0.5,
    }


def test_key_of_a_split_with_a_fingerprint_stays_what_it_was():
    # Else every feature that was cached by then would be computed again.
    split = Split("images", GREY, LABELS, "0123", ROWS)
    key = ImageDataset(split, ALIGNED, 224, KERAS, 5).key(3)
    assert json.dumps(key, sort_keys=True) == (
        '{"flip": 0.5, "image_size": 224, "preparation": "fashion_mnist/3", "rotation": 10.0, '
        '"shear": 0.1, "shift": 0.1, "split": "0123", "view": 3, "view_seed": 5, "zoom": 0.1}'
    )


def test_key_of_a_content_addressed_split_names_no_source():
    key = photo_set(3, 2**63 - 1, view_seed=6).key(2)
    of_source = grey_set(view_seed=6).key(2)
    assert of_source.pop("split") == "0123"
    assert key == of_source | {"content": "pixels"}
    assert photo_set(5, name="others", view_seed=6).key(2) == key


def test_views_of_a_content_addressed_split_depend_on_the_key_alone():
    one, other = photo_set(7, 2**63 - 1, 4), photo_set(2**63 - 1, 5, name="others")
    for view in range(3):
        expected = one[(1, view)].images
        assert torch.equal(other[(0, view)].images, expected)
        assert torch.equal(other.inputs(view, np.array([2**63 - 1]), CPU), expected)
    assert not torch.equal(one[(1, 1)].images, one[(1, 2)].images)


def test_key_does_not_depend_on_which_images_the_split_has():
    assert grey_set(rows=ROWS[:2], labels=LABELS[:2]).key(1) == grey_set().key(1)


# Features


@pytest.mark.parametrize("batch_field", ["features", "maps"])
def test_cached_features_replace_images(batch_field):
    dataset = grey_set()
    dataset.features = [Table(0, batch_field), Table(1, batch_field), Table(2, batch_field)]
    batch = dataset.__getitems__([(0, 1), (1, 0), (2, 2), (0, 1)])
    assert batch.images is None
    assert getattr(batch, batch_field).tolist() == [[7, 1], [2, 0], [5, 2], [7, 1]]
    assert batch.labels.tolist() == [3, 1, 4, 3]
    clean = dataset.__getitems__([0, 1])
    assert getattr(clean, batch_field).tolist() == [[7, 0], [2, 0]]


def test_fresh_views_are_images_though_the_clean_view_is_cached():
    dataset = grey_set()
    dataset.features, dataset.fresh = [Table(0)], True
    assert dataset.__getitems__([0, 1]).images is None
    batch = dataset.__getitems__([(0, 4), (1, 4)])
    assert batch.features is None
    assert torch.equal(batch.images, dataset.inputs(4, ROWS[:2], CPU))


# Several as one


def test_concat_continues_positions_and_groups_a_batch_by_dataset():
    one, other = grey_set(), grey_set(rows=[1, 3], labels=[8, 9])
    both = ConcatDataset([one, other])
    assert len(both) == 7
    batch = both.__getitems__([(6, 1), (0, 2), (5, 0), 4])
    assert batch.labels.tolist() == [3, 2, 9, 8]
    expected = [one.__getitems__([(0, 2), 4]), other.__getitems__([(1, 1), 0])]
    assert torch.equal(batch.images, torch.cat([part.images for part in expected]))
    assert both[6].labels.tolist() == [9]


def test_concat_of_cached_features_has_features():
    one, other = grey_set(), grey_set(augmentation=None, rows=[1, 3], labels=[8, 9])
    one.features, other.features = [Table(0), Table(1)], [Table(5)]
    batch = ConcatDataset([one, other]).__getitems__([(5, 1), (0, 1)])
    assert batch.features.tolist() == [[7, 1], [1, 5]]


def test_concat_with_fresh_views_has_images():
    one, other = grey_set(), grey_set(rows=[1, 3], labels=[8, 9])
    for dataset in (one, other):
        dataset.features, dataset.fresh = [Table(0)], True
    both = ConcatDataset([one, other])
    assert both.__getitems__([0, 5]).features is not None
    assert both.__getitems__([(0, 1), (5, 2)]).images is not None


# In worker processes


def test_dataset_pickles():
    dataset = mixed_set()
    copy = pickle.loads(pickle.dumps(dataset))
    assert_same([copy.__getitems__([4, 1])], [dataset.__getitems__([4, 1])])


@pytest.mark.parametrize("dataset", [grey_set(), mixed_set()], ids=["grey", "mixed"])
def test_forked_workers_change_nothing(dataset):
    assert_same(batches(dataset, num_workers=2), batches(dataset))


@pytest.mark.slow
def test_spawned_workers_change_nothing():
    both = ConcatDataset([grey_set(), grey_set(augmentation=None)])
    sampler = [(position, position % 3) for position in (9, 0, 4, 6, 1, 2)]
    helped = batches(both, sampler=sampler, num_workers=2, multiprocessing_context="spawn")
    assert_same(helped, batches(both, sampler=sampler))
