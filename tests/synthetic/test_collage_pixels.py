"""The pixels of collages: whole photos on a plain canvas, enough of each visible."""

import numpy as np
import pytest

from fashion_transfer.synthetic.collage_pixels import (
    MIN_VISIBLE,
    is_needed,
    render_collage,
    square_photo,
)
from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS

SHAPES = [(80, 60), (60, 80), (64, 36), (70, 70)]
OVERLAPPING = ("two_overlapping", "pile_of_three", "two_scattered", "inset", "pile_of_four")
every_layout = pytest.mark.parametrize("layout", COLLAGE_LAYOUTS)


def plain_photos(layout: str, number: int = 0) -> list[np.ndarray]:
    """A photo per cell, of different shapes; that at place k has the colour (10 + 60 k, 77, 9)."""
    shapes = SHAPES[number % 4 :] + SHAPES[: number % 4]
    photos = []
    for slot in range(len(COLLAGE_LAYOUTS[layout].cells)):
        photo = np.empty((3, *shapes[slot]), np.uint8)
        photo[:] = np.array([10 + 60 * slot, 77, 9])[:, None, None]
        photos.append(photo)
    return photos


def area(image: np.ndarray, slot: int) -> int:
    """Number of pixels that show a photo of `plain_photos`."""
    colour = np.array([10 + 60 * slot, 77, 9])[:, None, None]
    return int((abs(image.astype(int) - colour).max(0) <= 1).sum())


@every_layout
def test_a_collage_shows_every_photo_and_enough_of_it(layout):
    for number in range(4):
        photos = plain_photos(layout, number)
        image = render_collage(photos, layout, number)
        assert image.shape == (3, 448, 448)
        assert image.dtype == np.uint8
        for slot in range(len(photos)):
            alone = area(render_collage(photos, layout, number, control=slot), slot)
            assert alone > 2000
            assert area(image, slot) >= (MIN_VISIBLE - 0.02) * alone


@every_layout
def test_a_control_is_one_photo_of_its_collage_as_it_lies_there(layout):
    photos = plain_photos(layout)
    image = render_collage(photos, layout, 3)
    last = len(photos) - 1  # the uppermost is whole in the collage
    control = render_collage(photos, layout, 3, control=last)
    shown = abs(control.astype(int) - np.array([10 + 60 * last, 77, 9])[:, None, None]).max(0) == 0
    assert shown.any()
    assert np.array_equal(control[:, shown], image[:, shown])
    canvas = control[:, ~shown]
    plain = abs(canvas - np.median(canvas, axis=1)[:, None]).max(0) == 0
    assert plain.mean() > 0.97  # all but the blended edge of a rotated photo


@every_layout
def test_a_collage_is_a_pure_function_of_photos_number_and_seed(layout):
    photos = plain_photos(layout)
    first = render_collage(photos, layout, 5)
    assert np.array_equal(first, render_collage(photos, layout, 5))
    assert not np.array_equal(first, render_collage(photos, layout, 6))
    assert not np.array_equal(first, render_collage(photos, layout, 5, seed=1))


@every_layout
def test_a_control_needs_other_photos_only_where_cells_overlap(layout):
    photos = plain_photos(layout)
    for slot in range(len(photos)):
        needed = [is_needed(layout, other, slot) for other in range(len(photos))]
        assert needed[slot]
        assert all(is_needed(layout, other, None) for other in range(len(photos)))
        given = [photo if need else None for photo, need in zip(photos, needed, strict=True)]
        expected = render_collage(photos, layout, 2, control=slot)
        assert np.array_equal(render_collage(given, layout, 2, control=slot), expected)
    assert any(needed[:-1]) == (layout in OVERLAPPING)


def test_cells_are_filled_or_hold_whole_photos():
    photos = [np.full((3, 80, 60), level, np.uint8) for level in (60, 61)]
    shares = []
    for number in range(40):
        control = render_collage(photos, "two_columns", number, control=0)
        shares.append((abs(control.astype(int) - 60).max(0) == 0).mean())
    filled = np.array(shares) > 0.4  # half of the canvas, less gaps of at most 4 %
    assert 8 < filled.sum() < 32
    assert max(shares) <= 0.5
    assert np.array(shares)[~filled].max() <= 0.334  # half as wide as the canvas, and 3 : 4


def test_canvases_have_different_plain_colours():
    photos = plain_photos("two_scattered")
    corners = [render_collage(photos, "two_diagonal", n, control=0) for n in range(60)]
    colours = {tuple(np.median(image.reshape(3, -1), axis=1).astype(int)) for image in corners}
    assert {(255, 255, 255), (0, 0, 0)} < colours
    assert any(len(set(colour)) == 1 and 0 < colour[0] < 255 for colour in colours)
    assert sum(len(set(colour)) == 3 for colour in colours) >= 5


def test_a_rotated_photo_has_no_edge_of_another_colour():
    photo = np.full((3, 80, 60), 200, np.uint8)
    for number in range(12):
        image = render_collage([photo, photo], "two_overlapping", number)
        image = image.reshape(3, -1).astype(int)
        canvas = [np.unique(levels[levels != 200], return_counts=True) for levels in image]
        colour = np.array([levels[counts.argmax()] for levels, counts in canvas])[:, None]
        assert np.all(image >= np.minimum(colour, 200) - 1)
        assert np.all(image <= np.maximum(colour, 200) + 1)


def test_an_inset_lies_on_the_photo_below_in_a_corner():
    photos = [np.full((3, 300, 300), 60, np.uint8), np.full((3, 90, 90), 200, np.uint8)]
    corners = set()
    for number in range(20):
        image = render_collage(photos, "inset", number)[0]
        inset = np.argwhere(image == 200)
        assert set(np.unique(image)) == {60, 200}
        sides = np.ptp(inset, axis=0) + 1
        assert np.all((sides > 0.29 * 448) & (sides < 0.45 * 448))
        corners.add(tuple((inset.mean(0) > 224).tolist()))
    assert len(corners) == 4


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 900), (1, 900, 2), (3, 20, 3000)])
@every_layout
def test_photos_of_any_shape_can_be_rendered(layout, shape):
    photos = [np.full(shape, 99, np.uint8)] * len(COLLAGE_LAYOUTS[layout].cells)
    for number in range(2):
        assert render_collage(photos, layout, number).shape == (3, 448, 448)


def test_square_photo_is_the_centre():
    photo = np.zeros((1, 50, 90), np.uint8)
    photo[:, :, 20:70] = 200
    square = square_photo(photo, 25)
    assert square.shape == (3, 25, 25)
    assert np.all(abs(square[:, :, 2:-2].astype(int) - 200) <= 2)
    assert square.min() > 150  # nothing but a blend at the edge
