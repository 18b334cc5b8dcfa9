"""A classifier that goes by colour, and pictures for it: what a page is tested with."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from fashion_transfer.data.preparation import Prepared
from fashion_transfer.models import Classifier

CLASS_NAMES = ("Dress", "Coat", "Ankle boot")

COLOURS = {
    "red": (220, 30, 30),  # surely a dress
    "yellow": (220, 220, 30),  # a dress or a coat: ambiguous
    "green": (30, 220, 30),  # surely a coat
    "white": (230, 230, 230),  # several items
}

LOGITS = {
    "red": (9.0, 0.0, 0.0, 0.0),
    "yellow": (1.0, 0.9, 0.0, 0.0),
    "green": (0.0, 9.0, 0.0, 0.0),
    "white": (1.0, 1.0, 0.0, 9.0),
}
"""Of the three classes and of several items."""


class ByColour(Classifier):
    """A classifier that knows four colours."""

    def predict_prepared(self, images: Sequence[Prepared], extracted=None):
        rows = [LOGITS[nearest(image)] for image in images]
        return self.decide(torch.tensor(rows), torch.zeros(len(rows)))


def nearest(image: Prepared) -> str:
    """Name of the colour that an image has."""
    mean = image.pixels.reshape(3, -1).mean(axis=1)
    return min(COLOURS, key=lambda name: abs(mean - COLOURS[name]).sum())


def make_classifier(backbone) -> Classifier:
    return ByColour(
        backbone,
        CLASS_NAMES,
        {"name": "linear"},
        multi_item=True,
        standardise=False,
        image_size=32,
        preparation="photo",
        threshold=0.8,
    ).eval()


def write_picture(path: Path, colour: str, size: tuple[int, int] = (90, 120)) -> Path:
    """Writes a picture of one colour with a darker spot: plain borders are cropped."""
    picture = Image.new("RGB", size, COLOURS[colour])
    picture.putpixel((0, 0), (0, 0, 0))
    picture.putpixel((size[0] - 1, size[1] - 1), (0, 0, 0))
    picture.save(path)
    return path
