"""Near-duplicates: the same article is one, another article is not."""

import numpy as np
import pytest

from fashion_transfer.errors import ArgumentError
from fashion_transfer.evaluation.near_duplicates import SIMILAR, near_duplicates


def noise(count: int, seed: int = 0, size: tuple[int, int] = (28, 28)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, (count, *size)).astype(np.uint8)


@pytest.fixture
def images():
    return noise(12)


def test_equal_images_are_near_duplicates_wherever_they_are(images):
    others = np.concatenate([noise(5, seed=1), images[[7, 2]]])
    near, highest = near_duplicates(images, others)
    assert np.flatnonzero(near).tolist() == [2, 7]
    assert near.dtype == bool
    assert highest.dtype == np.float32
    assert highest[[2, 7]] == pytest.approx(1, abs=1e-5)
    assert highest[~near].max() < 0.5


def test_a_little_noise_and_another_brightness_hide_nothing(images):
    changed = 0.7 * images + 40 + np.random.default_rng(2).integers(-3, 4, images.shape)
    assert near_duplicates(changed.astype(np.uint8), images)[0].all()


def test_mirror_image_and_negative_are_no_near_duplicates(images):
    assert not near_duplicates(images[:, :, ::-1], images)[0].any()
    near, highest = near_duplicates(255 - images[:1], images[:1])
    assert not near.any()
    assert highest == pytest.approx([-1], abs=1e-5)


def test_similarity_is_the_correlation_of_the_pixels(images):
    others = noise(4, seed=3)
    _, highest = near_duplicates(images, others)
    flat, reference = images.reshape(12, -1).astype(float), others.reshape(4, -1).astype(float)
    expected = np.corrcoef(flat, reference)[:12, 12:].max(axis=1)
    assert highest == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("similar", "expected"), [(0.89, True), (0.99, False)])
def test_required_similarity_can_be_chosen(images, similar, expected):
    changed = images.astype(int) + np.random.default_rng(4).integers(-40, 41, images.shape)
    near, _ = near_duplicates(changed.clip(0, 255).astype(np.uint8), images, similar)
    assert (near == expected).all()


def test_images_of_one_grey_resemble_nothing(images):
    flat = np.full((2, 28, 28), 90, np.uint8)
    for pair in ((flat, images), (images, flat), (flat, flat)):
        near, highest = near_duplicates(*pair)
        assert not near.any()
        assert np.isfinite(highest).all()


@pytest.mark.parametrize("count", [0, 1, 9, 1001])
def test_any_number_of_images_is_compared(count):
    images = noise(count)
    near, highest = near_duplicates(images, noise(1001)[::-1])
    assert near.shape == highest.shape == (count,)
    assert near.all()


def test_images_may_be_of_any_size():
    images = noise(3, size=(10, 16))
    assert near_duplicates(images, images)[0].all()


@pytest.mark.parametrize("others", [noise(0), noise(2, size=(14, 56)), noise(2)[0]])
def test_no_others_or_others_of_another_size_are_rejected(images, others):
    with pytest.raises(ArgumentError, match="^others must be at least one image of"):
        near_duplicates(images, others)


def test_images_are_not_changed(images):
    before = images.copy()
    near_duplicates(images, images)
    assert np.array_equal(images, before)


@pytest.mark.real_data
def test_official_test_images_have_few_near_duplicates(real_data):
    from fashion_transfer.data.idx_files import load_pair

    training, test = load_pair(real_data, train=True), load_pair(real_data, train=False)
    near, highest = near_duplicates(test.images, training.images[:6000])
    assert highest.max() <= 1 + 1e-5
    assert near.sum() == (highest >= SIMILAR).sum() < 10
