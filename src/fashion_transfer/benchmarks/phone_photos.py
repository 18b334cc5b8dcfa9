"""Phone photos with labels, as people show them to a Fashion-MNIST classifier, in two halves."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fashion_transfer.data import find_images
from fashion_transfer.errors import FashionTransferError

SHOES = "shoes"

ACCEPTED: dict[str, tuple[str, ...]] = {
    "t-shirt": ("T-shirt/top",),
    "pants": ("Trouser",),
    "longsleeve": ("Pullover",),
    "dress": ("Dress",),
    "outwear": ("Coat",),
    "shirt": ("Shirt",),
    SHOES: ("Sandal", "Sneaker", "Ankle boot"),
}
"""Folders of the clothing photos, with the Fashion-MNIST classes that count as correct."""

UNKNOWN = ("hat", "shorts", "skirt")
"""Folders of what is none of the ten classes: the correct answer is a warning."""

HALVES = ("development", "reported")
"""By the last bit of the SHA-256 of a photo's base name: the first is for looking at."""


class PhonePhoto(NamedTuple):
    """A photo file and the name of its folder."""

    path: Path
    folder: str

    @property
    def accepted(self) -> tuple[str, ...]:
        """The classes that count as correct; none for an unknown item."""
        return ACCEPTED.get(self.folder, ())

    @property
    def half(self) -> str:
        """The half that it is in, one of `HALVES`."""
        return HALVES[hashlib.sha256(self.path.name.encode()).digest()[-1] & 1]


def phone_photos(folder: Path) -> list[PhonePhoto]:
    """Returns the photos of a folder per label, those of `validation/` where there is one.

    Raises:
        FashionTransferError: there is no such folder, or one of another label in it.
    """
    if not folder.is_dir():
        raise FashionTransferError(
            f"{folder}: no such folder: name that of the clothing photos with --dir"
        )
    if (folder / "validation").is_dir():
        folder = folder / "validation"
    labels = sorted(path.name for path in folder.iterdir() if path.is_dir())
    known = (*ACCEPTED, *UNKNOWN)
    if unknown := [label for label in labels if label not in known]:
        raise FashionTransferError(
            f"{folder / unknown[0]} is none of the labels {', '.join(known)}: name another folder"
        )
    if not labels:
        raise FashionTransferError(
            f"{folder} holds no folder of photos per label: name another one"
        )
    return [PhonePhoto(path, label) for label in labels for path in find_images([folder / label])]


def with_class(photos: Sequence[PhonePhoto]) -> list[PhonePhoto]:
    """Returns those of an item that is one of the classes."""
    return [photo for photo in photos if photo.accepted]
