"""The figures of a run, made small: its PNG files, else its images in TensorBoard."""

import base64
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

FOLDERS = ("", "figures", "evaluate")
"""Where in a run folder PNG files are looked for."""

MAX_FIGURES = 12
"""Figures of one run; further ones stay in its folder."""

SIDE = 640
"""Longest side of a small figure, pixels."""

MAX_PIXELS = 50_000_000
"""A picture with more is not opened."""


class Figure(NamedTuple):
    """A figure of a run.

    Attributes:
        title: of its file, or its name in TensorBoard.
        source: `data:` URI of the figure made small.
    """

    title: str
    source: str


def figures(folder: Path) -> list[Figure]:
    """Returns the figures of a run, made small; those that cannot be read are left out."""
    images: dict[str, bytes] = {}
    for place in FOLDERS:
        for file in sorted((folder / place).glob("*.png")):
            images.setdefault(file.stem.replace("_", " "), file.read_bytes())
    if not images:
        for file in sorted(folder.glob("tensorboard/**/events.out.tfevents.*")):
            images |= tensorboard_images(file)
    small = ((title, thumbnail(image)) for title, image in list(images.items())[:MAX_FIGURES])
    return [Figure(title, source) for title, source in small if source]


def thumbnail(image: bytes) -> str | None:
    """Returns an image file made small as a `data:` URI; None if it cannot be read."""
    try:
        with Image.open(io.BytesIO(image)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                return None
            small = picture.convert("RGB")
        small.thumbnail((SIDE, SIDE))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    file = io.BytesIO()
    small.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def tensorboard_images(file: Path) -> dict[str, bytes]:
    """Returns the last image of each name in an event file, up to where it is damaged."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    images: dict[str, bytes] = {}
    try:
        for record in _records(file):
            for value in Event.FromString(record).summary.value:
                if value.HasField("image"):
                    images[value.tag] = value.image.encoded_image_string
    except (OSError, DecodeError):
        pass
    return images


def _records(file: Path) -> Iterator[bytes]:
    """Yields the records of an event file: length, its checksum, data, their checksum."""
    with file.open("rb") as stream:
        while len(header := stream.read(12)) == 12:
            (length,) = struct.unpack("<Q", header[:8])
            record = stream.read(min(length, 2**31))
            if len(record) < length:
                return
            stream.read(4)
            yield record
