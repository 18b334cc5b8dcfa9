"""Sixty generated items of ten classes, photos of three classes, and layouts for one test."""

import numpy as np
import pytest
from photos_in_memory import Photos

from fashion_transfer.data.batch import Split
from fashion_transfer.synthetic import composites, placement
from fashion_transfer.synthetic.layouts import Layout

PER_CLASS = 6


@pytest.fixture(scope="session")
def labels():
    """Class labels of `items`, int64, (60,): six of each of ten classes, in random order."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(10), PER_CLASS))


@pytest.fixture(scope="session")
def items(labels):
    """Images of one item each, uint8, (60, 28, 28): textured blocks on haze, all different."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 20, (len(labels), 28, 28), dtype=np.uint8)
    for image in images:
        top, left = generator.integers(0, 12, 2)
        bottom, right = generator.integers(18, 29, 2)
        image[top:bottom, left:right] = generator.integers(60, 256, (bottom - top, right - left))
    images.flags.writeable = False
    return images


@pytest.fixture(scope="session")
def draw(items, labels):
    """`draw(layout, numbers=range(24), **options)`: `compose` of `items`."""

    def draw(layout, numbers=range(24), **options) -> composites.Composites:
        return composites.compose(items, labels, layout, numbers, **options)

    return draw


@pytest.fixture(scope="session")
def split(items, labels):
    """`items` as a split of all 60, an array of images."""
    return Split("training images", items[:, None], labels, "of the items")


@pytest.fixture
def only(monkeypatch):
    """`only(layout)`: makes "it" the one layout there is."""

    def patch(layout: Layout) -> None:
        monkeypatch.setattr(composites, "LAYOUTS", {"it": layout})

    return patch


@pytest.fixture
def may_hide(monkeypatch):
    """Lets items hide others entirely."""
    for module in (composites, placement):
        monkeypatch.setattr(module, "MIN_VISIBLE", 0)


@pytest.fixture
def photo_split():
    """`photo_split(*counts, size)`: a content-addressed split of so many photos per class.

    Every photo is of one colour, with a line along its edge, and of its own shape, unless `size`,
    (h, w), is given. The photos of a class are the same whatever the other counts are.
    """

    def make(*counts: int, size: tuple[int, int] | None = None) -> Split:
        photos, labels = Photos(), []
        for label, count in enumerate(counts):
            for number in range(count):
                generator = np.random.default_rng([label, number])
                height, width = size or generator.integers(40, 90, 2)
                photo = np.empty((1 if number == 1 else 3, height, width), np.uint8)
                photo[:] = generator.integers(0, 256, (len(photo), 1, 1))
                photo[:, :, [0, -1]] = photo[:, [0, -1]] = 255 - photo[:, :1, :1]
                photos[int(generator.integers(2**63))] = photo
                labels.append(label)
        return Split("photos", photos, np.array(labels), None, np.array(list(photos), np.int64))

    return make
