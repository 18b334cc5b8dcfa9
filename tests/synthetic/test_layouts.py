"""Layouts: a table without mistakes, split into trained and held out."""

import numpy as np
import pytest

from fashion_transfer.synthetic.layouts import (
    COLLAGE_LAYOUTS,
    HELD_OUT_COLLAGES,
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    TRAINED_COLLAGES,
    TRAINED_LAYOUTS,
    grid,
)

OVERLAPPING = [name for name, plan in LAYOUTS.items() if plan.cells[0] == plan.cells[1]]


def test_every_layout_is_either_trained_on_or_held_out():
    assert sorted(TRAINED_LAYOUTS + HELD_OUT_LAYOUTS) == sorted(LAYOUTS)
    assert {LAYOUTS[name].classes for name in TRAINED_LAYOUTS} == {"different", "same", "any"}


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
    if layout not in OVERLAPPING:
        covered = np.zeros((plan.canvas, plan.canvas), int)
        edges = np.concatenate([np.floor(cells[:, :2] + 1e-6), np.ceil(cells[:, 2:] - 1e-6)], 1)
        for left, top, right, bottom in edges.astype(int):
            covered[top:bottom, left:right] += 1
        assert covered.max() == 1


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
