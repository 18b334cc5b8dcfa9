"""JPEG files such as phones and shops make them, from smaller photos: for timing, not for looks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fashion_transfer.errors import FashionTransferError

NOISE = 5.0
"""Standard deviation of a camera's noise, which an enlarged photo lacks, in steps of 256."""

QUALITY = 85
"""Of a file whose size does not matter."""

QUALITIES = (30, 98)
"""The lowest and the highest that are tried where it does."""


def write_pictures(
    sources: Sequence[Path],
    folder: Path,
    count: int,
    size: tuple[int, int],
    file_size: tuple[float, float] | None = None,
) -> list[Path]:
    """Writes JPEG files, each an enlarged part of a photo with noise, and returns their paths.

    Args:
        sources: photo files, taken in turn.
        folder: for the files; it is made.
        count: of the files.
        size: longer and shorter side, pixels; a picture stands or lies as its photo does.
        file_size: minimum and maximum megabytes of a file; None: as they come.

    Raises:
        FashionTransferError: no quality gives such a file.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    noise = np.rint(draw.normal(0, NOISE, size)).astype(np.int16)
    files = [folder / f"{number:04d}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        with Image.open(sources[number % len(sources)]) as photo:
            picture = _enlarge(photo.convert("RGB"), size, draw)
        grain = np.roll(noise, int(draw.integers(noise.size)))
        if picture.height < picture.width:
            grain = grain.T
        pixels = np.asarray(picture, np.int16) + grain[..., None]
        _save(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), file, file_size)
    return files


def _enlarge(photo: Image.Image, size: tuple[int, int], draw: np.random.Generator) -> Image.Image:
    longer, shorter = size
    to = (longer, shorter) if photo.width > photo.height else (shorter, longer)
    scale = draw.uniform(0.8, 1) * min(photo.width / to[0], photo.height / to[1])
    part = (scale * to[0], scale * to[1])
    left, top = (draw.uniform(0, all - p) for all, p in zip(photo.size, part, strict=True))
    box = (left, top, left + part[0], top + part[1])
    return photo.resize(to, Image.Resampling.BICUBIC, box)


def _save(picture: Image.Image, file: Path, file_size: tuple[float, float] | None) -> None:
    picture.save(file, quality=QUALITY)
    if file_size is None:
        return
    minimum, maximum = file_size
    low, high = QUALITIES
    while not minimum <= (megabytes := file.stat().st_size / 1e6) <= maximum:
        if low > high:
            raise FashionTransferError(
                f"no JPEG quality gives {picture.width} x {picture.height} pixels a file of "
                f"{minimum:g} to {maximum:g} MB, the last had {megabytes:.1f} MB: ask for another"
            )
        quality = (low + high) // 2
        picture.save(file, quality=quality)
        if file.stat().st_size / 1e6 < minimum:
            low = quality + 1
        else:
            high = quality - 1
