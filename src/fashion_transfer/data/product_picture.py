"""The published treatment that made Fashion-MNIST of product pictures, for pictures of one's own.

Xiao et al. 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning
algorithms", section 2: trimmed to the item by the colour of the corners, longest edge scaled,
sharpened, centred, negated, grey. Needs only NumPy, SciPy and Pillow.
"""

import numpy as np
from PIL import Image, ImageFilter

SIZE, ITEM = 28, 26
"""Height and width of the result, and its item's longest edge, pixels."""

WORKING_SIZE = 256
"""Longest side on which the ground is looked for, pixels."""

RING = 0.02
"""Width of the ring along the edges whose pixels are the ground, as a fraction of the side."""

FRAME = 0.04
"""Width of what may be a frame around the ground, as a fraction of the side."""

PLAIN = 0.9
"""Fraction of the ring that has the colour of a plain ground, in light or shadow."""

TOLERANCE = 12.0
"""Difference in a channel from the ground's colour that noise and compression explain."""

SHADOW, LIGHT = 0.5, 1.08
"""How dark and how light a plain ground may be, as a multiple of its own colour."""

SOFT = 7.0
"""Grey levels from one pixel to the next that the edge of a soft shadow has at most."""

MIN_PART = 0.02
"""Parts of fewer pixels than this fraction of the largest one's are dust."""

MIN_ITEM = 0.004
"""Fraction of the picture that its items take at least."""


def items_on_plain_ground(image: np.ndarray) -> np.ndarray | None:
    """The pixels of items on a plain ground: bool, (h, w); None if the ground is not plain.

    The ground is what is connected to the edges, has their colour and, where it is in shadow, no
    sharp edge. Patches of exactly that colour inside of an item, as between its legs, are ground.

    Args:
        image: uint8, (3, h, w).
    """
    height, width = image.shape[1:]
    small = resize(image, WORKING_SIZE).astype(np.float32)
    border = _frame_width(small)
    inside = slice(border, -border or None)
    items = _items(small[:, inside, inside])
    if items is None:
        return None
    resized = Image.fromarray(np.pad(items, border).astype(np.float32))
    return np.asarray(resized.resize((width, height), Image.Resampling.BILINEAR)) >= 0.5


def items_by_corner_colour(image: np.ndarray) -> np.ndarray:
    """The pixels that differ from the colour of the corners: bool, (h, w); all, if none does.

    Args:
        image: uint8, (3, h, w).
    """
    corners = image[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    colour = np.median(corners, axis=1).astype(np.int16)[:, None, None]
    items: np.ndarray = (np.abs(image - colour) > TOLERANCE).any(axis=0)
    return items if items.any() else ~items


def as_fashion_mnist(image: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The items of a picture as Fashion-MNIST shows them: uint8, (1, `SIZE`, `SIZE`).

    Args:
        image: uint8, (3, h, w).
        items: bool, (h, w), the pixels that belong to them, at least one.
    """
    picture = Image.fromarray(on_white(image, items).transpose(1, 2, 0)).convert("L")
    scale = ITEM / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture = picture.filter(ImageFilter.UnsharpMask(radius=1, percent=100, threshold=0))
    pixels = np.zeros((1, SIZE, SIZE), np.uint8)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    pixels[0, top : top + height, left : left + width] = 255 - np.asarray(picture)
    return pixels


def on_white(image: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The items of a picture in colour on white, trimmed: uint8, (3, h', w').

    Args:
        image: uint8, (3, h, w).
        items: bool, (h, w), the pixels that belong to them, at least one.
    """
    rows, columns = (np.flatnonzero(items.any(axis=axis)) for axis in (1, 0))
    down, along = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    return np.where(items[down, along], image[:, down, along], np.uint8(255))


def resize(image: np.ndarray, longest: int) -> np.ndarray:
    """An image, uint8, (3, h, w), whose longest side has at most so many pixels.

    Args:
        image: of any size.
        longest: pixels.
    """
    height, width = image.shape[1:]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    resized = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(resized).transpose(2, 0, 1)


def _items(pixels: np.ndarray) -> np.ndarray | None:
    """As `items_on_plain_ground`, of float32 pixels without a frame."""
    from scipy import ndimage  # takes time to import, and an item on black does not need it

    ring = _ring(pixels.shape[1:], max(1, round(RING * max(pixels.shape[1:]))))
    ground = np.median(pixels[:, ring], axis=1)[:, None, None]
    exact = np.abs(pixels - ground).max(axis=0) <= TOLERANCE
    shade = (pixels * ground).sum(axis=0) / max(float((ground**2).sum()), 1.0)
    shaded = np.abs(pixels - shade * ground).max(axis=0) <= TOLERANCE
    shaded &= (shade >= SHADOW) & (shade <= LIGHT)
    smooth = ndimage.morphological_gradient(pixels.mean(axis=0), 3) <= 2 * SOFT
    like_ground = exact | (shaded & smooth)
    if like_ground[ring].mean() < PLAIN:
        return None
    labels, _ = ndimage.label(like_ground)
    ground_labels = np.setdiff1d(labels[ring], [0])
    items = ~np.isin(labels, ground_labels) & ~ndimage.binary_opening(exact, iterations=2)
    labels, count = ndimage.label(ndimage.binary_opening(items))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0  # the ground
    items = (sizes >= max(MIN_PART * sizes.max(), 1))[labels]
    return items if items.mean() >= MIN_ITEM else None


def _ring(shape: tuple[int, ...], width: int) -> np.ndarray:
    """The pixels along the edges: bool, (h, w)."""
    ring = np.ones(shape, bool)
    ring[width:-width, width:-width] = False
    return ring


def _frame_width(pixels: np.ndarray) -> int:
    """Width of a frame of one colour around the picture, pixels; 0 if there is none."""
    width = round(FRAME * max(pixels.shape[1:]))
    if not width or min(pixels.shape[1:]) <= 4 * width:
        return 0
    inside = pixels[:, width:-width, width:-width]
    outer, inner = (
        part[:, _ring(part.shape[1:], 1)] for part in (pixels, inside)
    )  # (3, number of pixels) each
    edge, ground = np.median(outer, axis=1), np.median(inner, axis=1)
    differs = np.abs(edge - ground).max() > 2 * TOLERANCE
    return width if differs else 0
