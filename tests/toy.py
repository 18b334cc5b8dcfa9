"""A data set of one's own, as CONTRIBUTING describes it: colour photos of three classes.

`write_toy(folder)` writes the files: `folder/train/circle/0.png` and so on, of different sizes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fashion_transfer.data import ClassificationDataModule, Split, read_image

SHAPES = {"circle": (24, "red"), "square": (4, "green"), "triangle": (3, "blue")}
"""Number of corners and colour of each class."""


class ToyDataModule(ClassificationDataModule):
    """Images in a folder per split and class; the class names are those of the folders."""

    preparation = "photo"

    def __init__(self, dir: str, **options) -> None:
        super().__init__(**options)
        self.dir = Path(dir)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in (self.dir / "train").iterdir()))

    def load_split(self, name: str) -> Split | None:
        paths = sorted((self.dir / name).glob("*/*.png"))
        labels = [self.class_names.index(path.parent.name) for path in paths]
        content = hashlib.sha256(b"".join(path.read_bytes() for path in paths))
        return Split(f"{name} images", Files(paths), labels, content.hexdigest()) if paths else None


class Files:
    """Image files that are read when they are due."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> np.ndarray:
        return read_image(self.paths[row])


def write_toy(folder: Path, train: int = 6, val: int = 2, test: int = 2) -> Path:
    """Writes some images per class of each split, and returns the folder."""
    generator = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val), ("test", test)):
        for name, (corners, colour) in SHAPES.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                width, height, radius = map(int, generator.integers((36, 36, 8), (64, 64, 16)))
                image = Image.new("RGB", (width, height), "white")
                circle = (width // 2, height // 2, radius)
                ImageDraw.Draw(image).regular_polygon(circle, corners, fill=colour)
                image.save(folder / split / name / f"{number}.png")
    return folder
