"""The balanced subset: balanced, disjoint from validation, and stable as it grows."""

import numpy as np
import pytest

from fashion_transfer.data import CLASSES, balanced_subset
from fashion_transfer.data.sources import load_split
from fashion_transfer.errors import FashionTransferError


@pytest.fixture(scope="module")
def labels():
    """Fourteen labels of each class in a shuffled order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(10), 14))


@pytest.mark.parametrize("selection", ["first", "random"])
@pytest.mark.parametrize("count", [1, 8, 10, "all"])
def test_every_class_has_the_same_number_and_no_image_is_in_both(labels, selection, count):
    subset, validation = balanced_subset(labels, count, selection, seed=3, val_per_class=4)
    wanted = 10 if count == "all" else count
    assert np.array_equal(np.bincount(labels[subset], minlength=10), np.full(10, wanted))
    assert np.array_equal(np.bincount(labels[validation], minlength=10), np.full(10, 4))
    assert not set(subset) & set(validation)
    assert len(set(subset)) == len(subset)


@pytest.mark.parametrize("selection", ["first", "random"])
def test_indices_are_ascending_int64(labels, selection):
    for indices in balanced_subset(labels, 5, selection, val_per_class=4):
        assert indices.dtype == np.int64
        assert np.all(np.diff(indices) > 0)


def test_first_takes_the_first_of_each_class_in_file_order(labels):
    subset, validation = balanced_subset(labels, 3, "first", val_per_class=2)
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        assert np.array_equal(subset[labels[subset] == label], of_class[:3])
        assert np.array_equal(validation[labels[validation] == label], of_class[-2:])


def test_first_ignores_the_seed(labels):
    one, other = (balanced_subset(labels, 5, "first", seed, 4)[0] for seed in (0, 1))
    assert np.array_equal(one, other)


def test_random_depends_on_the_seed_alone(labels):
    one, again, other = (balanced_subset(labels, 5, "random", s, 4)[0] for s in (0, 0, 1))
    first = balanced_subset(labels, 5, "first", 0, 4)[0]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, first)


def test_random_draws_differ_between_classes(labels):
    subset, _ = balanced_subset(labels, 5, "random", 0, 4)
    places = {
        tuple(np.searchsorted(np.flatnonzero(labels == c), subset[labels[subset] == c]))
        for c in range(10)
    }
    assert len(places) > 5


@pytest.mark.parametrize("selection", ["first", "random"])
def test_growing_keeps_the_images_already_there(labels, selection):
    smaller: set[int] = set()
    for count in (1, 2, 5, 10, "all"):
        subset = set(balanced_subset(labels, count, selection, 5, 4)[0].tolist())
        assert smaller <= subset
        smaller = subset


def test_validation_is_the_same_whatever_the_subset(labels):
    choices = [(1, "first", 0), (10, "first", 3), (5, "random", 7), ("all", "random", 1)]
    found = [balanced_subset(labels, *choice, val_per_class=4)[1] for choice in choices]
    for validation in found:
        assert np.array_equal(validation, found[0])


def test_validation_may_be_empty(labels):
    subset, validation = balanced_subset(labels, "all", val_per_class=0)
    assert np.array_equal(subset, np.arange(len(labels)))
    assert validation.dtype == np.int64
    assert len(validation) == 0


@pytest.mark.parametrize(("count", "val"), [(11, 4), (15, 0), (1, 14), (1, 15), ("all", 14)])
def test_more_than_there_are_is_refused_with_how_many_there_are(labels, count, val):
    with pytest.raises(FashionTransferError) as caught:
        balanced_subset(labels, count, val_per_class=val)
    message = str(caught.value)
    assert f"data.images_per_class={count}" in message
    assert f"{max(14 - val, 0)} training images beside {val}" in message
    assert CLASSES[0] in message


def test_the_class_that_is_too_small_is_the_one_named(labels):
    without = np.delete(labels, np.flatnonzero(labels == 7)[:6])
    with pytest.raises(FashionTransferError, match="class Sneaker has 4 training images"):
        balanced_subset(without, 5, val_per_class=4)
    assert len(balanced_subset(without, 4, val_per_class=4)[0]) == 40


@pytest.mark.parametrize("count", [0, -1, 2.5, "many", None])
def test_impossible_sizes_are_refused(labels, count):
    with pytest.raises(FashionTransferError, match="data.images_per_class is"):
        balanced_subset(labels, count, val_per_class=4)


def test_an_unknown_selection_is_refused(labels):
    with pytest.raises(FashionTransferError, match="'last'.*'first' or 'random'"):
        balanced_subset(labels, 5, "last", val_per_class=4)


def test_a_negative_validation_size_is_refused(labels):
    with pytest.raises(FashionTransferError, match="data.val_per_class is -1"):
        balanced_subset(labels, 5, val_per_class=-1)


@pytest.mark.real_data
def test_subset_validation_and_test_images_are_disjoint_in_the_official_files(real_data):
    training, test = load_split(real_data, True), load_split(real_data, False)
    subset, validation = balanced_subset(training.labels, 500, "random")
    assert len(subset) == 5000
    assert len(validation) == 1000
    assert not set(subset) & set(validation)
    # By content, too: no image stands in two of them under two numbers.
    sets = [
        {image.tobytes() for image in images}
        for images in (training.images[subset], training.images[validation], test.images)
    ]
    assert len(sets[2]) == len(test.images)
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]


@pytest.mark.real_data
def test_all_takes_the_whole_official_file_less_validation(real_data):
    labels = load_split(real_data, True).labels
    subset, validation = balanced_subset(labels, "all")
    assert len(subset) == 59_000
    assert np.array_equal(np.sort(np.concatenate([subset, validation])), np.arange(60_000))


@pytest.mark.real_data
def test_more_than_the_official_file_has_is_refused(real_data):
    labels = load_split(real_data, True).labels
    with pytest.raises(FashionTransferError, match="5900 training images beside 100"):
        balanced_subset(labels, 6000)
