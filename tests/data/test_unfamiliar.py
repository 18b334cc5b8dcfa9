"""Unfamiliar images: of the kind they say, repeatable, and each on its own."""

import importlib.util
import sys

import numpy as np
import pytest

from fashion_transfer.data import unfamiliar as module
from fashion_transfer.data.unfamiliar import PATCH, ROUGH, UNFAMILIAR, unfamiliar
from fashion_transfer.errors import FashionTransferError

MANY = 60
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)
every_kind = pytest.mark.parametrize("kind", UNFAMILIAR)


def made(kind: str, count: int = MANY, seed: int = 0) -> np.ndarray:
    return unfamiliar(kind, count, seed, IMAGES)


def patches(image: np.ndarray) -> list[bytes]:
    corners = np.ndindex(28 // PATCH, 28 // PATCH)
    cut = (image[PATCH * y :, PATCH * x :][:PATCH, :PATCH] for y, x in corners)
    return [patch.tobytes() for patch in cut]


def test_the_kinds():
    assert UNFAMILIAR == ("noise", "digits", "textures", "shuffled_patches")


@every_kind
def test_shape_type_and_that_there_is_something_to_see(kind):
    found = made(kind)
    assert found.shape == (MANY, 28, 28)
    assert found.dtype == np.uint8
    assert found.std((1, 2)).min() > 5
    assert len(np.unique(found, axis=0)) == MANY
    assert made(kind, 0).shape == (0, 28, 28)


@every_kind
def test_an_image_is_a_function_of_seed_and_number(kind):
    found = made(kind)
    assert np.array_equal(found[:5], made(kind, 5))
    assert not np.array_equal(found, made(kind, seed=1))


def test_images_given_are_neither_changed_nor_needed_but_to_be_shuffled():
    before = IMAGES.copy()
    made("shuffled_patches")
    assert np.array_equal(IMAGES, before)
    for kind in UNFAMILIAR[:3]:
        assert np.array_equal(unfamiliar(kind, 3), made(kind, 3))


def test_noise_is_of_several_sorts():
    found = made("noise")
    values = [len(np.unique(image)) for image in found]
    assert sum(count <= 3 for count in values) > 5  # salt and pepper
    steps = np.abs(np.diff(found.astype(float), axis=2)).mean((1, 2)) / found.std((1, 2))
    assert sum(steps < 0.7) > 5  # smooth
    assert sum((steps > 0.9) & (np.array(values) > 100)) > 5  # pixel by pixel


def test_digits_are_white_on_black_in_the_middle():
    found = made("digits").astype(float)
    assert found.max((1, 2)).min() > 200
    border = np.ones((28, 28), bool)
    border[1:-1, 1:-1] = False
    assert found[:, border].mean() < 5
    for axis in (1, 2):
        mass = found.sum(axis)
        centre = (mass * np.arange(28)).sum(1) / mass.sum(1)
        assert np.abs(centre - 13.5).max() <= 0.6


def test_no_digit_comes_again_before_all_have_come(monkeypatch):
    monkeypatch.setattr(module, "_handwriting", lambda: module_digits)
    module_digits = np.random.default_rng(0).uniform(0, 255, (5, 8, 8))
    found = made("digits", 10)
    assert len(np.unique(found[:5], axis=0)) == 5
    assert np.array_equal(found[:5], found[5:])


def test_textures_have_detail_in_every_quarter():
    steps = np.abs(np.gradient(made("textures").astype(float), axis=(1, 2))).sum(0)
    assert steps.reshape(MANY, 2, 14, 2, 14).mean((2, 4)).min() > ROUGH - 1  # rounded since


def test_shuffled_patches_are_the_images_own_in_another_order():
    sources = {tuple(sorted(patches(image))): number for number, image in enumerate(IMAGES)}
    found = made("shuffled_patches", 2 * len(IMAGES))
    came = [sources[tuple(sorted(patches(image)))] for image in found]
    assert sorted(came[: len(IMAGES)]) == list(range(len(IMAGES)))
    assert came[: len(IMAGES)] == came[len(IMAGES) :]
    for image, number in zip(found, came, strict=True):
        assert patches(image) != patches(IMAGES[number])
    assert not np.array_equal(found[0], found[len(IMAGES)])  # another permutation


@pytest.mark.parametrize(
    ("kind", "count", "seed", "images", "told"),
    [
        ("cats", 1, 0, None, "cats.*noise"),
        ("noise", -1, 0, None, "-1"),
        ("noise", 1, -2, None, "-2"),
        ("shuffled_patches", 1, 0, None, "missing"),
        ("shuffled_patches", 1, 0, IMAGES.astype(float), "float64"),
        ("shuffled_patches", 1, 0, IMAGES[0], r"\(28, 28\)"),
        ("shuffled_patches", 1, 0, IMAGES[:0], r"\(0, 28, 28\)"),
        ("shuffled_patches", 1, 0, IMAGES[:, :14], r"\(7, 14, 28\)"),
    ],
)
def test_what_cannot_be_made_is_refused_with_its_value(kind, count, seed, images, told):
    with pytest.raises(FashionTransferError, match=told):
        unfamiliar(kind, count, seed, images)


def test_scikit_learn_is_imported_only_where_it_is_needed(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)  # importing it fails
    spec = importlib.util.spec_from_file_location("unfamiliar_alone", module.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert len(fresh.unfamiliar("noise", 2)) == 2
    with pytest.raises(ImportError):
        fresh.unfamiliar("digits", 1)
