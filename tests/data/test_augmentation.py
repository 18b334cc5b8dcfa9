"""Views: pure functions of (view seed, row, number), within their ranges, rendered exactly."""

import numpy as np
import pytest
import torch
from PIL import Image

from fashion_transfer.data import Augmentation, render, view_matrices
from fashion_transfer.errors import ArgumentError

NONE = {"rotation": 0, "shift": 0, "zoom": 0, "shear": 0, "flip": 0}
KERAS = Augmentation(rotation=10, shift=0.1, zoom=0.1, shear=0.1, flip=0.5)
MANY = np.arange(400)
WRITTEN_DOWN = [
    [[1.034818, -0.104153, 0.092437], [0.113643, 0.948916, 0.079224]],
    [[1.044025, 0.099074, 0.033977], [-0.11113, 0.926444, -0.197025]],
]


def only(**ranges) -> Augmentation:
    return Augmentation(**(NONE | ranges))


def matrices(augmentation: Augmentation, rows=MANY, view: int = 1) -> np.ndarray:
    return view_matrices(rows, np.full(len(rows), view), augmentation).double().numpy()


@pytest.fixture
def images():
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.integers(0, 256, (5, 1, 28, 28), dtype=np.uint8))


# Pure functions


def test_view_0_is_the_identity_under_any_augmentation():
    identity = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    strong = Augmentation(rotation=90, shift=0.5, zoom=0.5, shear=45, flip=1)
    clean = view_matrices(MANY, np.zeros(len(MANY), int), strong, view_seed=9)
    assert torch.equal(clean, identity.expand(len(MANY), 2, 3))


def test_views_are_float32_maps_and_repeat_exactly():
    one, again = (view_matrices([3, 4], [1, 2], KERAS, 5) for _ in range(2))
    assert one.shape == (2, 2, 3)
    assert one.dtype == torch.float32
    assert torch.equal(one, again)


def test_a_view_does_not_depend_on_its_batch_or_order():
    views = np.arange(len(MANY)) % 4
    together = view_matrices(MANY, views, KERAS)
    order = np.random.default_rng(0).permutation(len(MANY))
    assert torch.equal(view_matrices(MANY[order], views[order], KERAS), together[order])
    for place in (0, 1, 2, 3, 399):
        alone = view_matrices([place], [views[place]], KERAS)
        assert torch.equal(alone[0], together[place])


def test_a_view_ignores_the_state_of_other_random_generators():
    before = view_matrices([7], [3], KERAS)
    torch.manual_seed(1)
    torch.rand(10)
    assert torch.equal(view_matrices([7], [3], KERAS), before)


def test_a_view_is_the_same_on_every_machine():
    # Written down once: a change of these numbers makes every cached feature of a view worthless.
    views = view_matrices([0, 59_999], [1, 2], KERAS, view_seed=0)
    assert torch.allclose(views, torch.tensor(WRITTEN_DOWN), atol=1e-6)


@pytest.mark.parametrize(
    ("row", "view", "seed"), [(8, 3, 5), (7, 4, 5), (7, 3, 6), (3, 7, 5), (7, 5, 3), (5, 3, 7)]
)
def test_a_view_changes_with_row_number_and_seed(row, view, seed):
    original = view_matrices([7], [3], KERAS, 5)
    assert not torch.allclose(view_matrices([row], [view], KERAS, seed), original)


def test_no_two_views_of_many_are_equal():
    rows, views = np.repeat(np.arange(50), 8), np.tile(np.arange(1, 9), 50)
    drawn = torch.cat([view_matrices(rows, views, KERAS, seed) for seed in range(3)])
    assert len(torch.unique(drawn.flatten(1), dim=0)) == len(drawn)


def test_rows_and_views_of_different_number_are_a_mistake():
    with pytest.raises(ValueError, match="zip"):
        view_matrices([1, 2], [1], KERAS)


# Ranges


def test_the_default_is_the_mirror_image_alone():
    mirror = np.array([[-1.0, 0, 0], [0, 1, 0]])
    assert np.array_equal(matrices(Augmentation()), np.tile(mirror, (len(MANY), 1, 1)))


def test_no_range_gives_the_identity():
    assert np.array_equal(matrices(only()), np.tile(np.eye(2, 3), (len(MANY), 1, 1)))


def test_rotation_only_rotates_within_its_degrees():
    maps = matrices(only(rotation=10))
    linear = maps[:, :, :2]
    assert np.allclose(linear @ linear.transpose(0, 2, 1), np.eye(2), atol=1e-6)
    assert np.allclose(np.linalg.det(linear), 1, atol=1e-6)
    assert np.all(maps[:, :, 2] == 0)
    angles = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert np.abs(angles).max() <= 10 + 1e-4
    assert angles.min() < -9 < 9 < angles.max()
    assert abs(angles.mean()) < 1


def test_shift_only_shifts_within_its_fraction_each_axis_on_its_own():
    maps = matrices(only(shift=0.1))
    assert np.array_equal(maps[:, :, :2], np.tile(np.eye(2), (len(MANY), 1, 1)))
    # The image spans -1 to 1, so a tenth of it is 0.2.
    shifts = maps[:, :, 2]
    assert np.abs(shifts).max() <= 0.2 + 1e-6
    assert np.all(shifts.min(0) < -0.18)
    assert np.all(shifts.max(0) > 0.18)
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.2


