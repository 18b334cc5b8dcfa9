"""Out-of-distribution images: what their names say, repeatable, each independent of the others."""

import importlib.util
import sys

import numpy as np
import pytest

from fashion_transfer.errors import ArgumentError
from fashion_transfer.synthetic import out_of_distribution
from fashion_transfer.synthetic.out_of_distribution import (
    MIN_DETAIL,
    OUT_OF_DISTRIBUTION,
    ood_images,
)

COUNT = 60
PATCH = 7
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
every_set = pytest.mark.parametrize("name", OUT_OF_DISTRIBUTION)


def draw(name: str, numbers=COUNT, seed: int = 0) -> np.ndarray:
    return ood_images(name, numbers, seed, IMAGES)


def patches(image: np.ndarray, size: int = PATCH) -> list[bytes]:
    corners = np.ndindex(4, 4)
    cut = (image[size * y :, size * x :][:size, :size] for y, x in corners)
    return [patch.tobytes() for patch in cut]


def test_out_of_distribution_names():
    # The names seed the draws.
    assert OUT_OF_DISTRIBUTION == ("noise", "digits", "textures", "shuffled_patches")


@every_set
def test_images_differ_and_are_not_blank(name):
    images = draw(name)
    assert images.shape == (COUNT, 28, 28)
    assert images.dtype == np.uint8
    assert images.std((1, 2)).min() > 5
    assert len(np.unique(images, axis=0)) == COUNT


@every_set
def test_an_image_is_a_function_of_seed_and_number(name):
    images = draw(name)
    assert np.array_equal(images[:5], draw(name, 5))
    assert np.array_equal(images[[40, 3, 40]], draw(name, [40, 3, 40]))
    assert np.array_equal(images[7:9], draw(name, np.arange(7, 9)))
    assert not np.array_equal(images, draw(name, seed=1))


@every_set
def test_no_numbers_give_no_images(name):
    for numbers in (0, [], range(0)):
        assert draw(name, numbers).shape == (0, 28, 28)


def test_images_given_are_not_changed_and_needed_only_to_be_shuffled():
    before = IMAGES.copy()
    draw("shuffled_patches")
    assert np.array_equal(IMAGES, before)
    for name in OUT_OF_DISTRIBUTION[:3]:
        assert np.array_equal(ood_images(name, 3), draw(name, 3))


def test_noise_has_different_distributions():
    images = draw("noise")
    values = [len(np.unique(image)) for image in images]
    assert sum(count <= 3 for count in values) > 5  # salt and pepper
    steps = np.abs(np.diff(images.astype(float), axis=2)).mean((1, 2)) / images.std((1, 2))
    assert sum(steps < 0.7) > 5  # smooth
    assert sum((steps > 0.9) & (np.array(values) > 100)) > 5  # pixel by pixel


def test_digits_are_white_on_black_and_centred():
    images = draw("digits").astype(float)
    assert images.max((1, 2)).min() > 200
    border = np.ones((28, 28), bool)
    border[1:-1, 1:-1] = False
    assert images[:, border].mean() < 5
    for axis in (1, 2):
        mass = images.sum(axis)
        centre = (mass * np.arange(28)).sum(1) / mass.sum(1)
        assert np.abs(centre - 13.5).max() <= 0.6


def test_no_digit_repeats_before_all_have_occurred(monkeypatch):
    digits = np.random.default_rng(0).uniform(0, 255, (5, 8, 8))
    monkeypatch.setattr(out_of_distribution, "_digits", lambda: digits)
    images = draw("digits", 10)
    assert len(np.unique(images[:5], axis=0)) == 5
    assert np.array_equal(images[:5], images[5:])


def test_textures_have_detail_in_every_quarter():
    gradient = np.abs(np.gradient(draw("textures").astype(float), axis=(1, 2))).sum(0)
    quarters = gradient.reshape(COUNT, 2, 14, 2, 14).mean((2, 4))
    assert quarters.min() > MIN_DETAIL - 1  # rounded since


def test_shuffled_patches_are_the_patches_of_an_image_in_another_order():
    sources = {tuple(sorted(patches(image))): number for number, image in enumerate(IMAGES)}
    images = draw("shuffled_patches", 2 * len(IMAGES))
    order = [sources[tuple(sorted(patches(image)))] for image in images]
    assert sorted(order[: len(IMAGES)]) == list(range(len(IMAGES)))
    assert order[: len(IMAGES)] == order[len(IMAGES) :]
    for image, number in zip(images, order, strict=True):
        assert patches(image) != patches(IMAGES[number])
    assert not np.array_equal(images[0], images[len(IMAGES)])  # another permutation


def test_shuffled_patches_are_as_large_as_their_source():
    larger = np.arange(64 * 64, dtype=np.uint8).reshape(1, 64, 64)
    shuffled = ood_images("shuffled_patches", 1, images=larger)
    assert shuffled.shape == (1, 64, 64)
    assert sorted(patches(shuffled[0], 16)) == sorted(patches(larger[0], 16))


@pytest.mark.parametrize("side", [4, 27, 30, 31])
def test_shuffled_patches_of_other_sizes_are_cut_to_a_multiple_of_four(side):
    whole = side - side % 4
    images = np.random.default_rng(0).integers(0, 256, (2, side, side), dtype=np.uint8)
    shuffled = ood_images("shuffled_patches", 2, images=images)
    assert shuffled.shape == (2, whole, whole)
    cut = images[:, :whole, :whole]
    assert np.array_equal(shuffled, ood_images("shuffled_patches", 2, images=cut))


@pytest.mark.parametrize(
    ("name", "numbers", "seed", "images", "message"),
    [
        ("cats", 1, 0, None, "^name must be one of noise, digits, .*, got 'cats'$"),
        ("noise", -1, 0, None, "^numbers must not be negative, got -1$"),
        ("noise", [3, -1], 0, None, r"^numbers must not be negative, got \[3, -1\]$"),
        ("noise", 1, -2, None, "^seed must be at least 0, got -2$"),
        ("shuffled_patches", 1, 0, None, "^images must be given for shuffled_patches, got None$"),
        ("shuffled_patches", 1, 0, IMAGES.astype(float), "got float64"),
        ("shuffled_patches", 1, 0, IMAGES[0], r"got uint8 of shape \(28, 28\)$"),
        ("shuffled_patches", 1, 0, IMAGES[:0], r"got uint8 of shape \(0, 28, 28\)$"),
        ("shuffled_patches", 1, 0, IMAGES[:, :14], r"got uint8 of shape \(7, 14, 28\)$"),
        ("shuffled_patches", 1, 0, IMAGES[:, :3, :3], r"at least 4, got .* \(7, 3, 3\)$"),
    ],
)
def test_ood_images_rejects_impossible_arguments(name, numbers, seed, images, message):
    with pytest.raises(ArgumentError, match=message):
        ood_images(name, numbers, seed, images)


def test_scikit_learn_is_imported_only_for_its_images(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)  # importing it fails
    spec = importlib.util.spec_from_file_location("fresh_copy", out_of_distribution.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert len(fresh.ood_images("noise", 2)) == 2
    with pytest.raises(ImportError):
        fresh.ood_images("digits", 1)
