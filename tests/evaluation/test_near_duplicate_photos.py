"""Near-duplicates of photos: copies are named, other photos are not, and few are decoded."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from fashion_transfer.evaluation import near_duplicate_photos
from fashion_transfer.evaluation.near_duplicates import READ


def photo(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A picture with coarse and fine structure."""
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def crop(image: Image.Image, left: float, top: float, right: float, low: float) -> Image.Image:
    width, height = image.size
    box = (width * left, height * top, width * (1 - right), height * (1 - low))
    return image.crop(tuple(map(round, box)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "same": lambda image: image,
    "jpeg": saved,
    "half": lambda image: image.resize((60, 45)),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "grey": lambda image: image.convert("L"),
    "cropped at one corner": lambda image: crop(image, 0.03, 0.03, 0, 0),
    "cropped all around": lambda image: crop(image, 0.03, 0.03, 0.03, 0.03),
    "all": lambda image: saved(crop(image.resize((100, 75)), 0, 0.03, 0.03, 0)),
}


def as_array(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def compare(photos, splits, components=None):
    """Near-duplicates, and how often each photo was read."""
    reads = []

    def read(positions):
        assert len(positions) <= READ
        reads.extend(positions)
        return [as_array(photos[position]) for position in positions]

    if components is None:  # all are candidates for the first one
        components = np.ones((len(photos), 3), np.float32)
    return near_duplicate_photos(components, np.array(splits), read), reads


@pytest.mark.parametrize("name", COPIES)
def test_copy_in_a_later_split_is_named(name):
    original = photo(1)
    [near], _ = compare([original, COPIES[name](original)], [0, 1])
    assert (near.position, near.other) == (1, 0)
    assert 0.88 <= near.similarity <= 1 + 1e-5
    [near], _ = compare([COPIES[name](original), original], [0, 2])  # whichever is the copy
    assert (near.position, near.other) == (1, 0)


@pytest.mark.parametrize(
    "other",
    [photo(2), photo(1).transpose(Image.Transpose.FLIP_LEFT_RIGHT), crop(photo(1), 0.2, 0, 0, 0)],
)
def test_other_photo_is_not_named_however_alike_the_features_are(other):
    assert compare([photo(1), other], [0, 1])[0] == []


def test_coarse_likeness_is_not_enough():
    # The same shape on the same ground, with other prints.
    shape = Image.fromarray(
        np.pad(np.full((50, 60, 3), 220, np.uint8), ((20, 20), (30, 30), (0, 0)))
    )
    shape = shape.filter(ImageFilter.GaussianBlur(12))
    first, second = (Image.blend(shape, photo(seed), 0.15) for seed in (1, 2))
    assert np.corrcoef(np.ravel(first), np.ravel(second))[0, 1] > 0.95
    assert compare([first, saved(second)], [0, 1])[0] == []


def test_copies_within_a_split_are_not_compared():
    near, reads = compare([photo(1), photo(1), photo(2)], [0, 0, 0])
    assert near == []
    assert reads == []


def test_only_photos_with_similar_features_are_read_and_each_once():
    photos = [photo(seed) for seed in (1, 2, 3, 1, 4, 1)]
    components = np.eye(6, dtype=np.float32)
    components[3] = components[5] = components[0]
    near, reads = compare(photos, [0, 0, 1, 1, 2, 2], components)
    assert [pair[:2] for pair in near] == [(3, 0), (5, 0)]
    assert sorted(reads) == [0, 3, 5]


def test_most_similar_pairs_come_first():
    photos = [photo(1), photo(2), crop(photo(1), 0.03, 0, 0, 0.03), photo(2)]
    components = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    near, _ = compare(photos, [0, 0, 1, 1], components)
    assert [pair[:2] for pair in near] == [(3, 1), (2, 0)]
    assert near[0].similarity > near[1].similarity


def test_plain_photos_and_zero_components_resemble_nothing():
    plain = Image.new("RGB", (40, 40), "white")
    assert compare([plain, plain], [0, 1])[0] == []
    components = np.zeros((2, 3), np.float32)
    assert compare([photo(1), photo(1)], [0, 1], components)[0] == []


def test_more_photos_than_are_read_at_once_are_compared():
    photos = [photo(seed) for seed in range(10)]
    components = np.eye(10, dtype=np.float32)
    near, _ = compare(photos * 2, [0] * 10 + [1] * 10, np.concatenate([components] * 2))
    assert sorted(pair[:2] for pair in near) == [(10 + i, i) for i in range(10)]
