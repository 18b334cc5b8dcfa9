"""The preparation of photos: plain borders cropped, the rest padded to a square, in colour."""

import numpy as np
import pytest

from fashion_transfer.data import get_preparation
from fashion_transfer.data.preparation import (
    PAD,
    TOLERANCE,
    crop_plain_borders,
    pad_to_square,
)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo with detail up to its edges, uint8, (3, h, w)."""
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)


def on_canvas(image: np.ndarray, colour: int, top: int, left: int, size: int) -> np.ndarray:
    canvas = np.full((3, size, size), colour, np.uint8)
    canvas[:, top : top + image.shape[1], left : left + image.shape[2]] = image
    return canvas


def test_square_photo_with_detail_is_unchanged():
    image = noise(20, 20)
    assert np.array_equal(get_preparation("photo")(image), image)


def test_grey_photo_gets_three_equal_channels():
    image = noise(20, 20)[:1]
    assert np.array_equal(get_preparation("photo")(image), np.concatenate([image] * 3))


@pytest.mark.parametrize(("height", "width"), [(30, 20), (20, 31)])
def test_photo_is_centred_on_a_square_and_not_stretched(height, width):
    image = noise(height, width)
    prepared = get_preparation("photo")(image)
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    assert prepared.shape == (3, side, side)
    assert np.array_equal(prepared[:, top : top + height, left : left + width], image)
    added = np.ones((side, side), bool)
    added[top : top + height, left : left + width] = False
    assert (prepared[:, added] == np.array(PAD)[:, None]).all()


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_crop_removes_borders_of_one_colour(colour):
    image = noise(12, 17)
    assert np.array_equal(crop_plain_borders(on_canvas(image, colour, 5, 9, 40)), image)


def test_crop_takes_what_compression_adds_for_plain():
    canvas = on_canvas(noise(12, 17), 128, 5, 9, 40).astype(int)
    flicker = np.random.default_rng(1).integers(-TOLERANCE // 2, TOLERANCE // 2, canvas.shape)
    cropped = crop_plain_borders((canvas + flicker).clip(0, 255).astype(np.uint8))
    assert cropped.shape == (3, 12, 17)


def test_crop_removes_bars_of_different_colours():
    image = noise(12, 20)
    bars = [np.full((3, rows, 20), colour, np.uint8) for rows, colour in ((4, 0), (7, 255))]
    assert np.array_equal(crop_plain_borders(np.concatenate([bars[0], image, bars[1]], 1)), image)


def test_crop_leaves_a_plain_image_whole():
    plain = np.full((3, 9, 14), 77, np.uint8)
    assert np.array_equal(crop_plain_borders(plain), plain)
    assert get_preparation("photo")(plain).shape == (3, 14, 14)


def test_crop_leaves_a_border_with_detail():
    image = noise(20, 20)
    image[:, 0, :10], image[:, 0, 10:] = 0, 255
    assert crop_plain_borders(image).shape == image.shape


def test_single_pixel_is_a_photo():
    assert get_preparation("photo")(np.zeros((1, 1, 1), np.uint8)).shape == (3, 1, 1)
    assert pad_to_square(np.zeros((3, 1, 5), np.uint8)).shape == (3, 5, 5)
