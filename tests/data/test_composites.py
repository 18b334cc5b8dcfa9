"""Composites: several items where the layout says, in sight, repeatable, and their controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fashion_transfer.data import HELD_OUT_LAYOUTS, LAYOUTS, TRAINED_LAYOUTS, compose, composites
from fashion_transfer.data.composites import FOREGROUND, VISIBLE, Layout, visible_fractions
from fashion_transfer.errors import FashionTransferError

PER_CLASS = 6
MANY = 24
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), PER_CLASS))
OVERLAPPING = [name for name, plan in LAYOUTS.items() if plan.cells[0] == plan.cells[1]]
APART = [name for name in LAYOUTS if name not in OVERLAPPING]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def _images() -> np.ndarray:
    # A textured block on haze, tall or wide, so that no two images are alike.
    generator = np.random.default_rng(1)
    images = generator.integers(0, 20, (len(LABELS), 28, 28), dtype=np.uint8)
    for image in images:
        top, left = generator.integers(0, 12, 2)
        bottom, right = generator.integers(18, 29, 2)
        image[top:bottom, left:right] = generator.integers(60, 256, (bottom - top, right - left))
    return images


IMAGES = _images()


def made(layout: str, which=range(MANY), **options) -> composites.Composites:
    return compose(IMAGES, LABELS, layout, which, **options)


def solid(*values: int) -> tuple[np.ndarray, np.ndarray]:
    """Full squares of one value each, each a class of its own, and their labels; twice."""
    images = np.repeat(np.array(values, np.uint8), 2)[:, None, None] * np.ones((28, 28), np.uint8)
    return images, np.repeat(np.arange(len(values)), 2)


def _middle(cells: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(0.25 + edge / 2 for edge in cell) for cell in cells)


@pytest.fixture
def only(monkeypatch):
    """`only(layout)`: makes "it" the one layout there is."""

    def patch(layout: Layout) -> None:
        monkeypatch.setattr(composites, "LAYOUTS", {"it": layout})

    return patch


def assert_equal(one: composites.Composites, other: composites.Composites) -> None:
    for mine, theirs in zip(one, other, strict=True):
        assert np.array_equal(mine, theirs)


# The table


def test_every_layout_is_either_trained_on_or_held_out():
    assert sorted(TRAINED_LAYOUTS + HELD_OUT_LAYOUTS) == sorted(LAYOUTS)
    assert {LAYOUTS[name].classes for name in TRAINED_LAYOUTS} == {"different", "same", "any"}
    arrangements = {(LAYOUTS[name].cells, LAYOUTS[name].classes) for name in TRAINED_LAYOUTS}
    alike = [n for n in HELD_OUT_LAYOUTS if (LAYOUTS[n].cells, LAYOUTS[n].classes) in arrangements]
    assert alike == ["crossed"]  # which turns far more than the trained one
    assert LAYOUTS["crossed"].rotation >= 2 * max(LAYOUTS[n].rotation for n in TRAINED_LAYOUTS)


@every_layout
def test_cells_are_within_the_canvas_and_meet_in_no_pixel_unless_they_scatter(layout):
    plan = LAYOUTS[layout]
    cells = np.array(plan.cells) * plan.canvas
    assert np.all((cells >= 0) & (cells <= plan.canvas) & (cells[:, :2] < cells[:, [2, 3]]).all())
    assert 0 < plan.size[0] < plan.size[1] <= 1
    if layout in APART:
        taken = np.zeros((plan.canvas, plan.canvas), int)
        edges = np.concatenate([np.floor(cells[:, :2] + 1e-6), np.ceil(cells[:, 2:] - 1e-6)], 1)
        for left, top, right, bottom in edges.astype(int):
            taken[top:bottom, left:right] += 1
        assert taken.max() == 1


# What comes out


@every_layout
@pytest.mark.parametrize("control", [False, True])
def test_shapes_types_and_labels(layout, control):
    plan, found = LAYOUTS[layout], made(layout, control=control)
    count = 1 if control else len(plan.cells)
    assert found.pixels.shape == (MANY, plan.canvas, plan.canvas)
    assert found.items.shape == found.labels.shape == found.visible.shape == (MANY, count)
    types = [array.dtype for array in found]
    assert types == [np.uint8, np.int64, np.int64, np.float64]
    assert np.array_equal(found.labels, LABELS[found.items])
    assert found.pixels.max() > 100


@every_layout
def test_no_image_comes_twice_and_classes_are_as_the_layout_says(layout):
    plan, found = LAYOUTS[layout], made(layout, range(100))
    ordered = np.sort(found.items, axis=1)
    assert np.all(ordered[:, 1:] > ordered[:, :-1])
    kinds = np.array([len(set(row)) for row in found.labels.tolist()])
    if plan.classes == "same":
        assert np.all(kinds == 1)
    elif plan.classes == "different":
        assert np.all(kinds == len(plan.cells))
    else:
        assert 1 <= kinds.min() < kinds.max() == len(plan.cells)


@pytest.mark.parametrize("layout", ["stacked", "same_stacked", "scatter_of_two"])
def test_every_image_has_its_turn_in_every_slot(layout):
    found = made(layout, range(1500))
    for slot in range(2):
        counts = np.bincount(found.items[:, slot], minlength=len(LABELS))
        assert 8 <= counts.min() <= counts.max() <= 50  # 25 expected of each


def test_labels_may_be_any_whole_numbers():
    named = (LABELS * 7 - 3).astype(np.int16)
    found = compose(IMAGES, named, "quincunx", range(9))
    assert found.labels.dtype == np.int64
    assert np.array_equal(found.labels, named[found.items])
    assert np.array_equal(found.pixels, made("quincunx", range(9)).pixels)


# Pure functions


@every_layout
@pytest.mark.parametrize("control", [False, True])
def test_a_composite_does_not_depend_on_what_else_is_asked_for(layout, control, monkeypatch):
    together = made(layout, control=control)
    order = np.random.default_rng(0).permutation(MANY)
    assert_equal(
        made(layout, order, control=control),
        composites.Composites(*(array[order] for array in together)),
    )
    torch.manual_seed(1)
    alone = made(layout, [7], control=control)
    assert_equal(alone, composites.Composites(*(array[7:8] for array in together)))
    monkeypatch.setattr(composites, "CHUNK", 5)
    assert_equal(made(layout, control=control), together)


def test_nothing_asked_for_gives_nothing():
    for which in ([], range(0), np.array([], int)):
        assert made("diagonal", which).pixels.shape == (0, 42, 42)
        assert made("diagonal", which, control=True).items.shape == (0, 1)


def test_seed_layout_and_number_each_change_a_composite():
    found = made("side_by_side", range(300))
    assert len(np.unique(found.pixels, axis=0)) == 300
    assert not np.array_equal(made("side_by_side", range(300), seed=1).items, found.items)
    assert not np.array_equal(made("stacked", range(300)).items, found.items)


def test_a_composite_is_of_the_same_items_on_every_machine():
    # Written down once: a change of these makes what was measured before another measurement.
    assert made("stacked", [0, 1]).items.tolist() == [[18, 36], [51, 41]]
    assert made("scatter_of_three", [59_999], seed=3).items.tolist() == [[31, 50, 11]]
    assert made("scatter_of_three", [59_999], seed=3, control=True).items.tolist() == [[50]]


# In sight


def test_visible_fractions_count_what_later_layers_cover():
    layers = np.zeros((2, 3, 4, 4), np.uint8)
    layers[0, 0, :, :2] = 200
    layers[0, 1, :2, :] = 200
    layers[0, 2, 0, 0] = 200
    layers[0, 2, 1, 1] = FOREGROUND  # ground, which covers nothing
    layers[1, 2] = 200  # upon nothing at all
    assert visible_fractions(layers).tolist() == [[4 / 8, 7 / 8, 1], [0, 0, 1]]


@pytest.mark.parametrize("layout", APART)
def test_items_in_cells_of_their_own_are_all_in_sight(layout):
    assert np.all(made(layout, range(100)).visible == 1)


@pytest.mark.parametrize("layout", OVERLAPPING)
def test_items_that_overlap_leave_enough_of_each_other_in_sight(layout):
    found = made(layout, range(200))
    assert VISIBLE <= found.visible.min() < 0.7
    assert np.all(found.visible[:, -1] == 1)
    assert np.mean((found.visible < 1).any(axis=1)) > 0.5
    assert np.all(made(layout, control=True).visible == 1)


def test_items_too_large_to_overlap_are_moved_apart(only):
    only(Layout(42, ((0, 0, 1, 1),) * 2, "different", (0.98, 1.0), 0))
    found = compose(*solid(100, 200), "it", range(9))
    assert np.all(found.visible == 1)
    for picture, values in zip(found.pixels, 100 * (found.labels + 1), strict=True):
        assert picture[:, :21].max() == values[0]
        assert picture[:, 21:].max() == values[1]


@every_layout
def test_no_item_is_cut_off_by_the_canvas(layout, monkeypatch):
    # The same layout in the middle of twice the canvas: what was cut off would show around it.
    plan = LAYOUTS[layout]
    larger = replace(plan, canvas=2 * plan.canvas, cells=_middle(plan.cells))
    monkeypatch.setitem(LAYOUTS, layout, larger)
    monkeypatch.setattr(composites, "FINE", 1)
    rows = {count: _middle(composites._grid(count)) for count in range(6)}
    monkeypatch.setattr(composites, "_grid", rows.get)
    found = made(layout, range(60)).pixels
    quarter = plan.canvas // 2
    inside = found[:, quarter:-quarter, quarter:-quarter]
    assert (inside > FOREGROUND).sum() == (found > FOREGROUND).sum() > 0


def test_an_upper_item_hides_a_lower_one_however_dark_it_is(only, monkeypatch):
    monkeypatch.setattr(composites, "VISIBLE", 0)
    only(Layout(42, ((0, 0, 1, 1),) * 2, "different", (0.9, 1.0), 0))
    both = compose(*solid(40, 250), "it", range(12))
    dark_upon_bright = both.pixels[both.labels[:, 1] == 0]
    assert 0 < len(dark_upon_bright) < 12
    assert np.all(dark_upon_bright[:, 6:-6, 6:-6] == 40)
    assert np.all(both.pixels[both.labels[:, 1] == 1][:, 6:-6, 6:-6] == 250)


def test_the_edge_of_an_upper_item_draws_no_dark_line(only, monkeypatch):
    monkeypatch.setattr(composites, "VISIBLE", 0)
    only(Layout(56, ((0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75)), "different", (0.99, 1.0), 0))
    images, labels = solid(200, 200)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 60  # as the edges of real items are
    found = compose(images, labels, "it", range(6)).pixels
    assert found[:, 8:-8, 8:-8].min() > 150


# Geometry


def test_an_item_lies_as_its_image_does(only):
    only(Layout(28, ((0, 0, 1, 1),), "different", (0.99, 1.0), 0))
    image = np.zeros((28, 28), np.uint8)
    image[:, :9] = 220
    image[20:, :] = 120
    found = compose(np.stack([image] * 2), np.array([0, 1]), "it", [0]).pixels[0]
    likeness = {
        name: np.corrcoef(found.ravel(), other.ravel())[0, 1]
        for name, other in {
            "as is": image,
            "mirrored": image[:, ::-1],
            "flipped": image[::-1],
        }.items()
    }
    assert likeness["as is"] > 0.9
    assert max(likeness["mirrored"], likeness["flipped"]) < 0.7


def test_items_turn_to_both_sides_within_their_degrees(only):
    only(Layout(84, ((0, 0, 1, 1),), "different", (0.9, 1.0), 40))
    image = np.zeros((28, 28), np.uint8)
    image[13:15, 2:26] = 255
    found = compose(np.stack([image] * 2), np.array([0, 1]), "it", range(100)).pixels
    angles = []
    for picture in found:
        rows, columns = np.nonzero(picture > FOREGROUND)
        angles.append(np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0])))
    assert -42 < min(angles) < -30
    assert 30 < max(angles) < 42


def test_a_small_item_is_averaged_and_not_picked_apart():
    stripes = np.full((20, 28, 28), 40, np.uint8)
    stripes[:, ::2] = 240
    found = compose(stripes, np.repeat(np.arange(4), 5), "square_of_four", range(20)).pixels
    inner = np.stack(
        [found[:, top + 5 : top + 9, left + 5 : left + 9] for top in (0, 14) for left in (0, 14)]
    )
    assert 100 < inner.min() < inner.max() < 180


def test_layouts_are_mirrored_at_random():
    # Where the large item of the two lies.
    found = made("unequal", range(60)).pixels > FOREGROUND
    left, top = found[:, :, :21].mean((1, 2)), found[:, :, -21:].mean((1, 2))
    assert 15 < np.sum(left > top) < 45


# Controls


@every_layout
def test_a_control_is_one_item_of_its_composite_where_it_lies(layout):
    both, lone = made(layout, range(60)), made(layout, range(60), control=True)
    slots = np.argmax(both.items == lone.items, axis=1)
    assert np.all(np.take_along_axis(both.items, slots[:, None], 1) == lone.items)
    assert set(slots) == set(range(both.items.shape[1]))
    seen = np.take_along_axis(both.visible, slots[:, None], 1)[:, 0]
    for together, alone, fraction in zip(both.pixels, lone.pixels, seen, strict=True):
        item = alone > FOREGROUND
        # Its edges take light from what lies below: from haze where the layout keeps items apart.
        same = np.mean(np.abs(together[item] - alone[item].astype(int)) <= FOREGROUND)
        if layout in APART:
            assert same == 1
        else:
            assert same > 0.7 * fraction
        # The other adds to the foreground, or lies wholly upon this one.
        assert (together > FOREGROUND).sum() >= item.sum()
        assert not np.array_equal(together, alone)


def test_a_lone_item_stays_what_it_is_among_fewer_or_more_classes():
    # The geometry of a composite does not depend on which classes there are.
    images, labels = solid(200, 200, 200, 200, 200)
    few = compose(images[:4], labels[:4], "crossed", range(20), control=True)
    many = compose(images, labels, "crossed", range(20), control=True)
    assert np.array_equal(few.pixels, many.pixels)


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "spiral"}, "layout is 'spiral': it must be one of side_by_side, "),
        ({"images": IMAGES / 255}, r"images are float64 of shape \(60, 28, 28\)"),
        ({"images": IMAGES[0]}, r"images are uint8 of shape \(28, 28\)"),
        ({"images": IMAGES[:, :, :20]}, r"shape \(60, 28, 20\): they must be uint8, \(M, h, h\)"),
        ({"labels": LABELS[:-1]}, r"labels are int64 of shape \(59,\)"),
        ({"labels": LABELS.astype(float)}, "labels are float64 .*: give each image a whole number"),
        ({"labels": LABELS // 5}, r"there are 2 classes, of \[30, 30\] images: give layout"),
        ({"labels": np.arange(60)}, "'row_of_three' at least 3, of 3 images each"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, r"there are 0 classes, of \[\] images"),
        ({"which": [0, -1]}, r"which is \[0, -1\]: it must be a list of whole numbers from 0"),
        ({"which": [0.5]}, r"which is \[0.5\]"),
        ({"which": 3}, "which is 3"),
        ({"which": [[1, 2]]}, r"which is \[\[1, 2\]\]"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    good = {"images": IMAGES, "labels": LABELS, "layout": "row_of_three", "which": [0]}
    with pytest.raises(FashionTransferError, match=message) as caught:
        compose(**(good | change))
    assert "\n" not in str(caught.value)


def test_layouts_of_one_class_do_with_one_class():
    assert np.all(compose(IMAGES, LABELS * 0, "same_stacked", [0]).labels == 0)
    with pytest.raises(FashionTransferError, match="of 2 images each"):
        compose(IMAGES[:1], LABELS[:1], "same_stacked", [0])


def test_an_image_too_dark_to_be_seen_is_named():
    images = IMAGES.copy()
    images[LABELS == 4] = FOREGROUND
    with pytest.raises(FashionTransferError, match=r"image \d+ is too dark to be seen: leave"):
        compose(images, LABELS, "scatter_of_four", range(50))
