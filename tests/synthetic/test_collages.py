"""Splits of collages: labels, keys that content determines, and the sets of `CollageExposure`."""

import logging
import pickle
from dataclasses import replace

import numpy as np
import pytest

from fashion_transfer.data.batch import Split
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic import collages
from fashion_transfer.synthetic.collages import CollageExposure, collage_split, photo_ood_split
from fashion_transfer.synthetic.composites import TooFewImagesError
from fashion_transfer.synthetic.images import MAX_ROWS
from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS, TRAINED_COLLAGES
from fashion_transfer.synthetic.out_of_distribution import OUT_OF_DISTRIBUTION, ood_images

TWO = ("two_columns", "pile_of_three")
both = pytest.mark.parametrize("control", [False, True])


def add_photo(split: Split, key: int, label: int) -> Split:
    """The same photos, and one more."""
    photos = type(split.images)(split.images | {key: np.full((3, 50, 60), 123, np.uint8)})
    rows, labels = np.append(split.rows, key), np.append(split.labels, label)
    return replace(split, images=photos, rows=rows, labels=labels)


@both
def test_collages_have_the_label_given_and_controls_that_of_their_photo(photo_split, control):
    split = photo_split(4, 4, 4, size=(60, 60))
    result = collage_split(split, ["four_quarters"], 12, control, multi_item_label=3)
    assert result.fingerprint is None
    assert result.name == f"four_quarters {'controls' if control else 'collages'}"
    assert result.labels.dtype == result.rows.dtype == np.int64
    images = result.read(result.rows)
    assert {(image.shape, image.dtype) for image in images} == {((3, 448, 448), np.dtype("u1"))}
    if not control:
        assert result.labels.tolist() == [3] * 12
        return
    for image, label in zip(images, result.labels.tolist(), strict=True):
        shown = [  # classes of the photos whose colour is in the image
            split.labels[place]
            for place, key in enumerate(split.rows)
            if (image == split.images[key][:, 30:31, 30:31]).all(0).mean() > 0.01
        ]
        assert shown == [label]


@both
def test_a_larger_count_changes_no_image(photo_split, control):
    split = photo_split(4, 4, 4)
    few, more = (collage_split(split, TWO, count, control) for count in (6, 20))
    assert np.array_equal(few.rows, more.rows[:6])
    assert np.array_equal(few.labels, more.labels[:6])
    assert np.array_equal(few.read(few.rows[::-1]), more.read(few.rows[::-1]))


def test_layouts_take_turns(photo_split):
    split = photo_split(4, 4, 4)
    mixed = collage_split(split, TWO, 7).rows
    assert np.array_equal(mixed[::2], collage_split(split, TWO[:1], 4).rows)
    assert np.array_equal(mixed[1::2], collage_split(split, TWO[1:], 3).rows)


def test_a_key_is_of_the_content(photo_split, monkeypatch):
    split = photo_split(4, 4, 4)
    rows = collage_split(split, TWO, 50).rows
    assert len(set(rows.tolist())) == 50
    assert rows.min() >= 0
    others = [collage_split(split, TWO, 50, control=True).rows]
    monkeypatch.setattr(collages, "VERSION", 0)
    others.append(collage_split(split, TWO, 50).rows)
    monkeypatch.undo()
    plan = replace(COLLAGE_LAYOUTS["two_columns"], rotation=1)
    monkeypatch.setitem(COLLAGE_LAYOUTS, "two_columns", plan)
    others.append(collage_split(split, TWO[:1], 50).rows)
    assert [len(np.intersect1d(rows, other)) for other in others] == [0] * 3
    monkeypatch.undo()
    order = np.random.default_rng(0).permutation(12)
    shuffled = replace(split, rows=split.rows[order], labels=split.labels[order], name="other")
    assert np.array_equal(collage_split(shuffled, TWO, 50, False, 9).rows, rows)


@both
def test_one_photo_more_changes_few_keys_and_the_others_keep_their_images(photo_split, control):
    split = photo_split(30, 30, 30)
    more = add_photo(split, 99, 1)
    before, after = (
        collage_split(source, TRAINED_COLLAGES, 160, control) for source in (split, more)
    )
    assert (before.rows != after.rows).mean() < 0.08
    same = np.flatnonzero(before.rows == after.rows)[:16]
    assert np.array_equal(before.read(before.rows[same]), after.read(before.rows[same]))
    assert np.array_equal(before.labels[same], after.labels[same])


def test_a_photo_that_is_there_twice_is_one_photo(photo_split):
    split = photo_split(3, 3)
    twice = replace(
        split, rows=np.tile(split.rows, 2), labels=np.tile(split.labels, 2), name="twice"
    )
    expected = collage_split(split, ["pile_of_four"], 20).rows
    assert np.array_equal(collage_split(twice, ["pile_of_four"], 20).rows, expected)


def test_photos_are_read_when_they_are_due_and_only_those_needed(photo_split):
    split = photo_split(4, 4, 4)
    result = collage_split(split, ["four_quarters"], 5)
    lone = collage_split(split, ["four_quarters"], 5, control=True)
    assert split.images.reads == 0
    result.read(result.rows[:1])
    assert split.images.reads == 4
    lone.read(lone.rows[:1])
    assert split.images.reads == 5
    with pytest.raises(KeyError):
        result.images[12345]


def test_photos_by_position_can_be_collaged(photo_split):
    keyed = photo_split(4, 4)
    photos = list(keyed.images.values())
    split = Split("photos", photos, keyed.labels, "fingerprint")
    result = collage_split(split, TWO, 6)
    assert result.fingerprint is None
    assert len(result.read(result.rows)) == 6
    other = collage_split(replace(split, fingerprint="another"), TWO, 6)
    assert not set(result.rows.tolist()) & set(other.rows.tolist())


