"""A page over a tiny classifier with random weights, and pictures to send to it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.models import Classifier


@pytest.fixture(scope="session")
def tiny_classifier(make_backbone) -> Classifier:
    """A linear head on a small backbone, always the same; it shows pictures as Fashion-MNIST."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"head": {"name": "linear"}, "multi_item": True, "image_size": 32}
        return Classifier(make_backbone(), CLASS_NAMES, **options).eval()


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    """`draw(path, seed=0, size=(40, 30))`: writes a picture of an item on a plain ground."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
        generator = np.random.default_rng(seed)
        pixels = np.full((size[1], size[0], 3), 250, np.uint8)
        top, left = (int(n) for n in generator.integers(3, 8, 2))
        inside = pixels[top : size[1] - 5, left : size[0] - 6]
        inside[:] = generator.integers(0, 200, inside.shape)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def picture(tmp_path, draw) -> Callable[..., Path]:
    """`picture(name="a.png", seed=0)`: writes a picture to the test's own folder."""
    return lambda name="a.png", seed=0: draw(tmp_path / name, seed)
