"""The one way from a decoded image to what the backbone sees, wherever it comes from.

Training, evaluation, prediction and notebook all call the same object; the checkpoint names it.
Needs no torch. Resizing to the backbone's input comes after it (`augmentation.render`).
"""

from typing import NamedTuple, Protocol

import numpy as np

from fashion_transfer.data.alignment import (
    align_foreground,
    is_on_black,
    is_on_white,
    is_small_and_grey,
    without_black_bars,
)
from fashion_transfer.data.cutout import cut_out
from fashion_transfer.data.product_picture import (
    as_fashion_mnist,
    items_by_corner_colour,
    items_on_plain_ground,
    on_white,
    resize,
)
from fashion_transfer.errors import ArgumentError

PAD = (124, 116, 104)
"""Colour of what is added to a photo: ImageNet's mean, which the backbone takes for nothing."""

PHOTO_SIZE = 640
"""Longest side of a picture whose items are looked for, pixels."""

TOLERANCE = 12
"""Difference of a pixel from a plain border's colour, per channel, that compression explains."""

AS_IT_IS, PLAIN_GROUND, CUT_OUT = "as it is", "plain ground", "cut out"
"""Treatments of an image, as users read them."""


class Prepared(NamedTuple):
    """A prepared image.

    Attributes:
        pixels: uint8, (C, h, w), what the backbone is to see.
        treatment: `AS_IT_IS`, `PLAIN_GROUND` or `CUT_OUT`.
        colour: the items in colour on white, uint8, (3, s, s); None if the image is as it was.
    """

    pixels: np.ndarray
    treatment: str = AS_IT_IS
    colour: np.ndarray | None = None


class Preparation(Protocol):
    """Turns a decoded image into what the backbone is to see, at any size.

    Attributes:
        name: in `PREPARATIONS` and in checkpoints.
        version: raised with every change of its output for images as data sets hold them; part of
            the key of cached features.
    """

    name: str
    version: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """The prepared image, uint8, (C', h', w'), of an image, uint8, (C, h, w)."""

    def prepare(self, image: np.ndarray) -> Prepared:
        """The same with what was done to it."""


class FashionMNISTPreparation:
    """Shows a picture as Fashion-MNIST shows its items: one item on black, grey.

    - An item on black, as in Fashion-MNIST and in composites, is aligned, and stays as it is where
      it reaches from edge to edge already (`alignment`).
    - A picture of an item on another plain ground gets the treatment that Fashion-MNIST's makers
      gave theirs (`product_picture`).
    - From any other picture the items are cut out first (`cutout`), unless it is small and grey, as
      out-of-distribution images are: these stay as they are.
    """

    name = "fashion_mnist"
    version = 3

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """As `Preparation`; the result is square, or the image itself."""
        return self.prepare(image).pixels

    def prepare(self, image: np.ndarray) -> Prepared:
        """As `Preparation`."""
        image = without_black_bars(image)
        if is_on_black(image):
            return Prepared(align_foreground(image))
        picture = resize(np.broadcast_to(image, (3, *image.shape[1:])), PHOTO_SIZE)
        items, treatment = _locate_items(picture, image)
        if items is None:
            return Prepared(align_foreground(image))
        colour = pad_to_square(on_white(picture, items), (255, 255, 255))
        return Prepared(as_fashion_mnist(picture, items), treatment, colour)


class PhotoPreparation:
    """Shows a photo whole and undistorted: plain borders cropped, padded to a square, in colour."""

    name = "photo"
    version = 2

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """As `Preparation`; the result is square, and grey images get three equal channels."""
        colour = image if len(image) == 3 else np.repeat(image[:1], 3, axis=0)
        return pad_to_square(crop_plain_borders(colour))

    def prepare(self, image: np.ndarray) -> Prepared:
        """As `Preparation`."""
        return Prepared(self(image))


PREPARATIONS: dict[str, Preparation] = {
    preparation.name: preparation for preparation in (FashionMNISTPreparation(), PhotoPreparation())
}
"""Every preparation by the name that data sets and checkpoints use."""


def get_preparation(name: str) -> Preparation:
    """The preparation of a name in `PREPARATIONS`.

    Raises:
        ArgumentError: there is none of that name.
    """
    if name not in PREPARATIONS:
        raise ArgumentError(
            "preparation", f"must be one of {', '.join(PREPARATIONS)}, got {name!r}"
        )
    return PREPARATIONS[name]


def _locate_items(picture: np.ndarray, image: np.ndarray) -> tuple[np.ndarray | None, str]:
    """The pixels of a picture's items, bool, (h, w), and its treatment; None: it stays as it is.

    Args:
        picture: uint8, (3, h, w), not on black.
        image: the same, uint8, (C, h', w'), at its own size.
    """
    items = items_on_plain_ground(picture)
    if items is not None:
        return items, PLAIN_GROUND
    if is_small_and_grey(image):  # no photo, and on so few pixels the net finds nothing
        return (items_by_corner_colour(picture), PLAIN_GROUND) if is_on_white(image) else (None, "")
    items = cut_out(picture)
    if items is not None:
        return items, CUT_OUT
    return items_by_corner_colour(picture), PLAIN_GROUND


def crop_plain_borders(image: np.ndarray) -> np.ndarray:
    """Crops borders of one colour, such as the bars of a screenshot or the ground of a collage.

    Args:
        image: uint8, (C, h, w).

    Returns:
        uint8, a view of the image; all of it if it is plain from edge to edge.
    """
    height, width = image.shape[1:]
    top, bottom = _plain_lines(image), height - _plain_lines(image[:, ::-1])
    if top >= bottom:
        return image
    sideways = image[:, top:bottom].swapaxes(1, 2)
    left, right = _plain_lines(sideways), width - _plain_lines(sideways[:, ::-1])
    return image[:, top:bottom, left:right]


def pad_to_square(image: np.ndarray, colour: tuple[int, int, int] = PAD) -> np.ndarray:
    """Centres an image, uint8, (C, h, w), on a square of a colour, (C, s, s), s = max(h, w).

    Without it, resizing to the backbone's square input would stretch the image.
    """
    height, width = image.shape[1:]
    side = max(height, width)
    if height == width:
        return image
    square = np.empty((len(image), side, side), np.uint8)
    square[:] = np.array(colour, np.uint8)[: len(image), None, None]
    top, left = (side - height) // 2, (side - width) // 2
    square[:, top : top + height, left : left + width] = image
    return square


def _plain_lines(image: np.ndarray) -> int:
    """Number of lines, from the first on, whose pixels all have the colour of the first line."""
    colour = np.median(image[:, 0], axis=1).astype(np.int16)[:, None]
    count, lines = 0, 1
    while count < image.shape[1]:  # most photos have no border: look at one line, then at more
        block = image[:, count : count + lines].astype(np.int16)
        plain = (np.abs(block - colour[:, None]) <= TOLERANCE).all(axis=(0, 2))
        if not plain.all():
            return count + int(plain.argmin())
        count, lines = count + len(plain), 2 * lines
    return count
