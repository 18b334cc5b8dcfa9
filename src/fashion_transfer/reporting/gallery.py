"""A gallery of predictions: each picture beside what the classifier saw, and what it says.

Drawn by Pillow: importing and starting Matplotlib would take longer than a prediction.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fashion_transfer.files import atomic_path
from fashion_transfer.reporting.plotting import DARK, GREY, Array, as_picture
from fashion_transfer.reporting.predictions import ImagePrediction
from fashion_transfer.reporting.tables import WARNING_SIGN, printable

MAX_IMAGES, COLUMNS = 60, 4
ACCEPTED_COLOR, WARNING_COLOR, UNREAD_COLOR = "#1b7837", "#b35806", GREY
GROUND, EMPTY = "#ffffff", "#e6e6e6"

SIDE = 160
"""Longest side of a picture, pixels."""

GAP, OUTLINE, BAR, SPACE = 6, 3, 8, 14
WIDTH = 2 * SIDE + GAP + 2 * OUTLINE
TITLE_SIZE, TEXT_SIZE, TEXT_LINE, MAX_LINES = 17, 12, 16, 4
HEADING = "Left: the picture.  Right: what the classifier saw of it.  Bar: confidence."

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Picture(NamedTuple):
    """Two small pictures of one image, as `small` gives them.

    Attributes:
        image: as it was read.
        prepared: as the classifier saw it.
    """

    image: Array
    prepared: Array


def small(image: Array, side: int = SIDE) -> Array:
    """A small picture of an image: uint8, (h, w) or (h, w, 3).

    Args:
        image: uint8, (C, h, w) with C 1 or 3, of any size.
        side: the longer one that it has at most, pixels.
    """
    picture = Image.fromarray(as_picture(image, longest_side=2 * side))  # subsampled: quick
    picture.thumbnail((side, side))
    return np.asarray(picture)


def write_gallery(
    images: Sequence[tuple[ImagePrediction, Picture | None]], path: str | Path
) -> None:
    """Writes `gallery` to a PNG file, whole or not at all."""
    with atomic_path(path) as temporary:
        gallery(images).save(temporary, format="PNG")


def gallery(images: Sequence[tuple[ImagePrediction, Picture | None]]) -> Image.Image:
    """Draws images in rows: outlined in green, in orange with a warning, in grey if unread.

    Args:
        images: at least one; without a picture where the file could not be read.
    """
    rows = [images[start : start + COLUMNS] for start in range(0, len(images), COLUMNS)]
    fonts = _font(TITLE_SIZE, bold=True), _font(TEXT_SIZE)
    lines = [[_wrap(_note(image), fonts[1], WIDTH) for image, _ in row] for row in rows]
    above = SIDE + 2 * OUTLINE + 3 * GAP + TITLE_SIZE + BAR + TEXT_LINE
    heights = [above + TEXT_LINE * max(map(len, row)) + SPACE for row in lines]
    width = len(rows[0]) * (WIDTH + SPACE) + SPACE
    sheet = Image.new("RGB", (width, sum(heights) + 2 * SPACE + TEXT_LINE), GROUND)
    draw, top = ImageDraw.Draw(sheet), 2 * SPACE + TEXT_LINE
    heading = _wrap(HEADING, fonts[1], width - 2 * SPACE)
    if len(heading) > 1:  # one column
        heading = ["Right: what the classifier saw.  Bar: confidence."]
    draw.text((SPACE, SPACE), heading[0], DARK, fonts[1])
    for row, notes, height in zip(rows, lines, heights, strict=True):
        for column, ((image, picture), note) in enumerate(zip(row, notes, strict=True)):
            left = SPACE + column * (WIDTH + SPACE)
            _draw(sheet, (left, top), image, picture, [_name(image, fonts[1]), *note], fonts)
        top += height
    return sheet


def _draw(
    sheet: Image.Image,
    corner: tuple[int, int],
    image: ImagePrediction,
    picture: Picture | None,
    lines: Sequence[str],
    fonts: tuple[_Font, _Font],
) -> None:
    draw, (left, top), p = ImageDraw.Draw(sheet), corner, image.prediction
    color = UNREAD_COLOR if p is None else WARNING_COLOR if p.warning else ACCEPTED_COLOR
    bottom = top + SIDE + 2 * OUTLINE
    draw.rectangle((left, top, left + WIDTH - 1, bottom - 1), EMPTY, color, OUTLINE)
    for number, pixels in enumerate(picture or ()):
        box = left + OUTLINE + number * (SIDE + GAP), top + OUTLINE
        _paste(sheet, pixels, box)
    title = "not read" if p is None else f"{p.label}  {p.confidence:.0%}"
    top = bottom + GAP
    draw.text((left, top), _shorten(title, fonts[0], WIDTH), color, fonts[0])
    top += TITLE_SIZE + GAP
    if p is not None:
        draw.rectangle((left, top, left + WIDTH - 1, top + BAR - 1), EMPTY)
        if filled := round(WIDTH * p.confidence):
            draw.rectangle((left, top, left + filled - 1, top + BAR - 1), color)
    top += BAR + GAP
    for number, line in enumerate(lines):
        draw.text((left, top + number * TEXT_LINE), line, DARK if number else GREY, fonts[1])


def _paste(sheet: Image.Image, pixels: Array, corner: tuple[int, int]) -> None:
    """Pastes a picture into the middle of a square; tiny ones are enlarged, pixel by pixel."""
    picture = Image.fromarray(pixels)
    factor = SIDE / max(picture.size)
    size = [max(1, round(side * factor)) for side in picture.size]
    picture = picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.NEAREST)
    left, top = (c + (SIDE - side) // 2 for c, side in zip(corner, picture.size, strict=True))
    sheet.paste(picture, (left, top))


def _note(image: ImagePrediction) -> str:
    """The error of a file, or its warning in words; empty without one."""
    p = image.prediction
    if p is None:
        return image.error
    return f"{WARNING_SIGN} {p.reason}: {p.message}" if p.warning else ""


def _name(image: ImagePrediction, font: _Font) -> str:
    return _shorten(" ".join(printable(Path(image.path.name)).split()), font, WIDTH)


def _shorten(text: str, font: _Font, width: int) -> str:
    """A text that fits: beginning and end of a longer one, as both tell files apart."""
    letters = min(len(text), 200)  # measuring takes time
    shown = text
    while letters > 2 and (len(shown) > 200 or font.getlength(shown) > width):
        letters -= 1
        shown = f"{text[: letters // 2]}…{text[-(letters // 2) :]}"
    return shown


def _wrap(text: str, font: _Font, width: int) -> list[str]:
    """Lines that fit, at most `MAX_LINES`; the last one ends in an ellipsis if there were more."""
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    if len(lines) > MAX_LINES:
        last = lines[MAX_LINES - 1]
        while " " in last and font.getlength(f"{last} …") > width:
            last = last.rpartition(" ")[0]
        lines = [*lines[: MAX_LINES - 1], f"{last} …"]
    return [_shorten(line, font, width) for line in lines if line]


def _font(size: int, bold: bool = False) -> _Font:
    """Matplotlib's own font, which knows more letters than Pillow's, without importing it."""
    spec = find_spec("matplotlib")
    for folder in (spec and spec.submodule_search_locations) or ():
        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        file = Path(folder, "mpl-data", "fonts", "ttf", name)
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)
