"""Layouts: a table without mistakes, split into trained and held out."""

import numpy as np
import pytest

from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.synthetic.layouts import (
    BAG,
    COAT,
    COLLAGE_LAYOUTS,
    DRESS,
    HELD_OUT_COLLAGES,
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    MIN_CONTROL,
    SHOE,
    TOP,
    TRAINED_COLLAGES,
    TRAINED_LAYOUTS,
    TROUSERS,
    Layout,
    grid,
)

OVERLAPPING = [name for name, plan in LAYOUTS.items() if plan.cells[0] == plan.cells[1]]
OUTFITS = [name for name, plan in LAYOUTS.items() if plan.is_outfit]


def test_every_layout_is_either_trained_on_or_held_out():
    assert sorted(TRAINED_LAYOUTS + HELD_OUT_LAYOUTS) == sorted(LAYOUTS)
    assert {LAYOUTS[name].classes for name in TRAINED_LAYOUTS} > {"different", "same", "any"}
    assert 3 <= len(set(OUTFITS) & set(TRAINED_LAYOUTS)) < len(OUTFITS) - 2


def test_held_out_layouts_are_not_like_trained_ones():
    arrangements = {(LAYOUTS[name].cells, LAYOUTS[name].classes) for name in TRAINED_LAYOUTS}
    alike = [n for n in HELD_OUT_LAYOUTS if (LAYOUTS[n].cells, LAYOUTS[n].classes) in arrangements]
    assert alike == ["crossed"]  # which rotates far more than the trained one
    assert LAYOUTS["crossed"].rotation >= 2 * max(LAYOUTS[n].rotation for n in TRAINED_LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cells_are_within_the_canvas_and_share_no_pixel_unless_they_scatter(layout):
    plan = LAYOUTS[layout]
    cells = np.array(plan.cells) * plan.canvas
    assert np.all((cells >= 0) & (cells <= plan.canvas))
    assert np.all(cells[:, :2] < cells[:, 2:])
    assert 0 < plan.size[0] < plan.size[1] <= 1
    if layout not in OVERLAPPING + OUTFITS:
        covered = np.zeros((plan.canvas, plan.canvas), int)
        edges = np.concatenate([np.floor(cells[:, :2] + 1e-6), np.ceil(cells[:, 2:] - 1e-6)], 1)
        for left, top, right, bottom in edges.astype(int):
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1


def test_roles_are_what_fashion_mnist_calls_these_labels():
    names = {role: [CLASS_NAMES[label] for label in role] for role in (TOP, COAT, TROUSERS)}
    assert names[TOP] == ["T-shirt/top", "Pullover", "Coat", "Shirt"]
    assert names[COAT] == ["Coat"]
    assert names[TROUSERS] == ["Trouser"]
    rest = [[CLASS_NAMES[label] for label in role] for role in (DRESS, BAG, SHOE)]
    assert rest == [["Dress"], ["Bag"], ["Sandal", "Sneaker", "Ankle boot"]]


@pytest.mark.parametrize("layout", OUTFITS)
def test_outfits_are_named_so_and_have_a_role_and_a_meeting_cell_for_every_item(layout):
    plan = LAYOUTS[layout]
    assert layout.startswith("worn_")
    assert len(plan.classes) == len(plan.cells)
    assert plan.rotation <= 5
    cells = np.array(plan.cells)
    shared = np.minimum(cells[:, None, 2:], cells[:, 2:]) - np.maximum(
        cells[:, None, :2], cells[:, :2]
    )
    assert np.all(((shared >= -1e-9).all(2)).sum(1) >= 2)  # each with itself and with another


def test_no_other_layout_is_named_like_an_outfit():
    assert [name for name in LAYOUTS if name.startswith("worn_")] == OUTFITS


def test_half_of_the_outfits_are_as_large_as_fashion_mnist():
    assert 2 * sum(LAYOUTS[name].canvas == 28 for name in OUTFITS) >= len(OUTFITS)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_control_shows_no_item_that_is_too_small(layout):
    plan = LAYOUTS[layout]
    sides = [max(x1 - x0, y1 - y0) * plan.canvas for x0, y0, x1, y1 in plan.cells]
    assert min(sides[index] for index in plan.control_cells) >= MIN_CONTROL
    if not plan.is_outfit:
        assert plan.control_cells == tuple(range(len(plan.cells)))


def test_a_layout_of_small_items_alone_has_controls_of_all():
    assert Layout(9, grid(2), "any").control_cells == (0, 1)


def test_every_layout_of_collages_is_either_trained_on_or_held_out_and_has_a_name_of_its_own():
    assert sorted(TRAINED_COLLAGES + HELD_OUT_COLLAGES) == sorted(COLLAGE_LAYOUTS)
    assert not COLLAGE_LAYOUTS.keys() & LAYOUTS.keys()
    trained = {COLLAGE_LAYOUTS[name].cells for name in TRAINED_COLLAGES}
    assert not trained & {COLLAGE_LAYOUTS[name].cells for name in HELD_OUT_COLLAGES}


@pytest.mark.parametrize("layout", COLLAGE_LAYOUTS)
def test_cells_of_collages_are_within_the_canvas(layout):
    plan = COLLAGE_LAYOUTS[layout]
    cells = np.array(plan.cells)
    assert np.all((cells >= 0) & (cells <= 1))
    assert np.all(cells[:, :2] < cells[:, 2:])
    assert 0 < plan.size[0] < plan.size[1] <= 1
    assert plan.canvas == 448


def test_grid_divides_the_canvas_row_by_row():
    assert grid(1) == ((0, 0, 1, 1),)
    assert grid(2, 2) == ((0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 0.5, 1), (0.5, 0.5, 1, 1))
