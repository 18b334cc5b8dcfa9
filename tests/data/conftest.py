"""What the tests of data share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def official(real_data):
    """The training and the test `IdxPair` of the official files. Mark with `real_data`."""
    from fashion_transfer.data.idx_files import load_pair

    return load_pair(real_data, True), load_pair(real_data, False)


@pytest.fixture
def photo(tmp_path):
    """`photo("train/cat/a.png", 3)`: writes picture number 3, and returns its path."""

    def write(name: str, number: int, size: tuple[int, int] = (6, 4)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def saved(tmp_path):
    """`saved(image, name, **options)`: an image file in the temporary folder."""

    def save(image, name="photo.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save
