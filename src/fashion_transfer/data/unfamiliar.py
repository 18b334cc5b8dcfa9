"""Images that show nothing of Fashion-MNIST, each a pure function of (kind, seed, number).

Only measured on: whether the classifier says that it does not know what it has never seen.
"""

from collections.abc import Callable
from functools import cache
from zlib import crc32

import numpy as np
from PIL import Image

from fashion_transfer.errors import FashionTransferError

SIZE = 28
PATCH = 7
DIGIT = 20  # a digit's box in MNIST
SCALES = (3, 5, 7, 10, 14)  # smooth noise has so many independent values to a side
CROPS = (28, 112)  # the least and the largest side of a texture in its photo, in pixels
ROUGH = 12.0  # the least mean step, down or across, in each quarter that makes a crop a texture
TRIES = 100  # at crops; of none that is rough enough, the last is taken

Images = np.ndarray | None


def unfamiliar(kind: str, count: int, seed: int = 0, images: Images = None) -> np.ndarray:
    """The first `count` images of a kind: uint8, (count, 28, 28).

    The kinds in `UNFAMILIAR`:

    - noise: uniform, normal, smooth on five scales, or salt and pepper, as likely as one another.
    - digits: handwriting, white on black (UCI, 1,797 images in scikit-learn's `load_digits`),
      brought from 8x8 to 20x20 and centred by its mass, as MNIST's are. None comes again before
      all have come.
    - textures: grey square crops of two photos (scikit-learn's `load_sample_images`), with detail
      in every quarter.
    - shuffled_patches: images cut in 4x4 patches of 7x7, in random order. No image comes again
      before all have come.

    Args:
        kind: one of `UNFAMILIAR`.
        count: how many. More of them change none of the first.
        seed: of all draws, from 0.
        images: uint8, (M, 28, 28), for `shuffled_patches` only: items on black.

    Raises:
        FashionTransferError: an unknown kind, a negative count or seed, or images that do not fit.
    """
    if kind not in UNFAMILIAR:
        found = f"kind is {kind!r}"
        raise FashionTransferError(f"{found}: it must be one of {', '.join(UNFAMILIAR)}")
    if count < 0 or seed < 0:
        raise FashionTransferError(f"count is {count} and seed {seed}: they must be from 0")
    if kind == "shuffled_patches" and _unfit(images):
        found = f"{images.dtype}, {images.shape}" if images is not None else "missing"
        raise FashionTransferError(f"images are {found}: {kind} needs uint8, (M, {SIZE}, {SIZE})")
    made = np.empty((count, SIZE, SIZE), np.uint8)
    for number in range(count):
        made[number] = _KINDS[kind](_generator(kind, seed, number), seed, number, images)
    return made


def _unfit(images: Images) -> bool:
    if images is None or images.dtype != np.uint8 or not len(images):
        return True
    return images.shape[1:] != (SIZE, SIZE)


def _generator(kind: str, seed: int, number: int, stream: int = 0) -> np.random.Generator:
    # Counter-based, as the draws of views are.
    key = [seed, crc32(kind.encode())]
    return np.random.Generator(np.random.Philox(counter=[0, 0, stream, number], key=key))


@cache
def _order(kind: str, seed: int, length: int) -> np.ndarray:
    return _generator(kind, seed, 0, stream=1).permutation(length)


def _resize(pixels: np.ndarray, side: int, how: Image.Resampling) -> np.ndarray:
    image = Image.fromarray(pixels.astype(np.float32))
    return np.asarray(image.resize((side, side), how))


def _bytes(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels.clip(0, 255)).astype(np.uint8)


def _noise(draw: np.random.Generator, seed: int, number: int, images: Images) -> np.ndarray:
    sort = draw.integers(4)
    if sort == 0:
        return draw.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    if sort == 1:
        return _bytes(draw.normal(draw.uniform(32, 224), draw.uniform(20, 100), (SIZE, SIZE)))
    if sort == 2:
        side = draw.choice(SCALES)
        smooth = _resize(draw.random((side, side)), SIZE, Image.Resampling.BICUBIC)
        return _bytes(255 * (smooth - smooth.min()) / (smooth.max() - smooth.min()))
    picture = np.full((SIZE, SIZE), draw.choice((0, 128)), np.uint8)
    grains = draw.random((SIZE, SIZE)) < draw.uniform(0.05, 0.5)
    picture[grains] = draw.choice((0, 255), int(grains.sum()))
    return picture


def _digit(draw: np.random.Generator, seed: int, number: int, images: Images) -> np.ndarray:
    digits = _handwriting()
    digit = digits[_order("digits", seed, len(digits))[number % len(digits)]]
    picture = np.pad(_bytes(_resize(digit, DIGIT, Image.Resampling.BICUBIC)), (SIZE - DIGIT) // 2)
    places = np.indices(picture.shape).reshape(2, -1)
    centre = (places * picture.ravel()).sum(1) / picture.sum()
    # No stroke leaves the picture: the box has a margin of four.
    shift = np.rint((SIZE - 1) / 2 - centre).clip(-4, 4).astype(int)
    return np.roll(picture, shift, (0, 1))


@cache
def _handwriting() -> np.ndarray:
    from sklearn.datasets import load_digits

    return load_digits().images * (255 / 16)


def _texture(draw: np.random.Generator, seed: int, number: int, images: Images) -> np.ndarray:
    photos = _photos()
    for _ in range(TRIES):
        photo = photos[draw.integers(len(photos))]
        side = int(CROPS[0] * (CROPS[1] / CROPS[0]) ** draw.random())
        top, left = (draw.integers(length - side + 1) for length in photo.shape)
        crop = photo[top : top + side, left : left + side]
        crop = _resize(crop, SIZE, Image.Resampling.BOX)
        steps = np.abs(np.gradient(crop)).sum(0)
        if steps.reshape(2, SIZE // 2, 2, SIZE // 2).mean((1, 3)).min() >= ROUGH:
            break
    return _bytes(crop)


@cache
def _photos() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    return [np.asarray(Image.fromarray(photo).convert("L")) for photo in photos]


def _shuffled(draw: np.random.Generator, seed: int, number: int, images: Images) -> np.ndarray:
    assert images is not None
    item = images[_order("shuffled_patches", seed, len(images))[number % len(images)]]
    side = SIZE // PATCH
    patches = item.reshape(side, PATCH, side, PATCH).swapaxes(1, 2).reshape(-1, PATCH, PATCH)
    patches = draw.permutation(patches).reshape(side, side, PATCH, PATCH)
    return patches.swapaxes(1, 2).reshape(SIZE, SIZE)


_KINDS: dict[str, Callable[[np.random.Generator, int, int, Images], np.ndarray]] = {
    "noise": _noise,
    "digits": _digit,
    "textures": _texture,
    "shuffled_patches": _shuffled,
}

UNFAMILIAR = tuple(_KINDS)
"""The kinds of images that show nothing of Fashion-MNIST."""
