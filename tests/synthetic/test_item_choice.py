"""Which photos a collage shows: no photo twice, equal classes, and few changes."""

import numpy as np
import pytest

from fashion_transfer.synthetic.item_choice import (
    choose_control,
    choose_items,
    enough_photos,
    hash_integers,
)
from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS

NUMBERS = np.arange(300)
every_layout = pytest.mark.parametrize("layout", COLLAGE_LAYOUTS)


def photos(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Content keys and labels of so many photos per class."""
    keys = np.random.default_rng(0).integers(0, 2**63, sum(counts))
    return keys, np.repeat(np.arange(len(counts)), counts)


def test_hashes_are_uniform_and_depend_on_every_part_and_on_their_order():
    hashes = hash_integers(np.arange(100)[:, None], 7, np.arange(100))
    assert hashes.shape == (100, 100)
    assert len(np.unique(hashes)) == 10_000
    bits = (hashes[..., None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert abs(bits.mean((0, 1)) - 0.5).max() < 0.03
    assert hash_integers(1, 2) != hash_integers(2, 1)


@every_layout
@pytest.mark.parametrize("counts", [(20, 20, 20), (90, 5, 4)])
def test_no_photo_is_in_a_collage_twice_and_classes_are_as_the_layout_wants(layout, counts):
    keys, labels = photos(*counts)
    plan = COLLAGE_LAYOUTS[layout]
    items = choose_items(keys, labels, layout, NUMBERS)
    assert items.shape == (300, len(plan.cells))
    assert all(len(set(row)) == len(row) for row in items.tolist())
    per_collage = [len(set(row)) for row in labels[items].tolist()]
    if plan.classes == "same":
        assert set(per_collage) == {1}
    if plan.classes == "different":
        assert set(per_collage) == {min(len(plan.cells), 3)}
    else:
        shares = np.bincount(labels[items[:, 0]], minlength=3) / 300
        assert abs(shares - 1 / 3).max() < 0.1  # however many photos a class has


def test_photos_of_a_class_are_equally_likely():
    keys, labels = photos(10, 10)
    items = choose_items(keys, labels, "two_scattered", np.arange(4000))
    assert abs(np.bincount(items.ravel()) / 400 - 1).max() < 0.2


@every_layout
def test_two_classes_of_two_photos_suffice_for_what_has_at_most_four(layout):
    keys, labels = photos(2, 2)
    items = choose_items(keys, labels, layout, NUMBERS)
    assert enough_photos(labels, layout)
    assert all(len(set(row)) == len(row) for row in items.tolist())


@pytest.mark.parametrize(
    ("layout", "counts", "enough"),
    [
        ("two_columns", (1, 1), True),
        ("two_columns", (2,), True),
        ("two_columns", (1,), False),
        ("two_columns", (), False),
        ("pile_of_three", (1, 1), False),
        ("same_two_columns", (1, 1, 1), False),
        ("same_two_columns", (1, 2), True),
    ],
)
def test_a_layout_needs_as_many_photos_as_it_shows(layout, counts, enough):
    keys, labels = photos(*counts)
    assert enough_photos(labels, layout) == enough
    if enough:
        items = choose_items(keys, labels, layout, NUMBERS)
        assert all(len(set(row)) == len(row) for row in items.tolist())


@every_layout
def test_one_photo_more_changes_few_collages(layout):
    keys, labels = photos(40, 40, 40)
    before = keys[choose_items(keys, labels, layout, NUMBERS)]
    more, labels = np.append(keys, 12345), np.append(labels, 1)
    after = more[choose_items(more, labels, layout, NUMBERS)]
    changed = (before != after).any(1)
    # Only where the new photo has the highest weight: a place has it in about 1 of 123.
    assert np.array_equal(changed, (after == 12345).any(1))
    assert changed.mean() < 0.06


@every_layout
def test_a_choice_depends_on_number_seed_and_photos_and_not_on_their_order(layout):
    keys, labels = photos(9, 9, 9)
    order = np.random.default_rng(1).permutation(27)
    expected = keys[choose_items(keys, labels, layout, NUMBERS)]
    shuffled = keys[order][choose_items(keys[order], labels[order], layout, NUMBERS[100:])]
    assert np.array_equal(shuffled, expected[100:])
    other = keys[choose_items(keys, labels, layout, NUMBERS, seed=1)]
    assert (other != expected).any(1).mean() > 0.5


def test_each_place_of_a_collage_is_the_control_equally_often():
    slots = choose_control("pile_of_four", np.arange(4000))
    assert abs(np.bincount(slots) / 1000 - 1).max() < 0.1
    assert np.array_equal(slots[5:9], choose_control("pile_of_four", np.arange(5, 9)))
