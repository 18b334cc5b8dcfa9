"""Out-of-distribution images: they show no item of the training set's classes.

Only for evaluation: they measure whether the classifier warns about what it was not trained on
(the protocol of Hendrycks & Gimpel 2017, "A baseline for detecting misclassified and
out-of-distribution examples in neural networks"). Image i of a set is a pure function of
(name, seed, i), and of the images to shuffle.
"""

from collections.abc import Callable, Sequence
from functools import cache
from zlib import crc32

import numpy as np
from PIL import Image

from fashion_transfer.errors import ArgumentError

VERSION = 1
"""Raised with every change of pixels; part of the fingerprint of a set."""

SIZE = 28
"""Height and width of the images, pixels; those of shuffled patches are as large as the source."""

GRID = 4
"""Patches per side of an image whose patches are shuffled."""

DIGIT = 20
"""Height and width of the box of a digit in MNIST, pixels."""

SCALES = (3, 5, 7, 10, 14)
"""Independent values per side of smooth noise, one of these."""

CROPS = (28, 112)
"""Minimum and maximum side of a texture in its photo, pixels."""

MIN_DETAIL = 12.0
"""Minimum mean gradient, grey levels per pixel, in each quarter of a texture."""

ATTEMPTS = 100
"""Crops tried for a texture with enough detail; if none has, the last is taken."""

Source = np.ndarray | None
"""Images to shuffle: uint8, (M, h, h)."""


def ood_images(
    name: str,
    numbers: int | Sequence[int] | np.ndarray,
    seed: int = 0,
    images: Source = None,
) -> np.ndarray:
    """Returns images of an out-of-distribution set: uint8, (N, 28, 28).

    The sets in `OUT_OF_DISTRIBUTION`:

    - noise: uniform, normal, smooth on five scales, or salt and pepper, equally likely.
    - digits: handwritten digits, white on black (UCI, 1,797 images, in scikit-learn's
      `load_digits`), enlarged from 8 x 8 to 20 x 20 and centred by mass, as in MNIST. No digit
      repeats before all have occurred.
    - textures: grey square crops of two photos (scikit-learn's `load_sample_images`), with detail
      in every quarter.
    - shuffled_patches: images cut into 4 x 4 patches, in random order. No image repeats before all
      have occurred. Up to three pixels at the right and lower edges are cut off.

    Args:
        name: one of `OUT_OF_DISTRIBUTION`.
        numbers: (N,), numbers of the images, from 0; an integer N stands for the first N. An image
            does not depend on the other numbers.
        seed: of all draws, from 0.
        images: for `shuffled_patches` only: uint8, (M, h, h), h at least 4, items on black. The
            result is as large, in multiples of 4.

    Raises:
        ArgumentError: an unknown name, a negative number, count or seed, or unsuitable images.
    """
    if name not in _SETS:
        raise ArgumentError("name", f"must be one of {', '.join(_SETS)}, got {name!r}")
    if seed < 0:
        raise ArgumentError("seed", f"must be at least 0, got {seed}")
    if np.min(numbers, initial=0) < 0:
        raise ArgumentError("numbers", f"must not be negative, got {numbers!s:.60}")
    listed = np.arange(numbers) if isinstance(numbers, int) else np.asarray(numbers)
    side = _checked_side(images) if name == "shuffled_patches" else SIZE
    result = np.empty((len(listed), side, side), np.uint8)
    for place, number in enumerate(listed.tolist()):
        result[place] = _SETS[name](_generator(name, seed, number), seed, number, images)
    return result


def _checked_side(images: Source) -> int:
    """Height and width of images whose patches can be shuffled."""
    if images is None:
        raise ArgumentError("images", "must be given for shuffled_patches, got None")
    square = images.ndim == 3 and len(images) and images.shape[1] == images.shape[2]
    if images.dtype != np.uint8 or not square or images.shape[1] < GRID:
        got = f"{images.dtype} of shape {images.shape}"
        raise ArgumentError(
            "images", f"must be uint8 of shape (M, h, h), h at least {GRID}, got {got}"
        )
    return int(images.shape[1] // GRID * GRID)


def _generator(name: str, seed: int, number: int, stream: int = 0) -> np.random.Generator:
    # Counter-based (Salmon et al. 2011): image i needs no state of those before it.
    key = [seed, crc32(name.encode())]
    return np.random.Generator(np.random.Philox(counter=[0, 0, stream, number], key=key))


@cache
def _order(name: str, seed: int, length: int) -> np.ndarray:
    return _generator(name, seed, 0, stream=1).permutation(length)


def _resize(pixels: np.ndarray, side: int, resampling: Image.Resampling) -> np.ndarray:
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize((side, side), resampling))


