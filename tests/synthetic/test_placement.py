"""Placement: items visible, whole, rotated within limits, and merged without artefacts."""

from dataclasses import replace

import numpy as np
import pytest

from fashion_transfer.data.alignment import FOREGROUND
from fashion_transfer.synthetic import placement
from fashion_transfer.synthetic.composites import compose
from fashion_transfer.synthetic.layouts import LAYOUTS, Layout, grid
from fashion_transfer.synthetic.placement import MIN_VISIBLE, visible_fractions

OVERLAPPING = [name for name, plan in LAYOUTS.items() if plan.cells[0] == plan.cells[1]]
OUTFITS = [name for name, plan in LAYOUTS.items() if plan.is_outfit]
APART = [name for name in LAYOUTS if name not in OVERLAPPING + OUTFITS]
WHOLE = ((0, 0, 1, 1),)


def solid(*values: int) -> tuple[np.ndarray, np.ndarray]:
    """Full squares of one value each, each a class of its own, and their labels; twice."""
    images = np.repeat(np.array(values, np.uint8), 2)[:, None, None] * np.ones((28, 28), np.uint8)
    return images, np.repeat(np.arange(len(values)), 2)


def _middle(cells: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(0.25 + edge / 2 for edge in cell) for cell in cells)


# Visibility


def test_visible_fractions_count_what_later_layers_cover():
    layers = np.zeros((2, 3, 4, 4), np.uint8)
    layers[0, 0, :, :2] = 200
    layers[0, 1, :2, :] = 200
    layers[0, 2, 0, 0] = 200
    layers[0, 2, 1, 1] = FOREGROUND  # background, which covers nothing
    layers[1, 2] = 200  # upon nothing at all
    assert visible_fractions(layers).tolist() == [[4 / 8, 7 / 8, 1], [0, 0, 1]]


@pytest.mark.parametrize("layout", APART)
def test_items_in_separate_cells_are_entirely_visible(draw, layout):
    assert np.all(draw(layout, range(100)).visible == 1)


@pytest.mark.parametrize("layout", OVERLAPPING)
def test_overlapping_items_leave_enough_of_each_other_visible(draw, layout):
    result = draw(layout, range(200))
    assert MIN_VISIBLE <= result.visible.min() < 0.7
    assert np.all(result.visible[:, -1] == 1)
    assert np.mean((result.visible < 1).any(axis=1)) > 0.5
    assert np.all(draw(layout, control=True).visible == 1)


