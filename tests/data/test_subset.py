"""The balanced subset: balanced, disjoint from validation, and stable as it grows."""

import numpy as np
import pytest

from fashion_transfer.data import balanced_subset
from fashion_transfer.errors import ArgumentError

NAMES = tuple("abcdefghij")


@pytest.fixture(scope="module")
def labels():
    """Fourteen labels of each of ten classes in a shuffled order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(10), 14))


def subset_of(labels, *args, **options):
    return balanced_subset(labels, NAMES, *args, **options)


@pytest.mark.parametrize("selection", ["first", "random"])
@pytest.mark.parametrize("count", [1, 8, 10, "all"])
def test_every_class_has_the_same_number_and_no_image_is_in_both(labels, selection, count):
    subset, validation = subset_of(labels, count, selection, seed=3, val_per_class=4)
    expected = 10 if count == "all" else count
    assert np.array_equal(np.bincount(labels[subset], minlength=10), np.full(10, expected))
    assert np.array_equal(np.bincount(labels[validation], minlength=10), np.full(10, 4))
    assert not set(subset) & set(validation)
    assert len(set(subset)) == len(subset)


@pytest.mark.parametrize("selection", ["first", "random"])
def test_rows_are_ascending_int64(labels, selection):
    for rows in subset_of(labels, 5, selection, val_per_class=4):
        assert rows.dtype == np.int64
        assert np.all(np.diff(rows) > 0)


def test_first_takes_the_first_of_each_class_in_file_order(labels):
    subset, validation = subset_of(labels, 3, "first", val_per_class=2)
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        assert np.array_equal(subset[labels[subset] == label], of_class[:3])
        assert np.array_equal(validation[labels[validation] == label], of_class[-2:])


def test_first_ignores_the_seed(labels):
    one, other = (subset_of(labels, 5, "first", seed, 4)[0] for seed in (0, 1))
    assert np.array_equal(one, other)


def test_random_depends_on_the_seed_alone(labels):
    one, again, other = (subset_of(labels, 5, "random", s, 4)[0] for s in (0, 0, 1))
    first = subset_of(labels, 5, "first", 0, 4)[0]
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, first)


def test_random_draws_are_those_of_the_first_version():
    labels = np.tile(np.arange(2), 8)
    subset, validation = balanced_subset(labels, "ab", 3, "random", 7, 2)
    assert subset.tolist() == [0, 1, 4, 5, 7, 10]
    assert validation.tolist() == [12, 13, 14, 15]


def test_random_draws_differ_between_classes(labels):
    subset, _ = subset_of(labels, 5, "random", 0, 4)
    places = {
        tuple(np.searchsorted(np.flatnonzero(labels == c), subset[labels[subset] == c]))
        for c in range(10)
    }
    assert len(places) > 5


@pytest.mark.parametrize("selection", ["first", "random"])
def test_a_larger_subset_contains_the_smaller_one(labels, selection):
    smaller: set[int] = set()
    for count in (1, 2, 5, 10, "all"):
        subset = set(subset_of(labels, count, selection, 5, 4)[0].tolist())
        assert smaller <= subset
        smaller = subset


def test_validation_does_not_depend_on_the_subset(labels):
    choices = [(1, "first", 0), (10, "first", 3), (5, "random", 7), ("all", "random", 1)]
    validations = [subset_of(labels, *choice, val_per_class=4)[1] for choice in choices]
    for validation in validations:
        assert np.array_equal(validation, validations[0])


def test_validation_may_be_empty(labels):
    subset, validation = subset_of(labels, "all", val_per_class=0)
    assert np.array_equal(subset, np.arange(len(labels)))
    assert validation.dtype == np.int64
    assert len(validation) == 0


def test_number_of_classes_is_that_of_the_names():
    labels = np.array([2, 0, 1, 2, 1, 0])
    subset, validation = balanced_subset(labels, ("hat", "sock", "tie"), 1, val_per_class=1)
    assert subset.tolist() == [0, 1, 2]
    assert validation.tolist() == [3, 4, 5]


@pytest.mark.parametrize(("count", "val"), [(11, 4), (15, 0), (1, 14), (1, 15), ("all", 14)])
def test_too_large_a_subset_is_rejected_with_the_number_there_is(labels, count, val):
    with pytest.raises(ArgumentError, match=f"^images_per_class is {count}") as caught:
        subset_of(labels, count, val_per_class=val)
    assert f"class a has {max(14 - val, 0)} training images beside {val}" in str(caught.value)


def test_class_that_is_too_small_is_named(labels):
    without = np.delete(labels, np.flatnonzero(labels == 7)[:6])
    with pytest.raises(ArgumentError, match="class h has 4 training images"):
        subset_of(without, 5, val_per_class=4)
    assert len(subset_of(without, 4, val_per_class=4)[0]) == 40


@pytest.mark.parametrize("count", [0, -1, 2.5, "many", None])
def test_impossible_size_is_rejected(labels, count):
    with pytest.raises(ArgumentError, match=f"^images_per_class must be .*got {count!r}"):
        subset_of(labels, count, val_per_class=4)


def test_unknown_selection_is_rejected(labels):
    with pytest.raises(ArgumentError, match="^selection must be 'first' or 'random', got 'last'"):
        subset_of(labels, 5, "last", val_per_class=4)


@pytest.mark.parametrize("value", [-1, 2.5, "few", None])
def test_impossible_validation_size_is_rejected(labels, value):
    with pytest.raises(ArgumentError, match=f"^val_per_class must .*got {value!r}"):
        subset_of(labels, 5, val_per_class=value)


@pytest.mark.real_data
def test_subset_validation_and_test_images_are_disjoint_in_the_official_files(official):
    training, test = official
    subset, validation = subset_of(training.labels, 500, "random")
    assert len(subset) == 5000
    assert len(validation) == 1000
    # By content, too: no image is in two of them in two rows.
    contents = [
        {image.tobytes() for image in images}
        for images in (training.images[subset], training.images[validation], test.images)
    ]
    assert [len(content) for content in contents] == [5000, 1000, 10_000]
    assert len(set.union(*contents)) == 16_000


@pytest.mark.real_data
def test_all_takes_the_whole_official_file_without_validation(official):
    labels = official[0].labels
    subset, validation = subset_of(labels, "all")
    assert len(subset) == 59_000
    assert np.array_equal(np.sort(np.concatenate([subset, validation])), np.arange(60_000))


@pytest.mark.real_data
def test_more_than_the_official_file_has_is_rejected(official):
    labels = official[0].labels
    with pytest.raises(ArgumentError, match="5900 training images beside 100"):
        subset_of(labels, 6000)
