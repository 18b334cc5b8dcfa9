"""Photos are named by their content, and read by that name."""

import pickle

import numpy as np
import pytest

from fashion_transfer.data import Photos, content_key, pixel_hash, read_image
from fashion_transfer.errors import FashionTransferError


def test_pixel_hash_is_of_pixels_and_shape():
    image = np.arange(24, dtype=np.uint8).reshape(3, 2, 4)
    assert pixel_hash(image) == pixel_hash(np.asfortranarray(image))
    assert pixel_hash(image) != pixel_hash(image.reshape(3, 4, 2))
    assert pixel_hash(image) != pixel_hash(image + np.uint8(1))
    assert len(pixel_hash(image)) == 64


def test_pixel_hash_never_changes():
    """Keys in people's caches depend on it."""
    assert pixel_hash(np.zeros((3, 1, 1), np.uint8)).startswith("54a649768f96c36d")


def test_content_key_is_a_whole_number_of_63_bits():
    assert content_key("f" * 64) == 2**63 - 1
    assert content_key("0" * 15 + "2" + "f" * 48) == 1


def test_photos_are_read_by_key(photo):
    paths = {10: photo("a.png", 0), 2**63 - 1: photo("b.png", 1, (9, 5))}
    photos = Photos(paths)
    assert len(photos) == 2
    assert np.array_equal(photos[10], read_image(paths[10]))
    images = photos.__getitems__(np.array([2**63 - 1, 10]))
    assert [image.shape for image in images] == [(3, 9, 5), (3, 6, 4)]
    assert photos.path(np.int64(2**63 - 1)) == paths[2**63 - 1]


def test_photos_can_be_sent_to_another_process(photo):
    photos = pickle.loads(pickle.dumps(Photos({7: photo("a.png", 0)})))
    assert photos[7].shape == (3, 6, 4)


def test_photos_name_a_file_that_has_vanished(photo):
    path = photo("a.png", 0)
    photos = Photos({7: path})
    path.unlink()
    with pytest.raises(FashionTransferError, match=r"a\.png: no such file"):
        photos.__getitems__([7])
