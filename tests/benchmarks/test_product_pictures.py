"""Items cut out of photos and put on plain grounds."""

import numpy as np
import pytest

from fashion_transfer.benchmarks.product_pictures import (
    FILLED,
    GROUNDS,
    SIDE,
    cut_out,
    draw_pairs,
    product_picture,
)

ITEM = (20, 40, 200)


@pytest.fixture
def photo():
    """A blue item, 30 x 20 pixels, on yellow."""
    image = np.empty((3, 60, 50), np.uint8)
    image[:] = np.array([230, 220, 40])[:, None, None]
    image[:, 10:40, 20:40] = np.array(ITEM)[:, None, None]
    return image


def mask(image):
    """Saliency of the blue pixels, with a faint haze everywhere."""
    return np.where(image[2] > 100, 1.0, 0.2).astype(np.float32)


def test_item_is_cut_out_without_the_haze_around_it(photo):
    colours, opacity = cut_out(photo, mask)
    assert colours.shape == (30, 20, 3)
    assert (colours == ITEM).all()
    assert (opacity == 255).all()


def test_grey_photo_is_cut_out_in_three_channels(photo):
    colours, _ = cut_out(photo[2:], mask)
    assert colours.shape == (30, 20, 3)
    assert (colours == ITEM[2]).all()


@pytest.mark.parametrize("saliency", [None, np.full((60, 50), 0.4, np.float32)])
def test_photo_without_anything_salient_has_no_cut_out(photo, saliency):
    assert cut_out(photo, lambda image: saliency) is None


@pytest.mark.parametrize("ground", GROUNDS)
def test_item_lies_whole_on_the_ground_with_a_margin(photo, ground):
    picture = product_picture([cut_out(photo, mask)], ground)
    assert picture.shape == (3, SIDE, SIDE)
    assert picture.dtype == np.uint8
    colour = np.array(GROUNDS[ground])[:, None, None]
    margin = int(SIDE * (1 - FILLED) / 2) - 17  # JPEG's blocks reach beyond the item
    for border in (picture[:, :margin], picture[..., :margin]):
        assert np.abs(border - colour).max() < 8
    centre = picture[:, SIDE // 2, SIDE // 2]
    assert np.abs(centre - np.array(ITEM)).max() < 8
    item = np.abs(picture - np.array(ITEM)[:, None, None]).max(axis=0) < 30
    assert item.sum() == pytest.approx(FILLED * SIDE * FILLED * SIDE * 2 / 3, rel=0.03)


def test_shadow_is_soft_and_below_the_item(photo):
    picture = product_picture([cut_out(photo, mask)], "white").astype(int)
    bottom = round(SIDE * (1 + FILLED) / 2)
    below = picture[:, bottom + 4 : bottom + 40, SIDE // 2].mean(axis=0)
    assert below[0] < 225
    assert below[-1] > 245
    assert np.abs(np.diff(below)).max() < 20
    above = picture[:, SIDE - bottom - 12, SIDE // 2]
    assert above.min() > 245


def test_two_items_lie_side_by_side_on_one_ground(photo):
    picture = product_picture([cut_out(photo, mask)] * 2, "beige")
    assert picture.shape == (3, SIDE, 2 * SIDE)
    for x in (SIDE // 2, SIDE + SIDE // 2):
        assert np.abs(picture[:, SIDE // 2, x] - np.array(ITEM)).max() < 8
    assert np.abs(picture[:, SIDE // 2, SIDE] - np.array(GROUNDS["beige"])).max() < 8


def test_pairs_are_of_different_labels_and_the_same_every_time():
    labels = ["shirt"] * 8 + ["coat", "dress"]
    pairs = draw_pairs(labels, 50)
    assert len(pairs) == 50
    assert all(labels[first] != labels[second] for first, second in pairs)
    assert len({position for pair in pairs for position in pair}) == 10
    assert draw_pairs(labels, 50) == pairs
    assert draw_pairs(labels, 50, seed=1) != pairs


def test_no_pair_is_drawn_from_one_label():
    assert draw_pairs(["shirt"] * 3, 5) == []
    assert draw_pairs([], 5) == []
