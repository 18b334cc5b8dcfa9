"""Alignment of items on black: what fills the image stays as it is, the rest is cropped."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fashion_transfer.data import alignment, get_preparation
from fashion_transfer.data.alignment import (
    FOREGROUND,
    MARGIN,
    align_foreground,
    is_on_black,
    is_on_white,
    is_small_and_grey,
    without_black_bars,
)


def block(top: int, left: int, height: int, width: int, size=(100, 80), channels: int = 1):
    """A block of 200 on black, (C, h, w)."""
    image = np.zeros((channels, *size), np.uint8)
    image[:, top : top + height, left : left + width] = 200
    return image


def bar(degrees: float, height: int = 60, width: int = 20, size: int = 160) -> np.ndarray:
    """A bar with a bright head, rotated about the middle of a black image."""
    y, x = np.meshgrid(*[np.arange(size) + 0.5 - size / 2] * 2, indexing="ij")
    angle = math.radians(degrees)
    along = x * math.cos(angle) + y * math.sin(angle)
    down = y * math.cos(angle) - x * math.sin(angle)
    inside = (np.abs(along) < width / 2) & (np.abs(down) < height / 2)
    head = inside & (down < -height / 4)
    return (inside * 100 + head * 100).astype(np.uint8)[None]


def extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column of true pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


# What stays as it is


@pytest.mark.parametrize(
    "place", [(0, 0, 100, 80), (5, 40, 90, 2), (0, 39, 100, 1), (5, 0, 90, 80)]
)
def test_image_that_is_filled_in_one_direction_is_unchanged(place):
    image = block(*place)
    assert align_foreground(image) is image


def test_filling_nine_tenths_of_the_longer_side_is_enough():
    assert align_foreground(block(5, 5, 90, 10)).shape == (1, 100, 80)
    assert align_foreground(block(5, 5, 89, 10)).shape == (1, 89 + 6, 89 + 6)
    assert align_foreground(block(0, 0, 10, 80)).shape == (1, 80 + 6, 80 + 6)


@pytest.mark.parametrize("value", [0, 1, FOREGROUND])
def test_image_without_foreground_is_unchanged(value):
    image = np.full((1, 20, 30), value, np.uint8)
    assert align_foreground(image) is image


@pytest.mark.parametrize("value", [1, FOREGROUND])
def test_item_whose_dim_ends_reach_both_edges_of_black_is_unchanged(value):
    # As some dim items of Fashion-MNIST do: they were cropped by its authors already.
    image = block(40, 30, 20, 20)
    image[0, :, 39] = np.maximum(image[0, :, 39], value)
    assert align_foreground(image) is image
    image[0, 0, 39] = 0
    assert align_foreground(image).shape == (1, 21, 21)


def test_dim_ground_that_is_nowhere_black_counts_as_ground():
    image = block(40, 30, 20, 20)
    image[image == 0] = FOREGROUND
    aligned = align_foreground(image)
    assert aligned.shape == (1, 21, 21)
    assert set(np.unique(aligned)) == {FOREGROUND, 200}
    image[0, 0, 30:50] = FOREGROUND + 1
    assert align_foreground(image).shape == (1, 64, 64)


def test_noisy_dark_ground_counts_as_ground():
    image = np.random.default_rng(0).integers(0, FOREGROUND, (1, 100, 80), dtype=np.uint8)
    image[0, 40:60, 30:50] = 200
    assert align_foreground(image).shape == (1, 21, 21)


@pytest.mark.parametrize("image", [block(10, 20, 30, 20), bar(30), bar(-12), block(95, 75, 5, 5)])
def test_aligning_twice_is_aligning_once(image):
    once = align_foreground(image)
    assert align_foreground(once) is once


@pytest.mark.real_data
def test_official_images_are_unchanged_but_for_one(official):
    training, test = official
    assert changed(training.images) == [6955]
    assert changed(test.images) == []


def changed(images: np.ndarray) -> list[int]:
    prepare = get_preparation("fashion_mnist")
    return [row for row, image in enumerate(images[:, None]) if prepare(image) is not image]


# Cropping


@pytest.mark.parametrize("place", [(30, 20, 40, 10), (0, 0, 10, 40), (60, 40, 40, 40)])
def test_small_item_is_centred_in_a_square_with_a_narrow_margin(place):
    aligned = align_foreground(block(*place))
    side = 40 + round(MARGIN * 40)
    assert aligned.shape == (1, side, side)
    assert aligned.dtype == np.uint8
    top, bottom, left, right = extent(aligned[0] > 0)
    assert (bottom - top + 1, right - left + 1) == place[2:]
    assert abs(top - (side - 1 - bottom)) <= 1
    assert abs(left - (side - 1 - right)) <= 1
    assert (aligned == 200).sum() == place[2] * place[3]


@pytest.mark.parametrize("corner", [(0, 0), (0, 75), (95, 0), (95, 75)])
def test_item_in_a_corner_has_a_black_margin_too(corner):
    aligned = align_foreground(block(*corner, 5, 5))
    assert aligned.shape == (1, 5, 5)  # of five pixels, a margin is none
    assert (aligned == 200).all()
    tall = align_foreground(block(*corner, 5, 1))
    assert tall.shape == (1, 5, 5)
    assert (tall[0, :, 2] == 200).all()
    assert (tall > 0).sum() == 5


def test_result_does_not_depend_on_the_place_of_the_item():
    item = np.random.default_rng(0).integers(26, 256, (30, 20), dtype=np.uint8)
    results = []
    for top, left in ((0, 0), (33, 51), (70, 60)):
        image = np.zeros((1, 100, 80), np.uint8)
        image[0, top : top + 30, left : left + 20] = item
        results.append(align_foreground(image))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_margin_shows_dim_pixels_beside_the_item():
    image = block(40, 30, 20, 20)
    image[0, 40, 50] = FOREGROUND
    aligned = align_foreground(image)
    assert aligned.shape == (1, 21, 21)
    assert (aligned == FOREGROUND).sum() == 1


def test_colour_channels_are_cropped_together_and_any_of_them_is_foreground():
    image = np.zeros((3, 60, 60), np.uint8)
    image[0, 10:20, 10:20] = 255
    image[2, 20:40, 20:30] = 90
    aligned = align_foreground(image)
    assert aligned.shape == (3, 32, 32)
    assert [(channel > 0).sum() for channel in aligned] == [100, 0, 200]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (3, 2)])
def test_a_few_pixels_are_enough(height, width):
    assert align_foreground(block(50, 30, height, width)).shape[1] >= max(height, width)


# Rotating


@pytest.mark.parametrize("degrees", [-44, -25, -12, 12, 30, 42])
def test_rotated_item_becomes_upright(degrees):
    upright, aligned = align_foreground(bar(0)), align_foreground(bar(degrees))
    assert abs(aligned.shape[1] - upright.shape[1]) <= 4  # angles are tried in steps of 3 degrees
    size = list(upright.shape[1:])
    resized = F.interpolate(torch.from_numpy(aligned)[None].float(), size, mode="bilinear")
    different = (resized[0] - torch.from_numpy(upright)).abs() > 50
    assert different.float().mean() < 0.06
    top, bottom, _, _ = extent(aligned[0] > FOREGROUND)
    assert abs(top - (aligned.shape[1] - 1 - bottom)) <= 2


@pytest.mark.parametrize("degrees", [-2, 1])
def test_nearly_upright_item_keeps_every_pixel(degrees):
    image = bar(degrees)
    aligned = align_foreground(image)
    top, bottom, left, right = extent(image[0] > FOREGROUND)
    inside = image[0, top : bottom + 1, left : right + 1]
    assert np.array_equal(aligned[0][aligned[0] > FOREGROUND], inside[inside > FOREGROUND])


def test_colour_channels_are_rotated_together():
    grey = bar(30)
    colour = align_foreground(np.concatenate([grey] * 3))
    assert np.array_equal(colour, np.concatenate([align_foreground(grey)] * 3))


def grid_sample(image, angle, centre, side) -> np.ndarray:
    """`_rotate` in the words of torch."""
    side *= 1 + MARGIN
    count = math.ceil(side)
    steps = ((np.arange(count) + 0.5) / count - 0.5) * side
    x, y = np.meshgrid(centre[0] + steps, centre[1] + steps)
    cos, sin = np.cos(angle), np.sin(angle)
    places = np.stack([x * cos - y * sin, x * sin + y * cos], -1)
    height, width = image.shape[1:]
    grid = torch.from_numpy(2 * places / [width, height] - 1).float()[None]
    pixels = torch.from_numpy(image)[None].float()
    return F.grid_sample(pixels, grid, align_corners=False)[0].round().byte().numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("degrees", [-40, -20, 15, 33])
def test_rotation_equals_torchs_grid_sample(degrees, channels, monkeypatch):
    noise = np.random.default_rng(0).integers(60, 256, (channels, 160, 160), dtype=np.uint8)
    image = np.where(bar(degrees) > 0, noise, 0).astype(np.uint8)
    # At the edge of the image, too, where there is nothing to sample beyond.
    for turned in (image, image[:, 52:108, :], image[:, :, 40:120]):
        ours = align_foreground(turned)
        with monkeypatch.context() as patch:
            patch.setattr(alignment, "_rotate", grid_sample)
            theirs = align_foreground(turned)
        assert ours.shape == theirs.shape
        assert ours.std() > 10
        different = ours != theirs
        # Equal on x86; processors that do not fuse multiply and add round otherwise now and then.
        assert different.mean() < 0.001
        assert np.abs(ours.astype(int) - theirs).max() <= 1


# On black, on white, between bars


def surrounded(colour: tuple[int, ...], size: int = 200, margin: int = 50) -> np.ndarray:
    """A square of noise that is nowhere dark, on one colour, (C, size, size)."""
    image = np.empty((len(colour), size, size), np.uint8)
    image[:] = np.array(colour)[:, None, None]
    noise = np.random.default_rng(0).integers(60, 256, image.shape, dtype=np.uint8)
    inside = slice(margin, size - margin)
    image[:, inside, inside] = noise[:, inside, inside]
    return image


@pytest.mark.parametrize(
    ("colour", "black", "white"),
    [
        ((0,), True, False),
        ((FOREGROUND,) * 3, True, False),
        ((FOREGROUND + 1,), False, False),
        ((0, 0, 60), False, False),
        ((255,), False, True),
        ((255 - FOREGROUND,) * 3, False, True),
        ((255, 255, 200), False, False),
    ],
)
def test_ground_is_black_or_white_by_every_channel_of_its_edge(colour, black, white):
    image = surrounded(colour)
    assert is_on_black(image) is black
    assert is_on_white(image) is white


@pytest.mark.parametrize(
    ("size", "channels", "limit"), [(28, 1, 0.25), (112, 3, 0.25), (113, 1, 0.5), (28, 2, 0.5)]
)
def test_small_grey_image_needs_half_as_much_black_at_its_edge(size, channels, limit):
    for fraction, expected in ((limit - 0.05, False), (limit + 0.05, True)):
        image = np.full((3 if channels > 1 else 1, size, size), 200, np.uint8)
        if channels == 2:
            image[0] = 150
        # Of the edge, a frame of one pixel, so many at the top and the bottom are black.
        count = round(fraction * 4 * (size - 1) / 2)
        top, bottom = min(count, size), max(count - size, 0)
        image[:, 0, :top] = image[:, -1, :top] = 0
        image[:, 1 : 1 + bottom, 0] = image[:, 1 : 1 + bottom, -1] = 0
        assert is_on_black(image) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 28, 28), True), ((3, 112, 84), True), ((1, 113, 20), False), ((1, 1, 1), True)],
)
def test_small_and_grey_is_what_composites_are(shape, expected):
    assert is_small_and_grey(np.full(shape, 90, np.uint8)) is expected


def test_small_image_with_a_tint_is_not_grey():
    image = np.full((3, 28, 28), 90, np.uint8)
    image[2, 5, 5] += 1
    assert not is_small_and_grey(image)


@pytest.mark.parametrize("place", [(0, 40, 200, 120), (40, 0, 120, 200), (30, 40, 130, 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_black_bars_around_a_picture_are_cropped(place, channels):
    top, left, height, width = place
    image = np.zeros((channels, 200, 200), np.uint8)
    shape = (channels, height, width)
    picture = np.random.default_rng(0).integers(FOREGROUND + 1, 256, shape, dtype=np.uint8)
    image[:, top : top + height, left : left + width] = picture
    assert np.array_equal(without_black_bars(image), picture)


def test_item_on_black_is_no_picture_between_bars():
    y, x = np.indices((200, 200)) - 100
    disc = np.where(y**2 + x**2 < 60**2, 200, 0).astype(np.uint8)[None]
    for image in (disc, block(30, 20, 40, 10), np.zeros((3, 200, 200), np.uint8)):
        assert without_black_bars(image) is image


def test_small_image_has_no_bars():
    image = block(0, 20, 100, 40)
    assert without_black_bars(image) is image


# Without torch

LOAD = """
import importlib.util, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "lightning", "PIL", "hydra", "scipy"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
spec = importlib.util.spec_from_file_location("alignment", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

import numpy as np

image = np.load(sys.argv[2])
np.save(sys.argv[2], module.align_foreground(image))
"""


def test_alignment_needs_numpy_alone(tmp_path):
    image, file = bar(30), tmp_path / "image.npy"
    np.save(file, image)
    command = [sys.executable, "-c", LOAD, str(Path(alignment.__file__)), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(file), align_foreground(image))