def test_zoom_only_zooms_within_its_fraction_each_axis_on_its_own():
    maps = matrices(only(zoom=0.1))
    assert np.all(maps[:, [0, 1], [1, 0]] == 0)
    assert np.all(maps[:, :, 2] == 0)
    zooms = maps[:, [0, 1], [0, 1]]
    assert 0.9 - 1e-6 <= zooms.min() < 0.92
    assert 1.08 < zooms.max() <= 1.1 + 1e-6
    assert abs(np.corrcoef(zooms.T)[0, 1]) < 0.2


def test_shear_only_shears_within_its_degrees():
    maps = matrices(only(shear=20))
    assert np.all(maps[:, :, 2] == 0)
    assert np.all(maps[:, 0, 0] == 1)
    assert np.all(maps[:, 1, 0] == 0)
    shears = np.degrees(np.arcsin(-maps[:, 0, 1]))
    assert np.abs(shears).max() <= 20 + 1e-3
    assert shears.min() < -18 < 18 < shears.max()


@pytest.mark.parametrize(
    ("probability", "low", "high"), [(0, 0, 0), (0.5, 160, 240), (1, 400, 400)]
)
def test_flip_only_flips_with_its_probability(probability, low, high):
    maps = matrices(only(flip=probability))
    mirror = np.array([[-1.0, 0, 0], [0, 1, 0]])
    flipped = np.all(maps == mirror, axis=(1, 2))
    assert np.all(maps[~flipped] == np.eye(2, 3))
    assert low <= flipped.sum() <= high


def test_all_ranges_together_leave_most_of_the_image_in_sight():
    linear = matrices(KERAS)[:, :, :2]
    scales = np.linalg.svd(linear, compute_uv=False)
    assert scales.min() > 0.89
    assert scales.max() < 1.11


def test_whole_numbers_and_fractions_are_the_same_augmentation():
    assert only(rotation=10) == only(rotation=10.0)
    assert type(only(rotation=10).rotation) is float


@pytest.mark.parametrize("name", ["rotation", "shift", "zoom", "shear", "flip"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "much", None, [1]])
def test_impossible_range_is_rejected_by_name(name, value):
    with pytest.raises(ArgumentError, match=f"^{name} must .*, got") as caught:
        Augmentation(**{name: value})
    assert caught.value.name == name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("flip", 1.1), ("zoom", 1), ("zoom", 2.5)])
def test_too_wide_a_range_is_rejected_by_name(name, value):
    with pytest.raises(ArgumentError, match=f"^{name} must .*, got {value}$"):
        Augmentation(**{name: value})


# Rendering


@pytest.mark.parametrize("size", [28, 32, 64, 113, 20])
def test_clean_images_equal_pillows_bilinear_resize(images, size):
    rendered = render(images, size)
    assert rendered.shape == (5, 1, size, size)
    assert rendered.dtype == torch.float32
    for image, ours in zip(images[:, 0].numpy(), rendered[:, 0], strict=True):
        theirs = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
        # Pillow rounds to whole steps.
        assert np.abs(ours.numpy() * 255 - np.asarray(theirs)).max() < 1.001


def test_clean_images_at_their_own_size_are_unchanged(images):
    assert torch.allclose(render(images, 28), images / 255, atol=1e-6)


def test_values_stay_between_0_and_1(images):
    views = view_matrices(range(5), [1] * 5, KERAS)
    for rendered in (render(images, 64), render(images, 20), render(images, 64, views)):
        assert 0 <= rendered.min() < rendered.max() <= 1 + 1e-6


@pytest.mark.parametrize("size", [28, 32, 64, 224])
def test_identity_view_equals_the_clean_image(images, size):
    identity = view_matrices(range(5), [0] * 5, KERAS)
    assert torch.allclose(render(images, size, identity), render(images, size), atol=1e-5)


def test_an_image_is_rendered_the_same_in_any_batch(images):
    views = view_matrices(range(5), [1] * 5, KERAS)
    together, clean = render(images, 32, views), render(images, 32)
    for place in range(5):
        part = slice(place, place + 1)
        assert torch.equal(render(images[part], 32, views[part])[0], together[place])
        assert torch.equal(render(images[part], 32)[0], clean[place])


def test_flipped_view_is_the_mirrored_image(images):
    flipped = view_matrices(range(5), [1] * 5, Augmentation())
    assert torch.allclose(render(images, 32, flipped), render(images, 32).flip(-1), atol=1e-5)


def test_pixels_from_outside_the_image_repeat_its_edge():
    image = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    image[..., -1] = 255
    shifted = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    rendered = render(image, 28, shifted)[0, 0]
    assert torch.all(rendered[:, 21:] == 1)
    assert torch.all(rendered[:, :20] == 0)


def test_colour_images_keep_their_channels(images):
    colour = images[:3, 0].unsqueeze(0).contiguous()
    rendered = render(colour, 32)
    assert rendered.shape == (1, 3, 32, 32)
    assert torch.equal(rendered[0, 1], render(images[1:2], 32)[0, 0])


def test_images_need_not_be_square():
    wide = torch.arange(200, dtype=torch.uint8).reshape(1, 1, 10, 20)
    assert render(wide, 32).shape == (1, 1, 32, 32)
