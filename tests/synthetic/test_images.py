"""Sequences of synthetic images: each image depends on its row alone, and is computed when read."""

import pickle

import numpy as np
import pytest

from fashion_transfer.synthetic.composites import compose
from fashion_transfer.synthetic.images import BLOCK, MAX_ROWS, CompositeImages, OODImages
from fashion_transfer.synthetic.out_of_distribution import OUT_OF_DISTRIBUTION, ood_images

LAYOUTS = ("side_by_side", "stacked", "scatter_of_four")


@pytest.fixture(params=["composites", "controls", *OUT_OF_DISTRIBUTION])
def sequence(request, items, labels):
    """A sequence of each sort."""
    if request.param in OUT_OF_DISTRIBUTION:
        return OODImages(request.param, items)
    return CompositeImages(items, labels, LAYOUTS, request.param == "controls")


def equal(one, other) -> bool:
    return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_images_are_grey_and_square(sequence):
    for image in sequence.__getitems__(range(3 * BLOCK)):
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert len(image) == 1
        assert image.shape[1] == image.shape[2]


def test_an_image_depends_on_neither_batch_nor_order(sequence):
    images = sequence.__getitems__(range(4 * BLOCK))
    rows = np.random.default_rng(0).permutation(4 * BLOCK)[:20]
    assert equal(sequence.__getitems__(rows), [images[row] for row in rows])
    assert equal([sequence[row] for row in (17, 0)], [images[17], images[0]])
    assert equal(sequence.__getitems__([5, 5]), [images[5]] * 2)
    assert len({image.tobytes() for image in images}) == 4 * BLOCK


def test_a_sequence_survives_pickling(sequence):
    copy = pickle.loads(pickle.dumps(sequence))
    assert equal(copy.__getitems__([3, 90]), sequence.__getitems__([3, 90]))


def test_a_sequence_ends(sequence):
    assert len(sequence) == MAX_ROWS
    assert sequence[MAX_ROWS - 1].shape[0] == 1
    assert sequence.__getitems__([]) == []
    for row in (MAX_ROWS, -1):
        with pytest.raises(IndexError, match=f"got {row}"):
            sequence[row]


@pytest.mark.parametrize("control", [False, True])
def test_layouts_alternate_in_blocks(items, labels, control):
    images = CompositeImages(items, labels, LAYOUTS, control).__getitems__(range(7 * BLOCK))
    for block in range(7):
        numbers = np.arange(BLOCK) + block // 3 * BLOCK
        alone = compose(items, labels, LAYOUTS[block % 3], numbers, control=control)
        assert equal(images[block * BLOCK : (block + 1) * BLOCK], alone.pixels[:, None])


def test_control_labels_are_those_of_the_items_shown(items, labels):
    images = CompositeImages(items, labels, LAYOUTS, control=True)
    rows = np.arange(2 * BLOCK)[::-1]
    expected = np.concatenate(
        [compose(items, labels, layout, range(BLOCK), control=True).labels for layout in LAYOUTS]
    )
    assert np.array_equal(images.control_labels(rows), expected[rows, 0])


@pytest.mark.parametrize("name", OUT_OF_DISTRIBUTION)
def test_ood_images_are_those_of_their_number(name, items):
    images = OODImages(name, items).__getitems__([2, 0])
    assert equal(images, ood_images(name, 3, images=items)[[2, 0], None])
