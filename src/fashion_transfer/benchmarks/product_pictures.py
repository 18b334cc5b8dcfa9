"""Product pictures made from phone photos: items cut out, put on plain grounds, saved as JPEG."""

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from fashion_transfer.data.decoding import decode

GROUNDS = {
    "white": (255, 255, 255),
    "light grey": (222, 222, 222),
    "beige": (231, 219, 200),
    "light blue": (188, 212, 235),
    "red": (188, 38, 44),
    "dark green": (22, 68, 46),
}
"""Colours of the grounds."""

SIDE = 480
"""Height of a picture, and its width per item, pixels."""

FILLED = 0.76
"""Longer side of an item, as a fraction of `SIDE`: the rest is margin."""

SHADOW = 0.3
"""How much darker the ground is where no light falls."""

SHIFT = 0.02
"""Of the shadow, to the right and twice as much down, as a fraction of `SIDE`; its blur as well."""

QUALITY = 85
"""Of the JPEG file."""

Mask = Callable[[np.ndarray], np.ndarray | None]
"""Gives what is salient in an image, uint8, (3, h, w): bool, or float32 from 0 to 1, (h, w)."""


class CutOut(NamedTuple):
    """An item without its surroundings: colours, uint8, (h, w, 3), and opacity, uint8, (h, w)."""

    colours: np.ndarray
    opacity: np.ndarray


def cut_out(image: np.ndarray, mask: Mask) -> CutOut | None:
    """Returns the item of a photo, uint8, (1 or 3, h, w), trimmed; None if nothing is salient."""
    colours = np.broadcast_to(image, (3, *image.shape[1:]))
    saliency = mask(np.ascontiguousarray(colours))
    if saliency is None or not (saliency > 0.5).any():
        return None
    # Steeper than a net's saliency, whose faint haze around an item is in no product picture.
    opacity = np.clip(2 * saliency.astype(np.float32) - 0.5, 0, 1)
    (top, bottom), (left, right) = (
        (int(line[0]), int(line[-1]) + 1)
        for line in (np.flatnonzero(opacity.any(axis=axis)) for axis in (1, 0))
    )
    pixels = colours[:, top:bottom, left:right].transpose(1, 2, 0)
    alpha = np.rint(255 * opacity[top:bottom, left:right]).astype(np.uint8)
    return CutOut(np.ascontiguousarray(pixels), alpha)


def product_picture(cut_outs: Sequence[CutOut], ground: str) -> np.ndarray:
    """Returns items side by side on one ground, each whole with a margin and a soft shadow.

    The picture is saved as JPEG and decoded again.

    Args:
        cut_outs: at least one.
        ground: one of `GROUNDS`.

    Returns:
        uint8, (3, SIDE, N * SIDE).
    """
    size = (len(cut_outs) * SIDE, SIDE)
    items, opacity = Image.new("RGB", size), Image.new("L", size)
    for number, (colours, alpha) in enumerate(cut_outs):
        height, width = alpha.shape
        scale = FILLED * SIDE / max(height, width)
        fitted = (max(1, round(scale * width)), max(1, round(scale * height)))
        place = (number * SIDE + (SIDE - fitted[0]) // 2, (SIDE - fitted[1]) // 2)
        items.paste(Image.fromarray(colours).resize(fitted, Image.Resampling.LANCZOS), place)
        opacity.paste(Image.fromarray(alpha).resize(fitted, Image.Resampling.BILINEAR), place)
    shift = round(SHIFT * SIDE)
    shadow = Image.new("L", size)
    shadow.paste(opacity, (shift, 2 * shift))
    shadow = shadow.filter(ImageFilter.GaussianBlur(shift)).point(lambda value: SHADOW * value)
    picture = Image.new("RGB", size, GROUNDS[ground])
    picture.paste("black", mask=shadow)
    picture.paste(items, mask=opacity)
    with io.BytesIO() as file:
        picture.save(file, "JPEG", quality=QUALITY)
        with Image.open(file) as saved:
            return decode(saved)


def draw_pairs(labels: Sequence[str], count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Returns pairs of positions with different labels, drawn at random with replacement.

    Args:
        labels: of the positions; none is drawn if they are all the same.
        count: of the pairs.
        seed: of the draws.
    """
    draw = np.random.default_rng(seed)
    pairs: list[tuple[int, int]] = []
    while len(set(labels)) > 1 and len(pairs) < count:
        first, second = draw.choice(len(labels), 2, replace=False).tolist()
        if labels[first] != labels[second]:
            pairs.append((first, second))
    return pairs
