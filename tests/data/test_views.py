"""Views: pure functions of (view seed, image, number), within their ranges, rendered exactly."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fashion_transfer.data import Augmentation, render, view_matrices
from fashion_transfer.data.sources import load_split
from fashion_transfer.data.views import frame
from fashion_transfer.errors import FashionTransferError

NOTHING = {"rotation": 0, "shift": 0, "zoom": 0, "shear": 0, "flip": 0}
MANY = np.arange(400)
WRITTEN_DOWN = [
    [[1.034818, -0.104153, 0.092437], [0.113643, 0.948916, 0.079224]],
    [[1.044025, 0.099074, 0.033977], [-0.11113, 0.926444, -0.197025]],
]


def only(**ranges) -> Augmentation:
    return Augmentation(**(NOTHING | ranges))


def matrices(augmentation: Augmentation, indices=MANY, view: int = 1) -> np.ndarray:
    return view_matrices(indices, np.full(len(indices), view), augmentation).double().numpy()


@pytest.fixture
def images():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8))


# Pure functions


def test_view_0_is_the_identity_whatever_the_augmentation():
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    strong = Augmentation(rotation=90, shift=0.5, zoom=0.5, shear=45, flip=1)
    found = view_matrices(MANY, np.zeros(len(MANY), int), strong, view_seed=9)
    assert torch.equal(found, identity.expand(len(MANY), 2, 3))


def test_views_are_float32_maps_and_repeat_exactly():
    one, again = (view_matrices([3, 4], [1, 2], Augmentation(), 5) for _ in range(2))
    assert one.shape == (2, 2, 3)
    assert one.dtype == torch.float32
    assert torch.equal(one, again)


def test_a_view_does_not_depend_on_its_batch_or_order():
    views = np.arange(len(MANY)) % 4
    together = view_matrices(MANY, views, Augmentation())
    order = np.random.default_rng(0).permutation(len(MANY))
    assert torch.equal(view_matrices(MANY[order], views[order], Augmentation()), together[order])
    for place in (0, 1, 2, 3, 399):
        alone = view_matrices([place], [views[place]], Augmentation())
        assert torch.equal(alone[0], together[place])


def test_a_view_ignores_the_state_of_other_random_generators():
    before = view_matrices([7], [3], Augmentation())
    torch.manual_seed(1)
    torch.rand(10)
    assert torch.equal(view_matrices([7], [3], Augmentation()), before)


def test_a_view_is_the_same_on_every_machine():
    # Written down once: a change of these numbers makes every kept feature of a view worthless.
    found = view_matrices([0, 59_999], [1, 2], Augmentation(), view_seed=0)
    assert torch.allclose(found, torch.tensor(WRITTEN_DOWN), atol=1e-6)


@pytest.mark.parametrize(
    ("index", "view", "seed"), [(8, 3, 5), (7, 4, 5), (7, 3, 6), (3, 7, 5), (7, 5, 3), (5, 3, 7)]
)
def test_a_view_changes_with_image_number_and_seed(index, view, seed):
    original = view_matrices([7], [3], Augmentation(), 5)
    assert not torch.allclose(view_matrices([index], [view], Augmentation(), seed), original)


def test_no_two_views_of_many_are_equal():
    indices, views = np.repeat(np.arange(50), 8), np.tile(np.arange(1, 9), 50)
    found = torch.cat([view_matrices(indices, views, Augmentation(), seed) for seed in range(3)])
    assert len(torch.unique(found.flatten(1), dim=0)) == len(found)


def test_indices_and_views_of_different_number_are_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        view_matrices([1, 2], [1], Augmentation())


# Ranges


def test_nothing_to_vary_gives_the_identity():
    assert np.array_equal(matrices(only()), np.tile(np.eye(2, 3), (len(MANY), 1, 1)))


def test_rotation_only_rotates_within_its_degrees():
    found = matrices(only(rotation=10))
    linear = found[:, :, :2]
    assert np.allclose(linear @ linear.transpose(0, 2, 1), np.eye(2), atol=1e-6)
    assert np.allclose(np.linalg.det(linear), 1, atol=1e-6)
    assert np.all(found[:, :, 2] == 0)
    angles = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert np.abs(angles).max() <= 10 + 1e-4
    assert angles.min() < -9 < 9 < angles.max()
    assert abs(angles.mean()) < 1


def test_shift_only_shifts_within_its_fraction_each_axis_on_its_own():
    found = matrices(only(shift=0.1))
    assert np.array_equal(found[:, :, :2], np.tile(np.eye(2), (len(MANY), 1, 1)))
    # The image spans -1 to 1, so a tenth of it is 0.2.
    shifts = found[:, :, 2]
    assert np.abs(shifts).max() <= 0.2 + 1e-6
    assert np.all(shifts.min(0) < -0.18)
    assert np.all(shifts.max(0) > 0.18)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.2


def test_zoom_only_zooms_within_its_fraction_each_axis_on_its_own():
    found = matrices(only(zoom=0.1))
    assert np.all(found[:, [0, 1], [1, 0]] == 0)
    assert np.all(found[:, :, 2] == 0)
    zooms = found[:, [0, 1], [0, 1]]
    assert 0.9 - 1e-6 <= zooms.min() < 0.92
    assert 1.08 < zooms.max() <= 1.1 + 1e-6
    assert abs(np.corrcoef(zooms.T)[0, 1]) < 0.2


def test_shear_only_shears_within_its_degrees():
    found = matrices(only(shear=20))
    assert np.all(found[:, :, 2] == 0)
    assert np.all(found[:, 0, 0] == 1)
    assert np.all(found[:, 1, 0] == 0)
    shears = np.degrees(np.arcsin(-found[:, 0, 1]))
    assert np.abs(shears).max() <= 20 + 1e-3
    assert shears.min() < -18 < 18 < shears.max()


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0, 0, 0), (0.5, 160, 240), (1, 400, 400)]
)
def test_flip_only_flips_as_often_as_it_says(probability, low, high):
    found = matrices(only(flip=probability))
    flipped = np.array([[-1.0, 0, 0], [0, 1, 0]])
    is_flipped = np.all(found == flipped, axis=(1, 2))
    assert np.all(found[~is_flipped] == np.eye(2, 3))
    assert low <= is_flipped.sum() <= high


def test_all_at_once_keeps_most_of_the_image_in_sight():
    linear = matrices(Augmentation())[:, :, :2]
    scales = np.linalg.svd(linear, compute_uv=False)
    assert scales.min() > 0.89
    assert scales.max() < 1.11


@pytest.mark.parametrize("name", ["rotation", "shift", "zoom", "shear", "flip"])
def test_a_negative_range_is_refused_by_name(name):
    with pytest.raises(FashionTransferError, match=f"data.augmentation.{name} is -0.1"):
        Augmentation(**{name: -0.1})


@pytest.mark.parametrize(("name", "value"), [("flip", 1.1), ("zoom", 1.0), ("zoom", 3)])
def test_a_range_too_wide_is_refused_by_name(name, value):
    with pytest.raises(FashionTransferError, match=f"data.augmentation.{name} is {value}"):
        Augmentation(**{name: value})


# Rendering


@pytest.mark.parametrize("size", [28, 32, 64, 113, 20])
def test_clean_images_equal_pillows_bilinear_resize(images, size):
    found = render(images, size)
    assert found.shape == (5, 1, size, size)
    assert found.dtype == torch.float32
    for image, mine in zip(images.numpy(), found[:, 0], strict=True):
        theirs = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        # Pillow rounds to whole steps.
        assert np.abs(mine.numpy() * 255 - np.asarray(theirs)).max() < 1.001


def test_clean_images_at_their_own_size_are_untouched(images):
    assert torch.allclose(render(images, 28)[:, 0], images / 255, atol=1e-6)


def test_values_stay_between_0_and_1(images):
    views = view_matrices(range(5), [1] * 5, Augmentation())
    for found in (render(images, 64), render(images, 20), render(images, 64, views)):
        assert 0 <= found.min() < found.max() <= 1 + 1e-6


@pytest.mark.parametrize("size", [28, 32, 64, 224])
def test_the_identity_view_equals_the_clean_image(images, size):
    identity = view_matrices(range(5), [0] * 5, Augmentation())
    assert torch.allclose(render(images, size, identity), render(images, size), atol=1e-5)


def test_an_image_is_rendered_the_same_in_any_batch(images):
    views = view_matrices(range(5), [1] * 5, Augmentation())
    together, clean = render(images, 32, views), render(images, 32)
    for place in range(5):
        part = slice(place, place + 1)
        assert torch.equal(render(images[part], 32, views[part])[0], together[place])
        assert torch.equal(render(images[part], 32)[0], clean[place])


def test_a_flipped_view_is_the_mirrored_image(images):
    flipped = view_matrices(range(5), [1] * 5, only(flip=1))
    assert torch.allclose(render(images, 32, flipped), render(images, 32).flip(-1), atol=1e-5)


def test_what_comes_in_from_outside_repeats_the_edge():
    image = torch.zeros(1, 28, 28, dtype=torch.uint8)
    image[:, :, -1] = 255
    right = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    found = render(image, 28, right)[0, 0]
    assert torch.all(found[:, 21:] == 1)
    assert torch.all(found[:, :20] == 0)


def test_colour_images_keep_their_channels(images):
    colour = images[:3].unsqueeze(0).contiguous()
    found = render(colour, 32)
    assert found.shape == (1, 3, 32, 32)
    assert torch.equal(found[0, 1], render(images[1:2], 32)[0, 0])


def test_images_need_not_be_square():
    wide = torch.arange(200, dtype=torch.uint8).reshape(1, 1, 10, 20)
    assert render(wide, 32).shape == (1, 1, 32, 32)


# Framing


def shown(top: int, left: int, height: int, width: int, size=(100, 80), channels: int = 1):
    """A block of 200 on black, (C, h, w)."""
    image = torch.zeros(channels, *size, dtype=torch.uint8)
    image[:, top : top + height, left : left + width] = 200
    return image


@pytest.mark.parametrize(
    "block", [(0, 0, 100, 80), (5, 40, 90, 2), (0, 39, 100, 1), (5, 0, 90, 80)]
)
def test_an_image_that_is_filled_in_one_direction_stays_as_it_is(block):
    image = shown(*block)
    assert frame(image) is image


def test_what_fills_nine_tenths_of_the_longer_side_is_enough():
    assert frame(shown(5, 5, 90, 10)).shape == (1, 100, 80)
    assert frame(shown(5, 5, 89, 10)).shape == (1, 89 + 6, 89 + 6)
    assert frame(shown(0, 0, 10, 80)).shape == (1, 80 + 6, 80 + 6)


@pytest.mark.parametrize("block", [(30, 20, 40, 10), (0, 0, 10, 40), (60, 40, 40, 40)])
def test_what_is_small_comes_to_the_middle_of_a_square_with_a_narrow_margin(block):
    found = frame(shown(*block))
    side = 40 + round(0.07 * 40)
    assert found.shape == (1, side, side)
    assert found.dtype == torch.uint8
    rows, columns = (found[0] > 0).any(1).nonzero(), (found[0] > 0).any(0).nonzero()
    for places, length in ((rows, block[2]), (columns, block[3])):
        assert len(places) == length
        before, after = int(places[0]), side - 1 - int(places[-1])
        assert abs(before - after) <= 1
    assert int((found == 200).sum()) == block[2] * block[3]


@pytest.mark.parametrize("corner", [(0, 0), (0, 75), (95, 0), (95, 75)])
def test_what_lies_in_a_corner_has_a_black_margin_too(corner):
    found = frame(shown(*corner, 5, 5))
    assert found.shape == (1, 5, 5)  # of five pixels, a margin is none
    assert (found == 200).all()
    tall = frame(shown(*corner, 5, 1))
    assert tall.shape == (1, 5, 5)
    assert (tall[0, :, 2] == 200).all()
    assert int((tall > 0).sum()) == 5


def test_where_it_lies_changes_nothing():
    generator = np.random.default_rng(0)
    item = torch.from_numpy(generator.integers(26, 256, (30, 20), dtype=np.uint8))
    found = []
    for top, left in ((0, 0), (33, 51), (70, 60)):
        image = torch.zeros(1, 100, 80, dtype=torch.uint8)
        image[0, top : top + 30, left : left + 20] = item
        found.append(frame(image))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_framing_twice_is_framing_once():
    once = frame(shown(10, 20, 30, 20))
    assert frame(once) is once


@pytest.mark.parametrize("value", [0, 1, 25])
def test_ground_alone_stays_as_it_is(value):
    image = torch.full((1, 20, 30), value, dtype=torch.uint8)
    assert frame(image) is image


def test_dim_ground_beside_the_item_stays_and_counts_as_ground():
    image = shown(40, 30, 20, 20)
    image[image == 0] = 25
    found = frame(image)
    assert found.shape == (1, 21, 21)
    assert set(found.unique().tolist()) == {25, 200}
    image[0, 0, 30:50] = 26
    assert frame(image).shape == (1, 64, 64)


def test_colours_are_framed_together_and_any_of_them_shows_something():
    image = torch.zeros(3, 60, 60, dtype=torch.uint8)
    image[0, 10:20, 10:20] = 255
    image[2, 20:40, 20:30] = 90
    found = frame(image)
    assert found.shape == (3, 32, 32)
    assert [int((channel > 0).sum()) for channel in found] == [100, 0, 200]


def turned(degrees: float, height: int = 60, width: int = 20, size: int = 160) -> Tensor:
    """A bar with a bright head, turned about the middle of a black image."""
    y, x = torch.meshgrid(*[torch.arange(size) + 0.5 - size / 2] * 2, indexing="ij")
    angle = math.radians(degrees)
    along = x * math.cos(angle) + y * math.sin(angle)
    down = y * math.cos(angle) - x * math.sin(angle)
    bar = (along.abs() < width / 2) & (down.abs() < height / 2)
    head = bar & (down < -height / 4)
    return (bar * 100 + head * 100).byte().unsqueeze(0)


@pytest.mark.parametrize("degrees", [-44, -25, -12, 12, 30, 42])
def test_what_lies_aslant_is_turned_upright(degrees):
    upright, found = frame(turned(0)), frame(turned(degrees))
    assert abs(found.shape[1] - upright.shape[1]) <= 4  # angles are tried in steps of 3 degrees
    resized = render(found.unsqueeze(0), upright.shape[1])
    different = (resized - render(upright.unsqueeze(0), upright.shape[1])).abs() > 0.2
    assert different.float().mean() < 0.06
    rows = (found[0] > 25).any(1).nonzero().flatten()
    assert abs(int(rows[0]) - (found.shape[1] - 1 - int(rows[-1]))) <= 2


@pytest.mark.parametrize("degrees", [-2, 1])
def test_what_is_all_but_upright_stays_pixel_for_pixel(degrees):
    image = turned(degrees)
    found = frame(image)
    inside = image[0][(image[0] > 25).any(1)][:, (image[0] > 25).any(0)]
    assert torch.equal(found[0][found[0] > 25], inside[inside > 25])


def test_colours_are_turned_together():
    grey = turned(30)
    assert torch.equal(frame(grey.expand(3, -1, -1)), frame(grey).expand(3, -1, -1))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (3, 2)])
def test_a_few_pixels_are_framed_without_complaint(height, width):
    assert frame(shown(50, 30, height, width)).shape[1] >= max(height, width)


@pytest.mark.real_data
def test_nearly_all_official_images_stay_as_they_are(real_data):
    images = torch.from_numpy(load_split(real_data, train=False).images[:2000]).unsqueeze(1)
    assert sum(frame(image) is not image for image in images) <= 10