def garments() -> tuple[np.ndarray, np.ndarray]:
    """Full-height bars as wide as garments are, two of each class of Fashion-MNIST; labels."""
    widths = np.repeat([20, 12, 20, 12, 20, 28, 20, 28, 28, 28], 2)
    images = np.zeros((20, 28, 28), np.uint8)
    for image, width in zip(images, widths, strict=True):
        image[2 * (width == 28) :, 14 - width // 2 : 14 + width // 2] = 200
    return np.repeat(images, 3, axis=0), np.repeat(np.arange(10), 6)


@pytest.mark.parametrize("layout", OUTFITS)
def test_what_is_worn_meets_as_on_a_person_and_hides_little(layout):
    images, labels = garments()
    result = compose(images, labels, layout, range(60))
    assert result.visible.min() >= MIN_VISIBLE
    assert np.all(result.visible[:, -1] == 1)
    rows = (result.pixels > FOREGROUND).any(2)
    assert np.all(rows.sum(1) == rows.shape[1] - rows[:, ::-1].argmax(1) - rows.argmax(1))
    assert np.mean(rows.mean(1) > 0.85) > 0.9


@pytest.mark.parametrize("layout", OUTFITS)
def test_outfits_are_mirrored_from_left_to_right_alone(layout, only):
    plan = LAYOUTS[layout]
    only(plan)
    images, labels = garments()
    lone = compose(images, labels, "it", range(120), control=True)
    roles = [plan.classes[index] for index in plan.control_cells]
    centres = {role: [] for role in roles}
    for picture, (label,) in zip(lone.pixels, lone.labels, strict=True):
        ys, xs = np.nonzero(picture > FOREGROUND)
        role = next(role for role in roles if label in role)
        centres[role].append(((ys.mean() + 0.5) / plan.canvas, (xs.mean() + 0.5) / plan.canvas))
    for role, places in centres.items():
        places = np.array(places)
        cells = np.array(
            [cell for cell, r in zip(plan.cells, plan.classes, strict=True) if r == role]
        )
        middle = (cells[0, 1] + cells[0, 3]) / 2
        assert abs(places[:, 0] - middle).max() < 0.12
        if abs(cells[:, [0, 2]].mean() - 0.5) > 0.1:
            assert 0.2 < np.mean(places[:, 1] < 0.5) < 0.8


def test_items_too_large_to_overlap_are_placed_side_by_side(only):
    only(Layout(42, WHOLE * 2, "different", (0.98, 1.0), 0))
    result = compose(*solid(100, 200), "it", range(9))
    assert np.all(result.visible == 1)
    for picture, values in zip(result.pixels, 100 * (result.labels + 1), strict=True):
        assert picture[:, :21].max() == values[0]
        assert picture[:, 21:].max() == values[1]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_item_is_cut_off_by_the_canvas(draw, layout, monkeypatch):
    # The same layout in the middle of twice the canvas: what was cut off would show around it.
    plan = LAYOUTS[layout]
    larger = replace(plan, canvas=2 * plan.canvas, cells=_middle(plan.cells))
    monkeypatch.setitem(LAYOUTS, layout, larger)
    monkeypatch.setattr(placement, "MIN_SAMPLED", 1)
    monkeypatch.setattr(placement, "grid", lambda count: _middle(grid(count)))
    pixels = draw(layout, range(60)).pixels
    quarter = plan.canvas // 2
    inside = pixels[:, quarter:-quarter, quarter:-quarter]
    assert (inside > FOREGROUND).sum() == (pixels > FOREGROUND).sum() > 0


# Merging


@pytest.mark.usefixtures("may_hide")
def test_an_upper_item_hides_a_lower_one_however_dark_it_is(only):
    only(Layout(42, WHOLE * 2, "different", (0.9, 1.0), 0))
    both = compose(*solid(40, 250), "it", range(12))
    dark_upon_bright = both.pixels[both.labels[:, 1] == 0]
    assert 0 < len(dark_upon_bright) < 12
    assert np.all(dark_upon_bright[:, 6:-6, 6:-6] == 40)
    assert np.all(both.pixels[both.labels[:, 1] == 1][:, 6:-6, 6:-6] == 250)


@pytest.mark.usefixtures("may_hide")
def test_the_edge_of_an_upper_item_draws_no_dark_line(only):
    only(Layout(56, (*WHOLE, (0.25, 0.25, 0.75, 0.75)), "different", (0.99, 1.0), 0))
    images, labels = solid(200, 200)
    images[:, [0, -1]] = images[:, :, [0, -1]] = 60  # like the edges of real items
    pixels = compose(images, labels, "it", range(6)).pixels
    assert pixels[:, 8:-8, 8:-8].min() > 150


# Geometry


def test_an_item_is_neither_mirrored_nor_flipped(only):
    only(Layout(28, WHOLE, "different", (0.99, 1.0), 0))
    image = np.zeros((28, 28), np.uint8)
    image[:, :9] = 220
    image[20:, :] = 120
    picture = compose(np.stack([image] * 2), np.array([0, 1]), "it", [0]).pixels[0]
    variants = {"as is": image, "mirrored": image[:, ::-1], "flipped": image[::-1]}
    correlation = {
        name: np.corrcoef(picture.ravel(), variant.ravel())[0, 1]
        for name, variant in variants.items()
    }
    assert correlation["as is"] > 0.9
    assert max(correlation["mirrored"], correlation["flipped"]) < 0.7


def test_items_rotate_to_both_sides_within_the_maximum(only):
    only(Layout(84, WHOLE, "different", (0.9, 1.0), 40))
    image = np.zeros((28, 28), np.uint8)
    image[13:15, 2:26] = 255
    pixels = compose(np.stack([image] * 2), np.array([0, 1]), "it", range(100)).pixels
    angles = []
    for picture in pixels:
        rows, columns = np.nonzero(picture > FOREGROUND)
        angles.append(np.degrees(np.arctan(np.polyfit(columns, rows, 1)[0])))
    assert -42 < min(angles) < -30
    assert 30 < max(angles) < 42


def test_a_small_item_is_averaged_not_subsampled():
    stripes = np.full((20, 28, 28), 40, np.uint8)
    stripes[:, ::2] = 240
    pixels = compose(stripes, np.repeat(np.arange(4), 5), "square_of_four", range(20)).pixels
    inner = np.stack(
        [pixels[:, top + 5 : top + 9, left + 5 : left + 9] for top in (0, 14) for left in (0, 14)]
    )
    assert 100 < inner.min() < inner.max() < 180


def test_layouts_are_mirrored_at_random(draw):
    # Where the larger item of the two lies.
    foreground = draw("unequal", range(60)).pixels > FOREGROUND
    left, right = foreground[:, :, :21].mean((1, 2)), foreground[:, :, -21:].mean((1, 2))
    assert 15 < np.sum(left > right) < 45