@both
def test_a_split_of_collages_survives_pickling(photo_split, control):
    result = collage_split(photo_split(4, 4), TWO, 4, control)
    copy = pickle.loads(pickle.dumps(result))
    assert np.array_equal(copy.read(copy.rows), result.read(result.rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": -1}, "^count must be 0 to 100000, got -1$"),
        ({"count": MAX_ROWS + 1}, "^count must be 0 to 100000, got 100001$"),
        ({"layouts": []}, "^layouts must name at least one layout, got none$"),
        ({"layouts": ["two_rows", "stacked"]}, "^layout must be one of .*, got 'stacked'$"),
    ],
)
def test_collage_split_rejects_impossible_arguments(photo_split, change, message):
    with pytest.raises(ArgumentError, match=message):
        collage_split(**({"split": photo_split(2, 2), "layouts": TWO, "count": 4} | change))


@pytest.mark.parametrize(
    ("counts", "layout"), [((1, 2), "pile_of_four"), ((1, 1), "same_two_columns")]
)
def test_collage_split_rejects_too_few_photos(photo_split, counts, layout):
    with pytest.raises(TooFewImagesError, match=f"layout '{layout}' needs . different photos"):
        collage_split(photo_split(*counts), [layout], 1)


# Out-of-distribution images


@pytest.mark.parametrize("name", OUT_OF_DISTRIBUTION[:3])
def test_drawn_ood_images_are_those_of_every_data_set(photo_split, name):
    result = photo_ood_split(name, photo_split(2, 2), 3)
    assert np.array_equal(result.read(result.rows), ood_images(name, 3)[:, None])


def test_shuffled_patches_are_of_photos_and_repeat_none_before_all_have_occurred(photo_split):
    split = photo_split(3, 3, size=(56, 56))
    result = photo_ood_split("shuffled_patches", split, 12)
    assert (result.fingerprint, set(result.labels.tolist())) == (None, {-1})
    images = result.read(result.rows)
    assert {image.shape for image in images} == {(3, 224, 224)}
    means = np.round([image.mean((1, 2)) for image in images])
    assert len(np.unique(means[:6], axis=0)) == 6
    assert np.array_equal(means[:6], means[6:])
    assert not np.array_equal(images[0], images[6])


def test_one_photo_more_changes_no_other_shuffled_patches(photo_split):
    split = photo_split(5, 5)
    before = photo_ood_split("shuffled_patches", split, 10)
    after = photo_ood_split("shuffled_patches", add_photo(split, 99, 0), 11)
    assert set(before.rows.tolist()) < set(after.rows.tolist())
    assert np.array_equal(before.read(before.rows), after.read(before.rows))


def test_photo_ood_split_rejects_impossible_arguments(photo_split):
    with pytest.raises(ArgumentError, match="^name must be one of noise"):
        photo_ood_split("cats", photo_split(2, 2), 1)
    with pytest.raises(ArgumentError, match="^count must be 0"):
        photo_ood_split("shuffled_patches", photo_split(2, 2), -1)
    with pytest.raises(TooFewImagesError, match="no photo"):
        photo_ood_split("shuffled_patches", photo_split(), 1)


# Exposure


def test_exposure_gives_fractions_of_the_photos_in_all_trained_layouts(photo_split):
    split = photo_split(100, 90, 10)
    multi, lone = CollageExposure(composites=0.2, controls=0.5)(split, 3)
    assert [len(multi), len(lone)] == [40, 100]
    assert [multi.name, lone.name] == ["collages", "controls"]
    assert set(multi.labels.tolist()) == {3}
    assert np.array_equal(multi.rows, collage_split(split, TRAINED_COLLAGES, 40).rows)
    assert np.array_equal(lone.rows, collage_split(split, TRAINED_COLLAGES, 100, True).rows)


def test_exposure_defaults():
    assert CollageExposure() == CollageExposure(composites=0.3, controls=0.3)


@pytest.mark.parametrize(
    ("exposure", "sizes"),
    [
        (CollageExposure(0, 0), []),
        (CollageExposure(0.1, 0), [24]),
        (CollageExposure(0, 3), [36]),
        (CollageExposure(1, 1e9), [24, MAX_ROWS]),
    ],
)
def test_exposure_has_bounds_and_0_means_none(photo_split, monkeypatch, exposure, sizes):
    monkeypatch.setattr(collages, "collage_split", lambda split, layouts, count, *_: range(count))
    assert [len(split) for split in exposure(photo_split(6, 6), 2)] == sizes
    assert exposure.multi_item == (exposure.composites > 0)


def test_exposure_leaves_out_layouts_with_too_few_photos(photo_split, caplog):
    with caplog.at_level(logging.WARNING):
        multi, _ = CollageExposure()(photo_split(1, 1), 2)
    assert len(multi.read(multi.rows[:4])) == 4
    assert len(caplog.messages) == 1
    for layout in ("one_large_two_small", "pile_of_three", "same_two_columns", "three_of_four"):
        assert layout in caplog.messages[0]


def test_exposure_names_what_to_do_when_no_layout_is_possible(photo_split):
    with pytest.raises(
        FashionTransferError,
        match="^too few training images: .* or set composites=0 and controls=0$",
    ):
        CollageExposure()(photo_split(1), 1)


@pytest.mark.parametrize("value", [-0.1, float("inf"), float("nan"), "half", None, True])
@pytest.mark.parametrize("name", ["composites", "controls"])
def test_exposure_rejects_impossible_numbers(name, value):
    with pytest.raises(ArgumentError, match=f"^{name} must be a fraction .* got"):
        CollageExposure(**{name: value})
