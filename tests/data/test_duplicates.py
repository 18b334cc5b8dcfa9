"""Near-duplicates: the same picture is one, another picture is not."""

import numpy as np
import pytest

from fashion_transfer.data.duplicates import SIMILAR, near_duplicates


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (count, 28, 28)).astype(np.uint8)


@pytest.fixture
def images():
    return pictures(12)


def test_the_same_picture_is_found_wherever_it_is(images):
    others = np.concatenate([pictures(5, seed=1), images[[7, 2]]])
    same, highest = near_duplicates(images, others)
    assert np.flatnonzero(same).tolist() == [2, 7]
    assert same.dtype == bool
    assert highest.dtype == np.float32
    assert highest[[2, 7]] == pytest.approx(1, abs=1e-5)
    assert highest[~same].max() < 0.5


def test_a_little_noise_and_another_tint_do_not_hide_a_picture(images):
    noise = np.random.default_rng(2).integers(-3, 4, images.shape)
    changed = (0.7 * images + 40 + noise).astype(np.uint8)
    assert near_duplicates(changed, images)[0].all()


def test_a_mirror_image_or_a_negative_is_another_picture(images):
    assert not near_duplicates(images[:, :, ::-1], images)[0].any()
    same, highest = near_duplicates(255 - images[:1], images[:1])
    assert not same.any()
    assert highest == pytest.approx([-1], abs=1e-5)


def test_the_measure_is_the_pixels_correlation(images):
    others = pictures(4, seed=3)
    _, highest = near_duplicates(images, others)
    flat, known = images.reshape(12, -1).astype(float), others.reshape(4, -1).astype(float)
    assert highest == pytest.approx(np.corrcoef(flat, known)[:12, 12:].max(axis=1), abs=1e-5)


@pytest.mark.parametrize(("similar", "expected"), [(0.89, True), (0.99, False)])
def test_how_similar_two_must_be_can_be_chosen(images, similar, expected):
    changed = images.astype(int) + np.random.default_rng(4).integers(-40, 41, images.shape)
    same, _ = near_duplicates(changed.clip(0, 255).astype(np.uint8), images, similar)
    assert (same == expected).all()


def test_images_of_one_grey_equal_nothing(images):
    flat = np.full((2, 28, 28), 90, np.uint8)
    for pair in ((flat, images), (images, flat), (flat, flat)):
        same, highest = near_duplicates(*pair)
        assert not same.any()
        assert np.isfinite(highest).all()


@pytest.mark.parametrize("count", [1, 9, 1001])
def test_any_number_of_images_will_do(count):
    images = pictures(count)
    same, highest = near_duplicates(images, images[::-1])
    assert same.shape == highest.shape == (count,)
    assert same.all()


def test_the_images_are_left_as_they_are(images):
    before = images.copy()
    near_duplicates(images, images)
    assert np.array_equal(images, before)


@pytest.mark.real_data
def test_official_test_images_with_a_partner_are_few(real_data):
    from fashion_transfer.data.sources import load_split

    training, test = load_split(real_data, train=True), load_split(real_data, train=False)
    same, highest = near_duplicates(test.images, training.images[:6000])
    assert highest.max() <= 1 + 1e-5
    assert same.sum() == (highest >= SIMILAR).sum() < 10
