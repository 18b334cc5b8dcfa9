"""Pictures as people take them of one item, drawn: a shirt or trousers on any ground."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHIRT = ((30, 10), (42, 16), (58, 16), (70, 10), (95, 32), (84, 46), (73, 37), (73, 92), (27, 92))
SHIRT += ((27, 37), (16, 46), (5, 32))
TROUSERS = ((28, 5), (72, 5), (80, 95), (58, 95), (50, 32), (42, 95), (20, 95))
"""Outlines, percent of a square."""

GROUNDS = {
    "white": (255, 255, 255),
    "light grey": (225, 225, 225),
    "beige": (226, 211, 188),
    "blue": (150, 190, 230),
    "red": (190, 40, 50),
    "dark green": (20, 80, 50),
}
INK = (70, 45, 105)
STRIPE = (235, 200, 60)


def mask(outline=SHIRT, side: int = 200) -> Image.Image:
    """The pixels of an item, its edge smoothed: mode L, square."""
    large = Image.new("L", (4 * side, 4 * side))
    points = [(4 * side * x / 100, 4 * side * y / 100) for x, y in outline]
    ImageDraw.Draw(large).polygon(points, fill=255)
    return large.reduce(4)


def striped(side: int) -> Image.Image:
    """The cloth: two stripes on one colour, mode RGB, square."""
    cloth = Image.new("RGB", (side, side), INK)
    for top in (0.55, 0.7):
        box = (0, int(top * side), side, int((top + 0.06) * side))
        ImageDraw.Draw(cloth).rectangle(box, fill=STRIPE)
    return cloth


def picture(
    ground=GROUNDS["white"],
    items=((SHIRT, (50, 60)),),
    size: tuple[int, int] = (300, 320),
    side: int = 200,
    shadow: bool = False,
) -> Image.Image:
    """Items on a plain ground, mode RGB.

    Args:
        ground: its colour.
        items: outline, and left and top of its square, pixels.
        size: width and height of the picture, pixels.
        side: of the items' squares, pixels.
        shadow: whether each item throws a soft shadow to the right and down.
    """
    image = Image.new("RGB", size, ground)
    for outline, (left, top) in items if shadow else ():
        dark = Image.new("L", size)
        dark.paste(mask(outline, side).point(lambda v: v * 0.3), (left + 8, top + 10))
        dark = dark.filter(ImageFilter.GaussianBlur(12))
        image.paste(tuple(int(0.2 * v) for v in ground), mask=dark)
    for outline, place in items:
        image.paste(striped(side), place, mask(outline, side))
    return image


def in_a_room(*items, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Items before a wall and a wooden floor, which is no plain ground, mode RGB."""
    image = Image.new("RGB", size, GROUNDS["blue"])
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 250, *size), fill=(150, 110, 70))
    for left in range(0, size[0], 60):
        draw.line((left, 250, left - 40, size[1]), fill=(90, 60, 40), width=2)
    for outline, place in items:
        image.paste(striped(200), place, mask(outline))
    return image


def as_jpeg(image: Image.Image, quality: int = 85) -> Image.Image:
    """The image after it was saved as a JPEG file."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def framed(image: Image.Image, colour: int, width: int = 4) -> Image.Image:
    """The image with a thin frame drawn on its edges."""
    image = image.copy()
    box = (0, 0, image.width - 1, image.height - 1)
    ImageDraw.Draw(image).rectangle(box, outline=(colour,) * 3, width=width)
    return image


def pixels(image: Image.Image) -> np.ndarray:
    """Pixels, uint8, (3, h, w)."""
    return np.array(image.convert("RGB")).transpose(2, 0, 1)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """A photo with detail from edge to edge, uint8."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