def _to_uint8(pixels: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return rounded


def _noise(draw: np.random.Generator, seed: int, number: int, images: Source) -> np.ndarray:
    distribution = draw.integers(4)
    if distribution == 0:
        return draw.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    if distribution == 1:
        return _to_uint8(draw.normal(draw.uniform(32, 224), draw.uniform(20, 100), (SIZE, SIZE)))
    if distribution == 2:
        side = draw.choice(SCALES)
        smooth = _resize(draw.random((side, side)), SIZE, Image.Resampling.BICUBIC)
        return _to_uint8(255 * (smooth - smooth.min()) / (smooth.max() - smooth.min()))
    picture = np.full((SIZE, SIZE), draw.choice((0, 128)), np.uint8)
    grains = draw.random((SIZE, SIZE)) < draw.uniform(0.05, 0.5)
    picture[grains] = draw.choice((0, 255), int(grains.sum()))
    return picture


def _digit(draw: np.random.Generator, seed: int, number: int, images: Source) -> np.ndarray:
    digits = _digits()
    digit = digits[_order("digits", seed, len(digits))[number % len(digits)]]
    resized = _to_uint8(_resize(digit, DIGIT, Image.Resampling.BICUBIC))
    picture = np.pad(resized, (SIZE - DIGIT) // 2)
    places = np.indices(picture.shape).reshape(2, -1)
    centre = (places * picture.ravel()).sum(1) / picture.sum()
    # The box has a margin of four pixels, so no stroke leaves the picture.
    shift = np.rint((SIZE - 1) / 2 - centre).clip(-4, 4).astype(int)
    return np.roll(picture, tuple(shift.tolist()), (0, 1))


@cache
def _digits() -> np.ndarray:
    from sklearn.datasets import load_digits  # slow to import, and needed here alone

    return np.asarray(load_digits().images) * (255 / 16)


def _texture(draw: np.random.Generator, seed: int, number: int, images: Source) -> np.ndarray:
    photos = _photos()
    for _ in range(ATTEMPTS):
        photo = photos[draw.integers(len(photos))]
        side = int(CROPS[0] * (CROPS[1] / CROPS[0]) ** draw.random())
        top, left = (draw.integers(length - side + 1) for length in photo.shape)
        crop = photo[top : top + side, left : left + side]
        crop = _resize(crop, SIZE, Image.Resampling.BOX)
        gradient = np.abs(np.gradient(crop)).sum(0)
        quarters = gradient.reshape(2, SIZE // 2, 2, SIZE // 2).mean((1, 3))
        if quarters.min() >= MIN_DETAIL:
            break
    return _to_uint8(crop)


@cache
def _photos() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    return [np.asarray(Image.fromarray(photo).convert("L")) for photo in photos]


def _shuffled(draw: np.random.Generator, seed: int, number: int, images: Source) -> np.ndarray:
    assert images is not None
    item = images[_order("shuffled_patches", seed, len(images))[number % len(images)]]
    size = len(item) // GRID
    item = item[: size * GRID, : size * GRID]
    patches = item.reshape(GRID, size, GRID, size).swapaxes(1, 2).reshape(-1, size, size)
    patches = draw.permutation(patches).reshape(GRID, GRID, size, size)
    shuffled: np.ndarray = patches.swapaxes(1, 2).reshape(item.shape)
    return shuffled


_SETS: dict[str, Callable[[np.random.Generator, int, int, Source], np.ndarray]] = {
    "noise": _noise,
    "digits": _digit,
    "textures": _texture,
    "shuffled_patches": _shuffled,
}

OUT_OF_DISTRIBUTION = tuple(_SETS)
"""Names of the out-of-distribution sets. The name seeds the draws."""
