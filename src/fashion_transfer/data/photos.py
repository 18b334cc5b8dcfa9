"""Image files whose content is their name: the same picture has the same key wherever it lies."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fashion_transfer.data.decoding import read_image


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 of the shape and the pixels of an image, uint8, (C, h, w): 64 hexadecimal digits."""
    content = hashlib.sha256(str(image.shape).encode())
    content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()


def content_key(sha256: str) -> int:
    """The key of an image in a content-addressed split: the first 63 bits of its pixel hash."""
    return int(sha256[:16], 16) >> 1


def map_in_threads(
    read: Callable[[int], np.ndarray], keys: Sequence[int] | np.ndarray
) -> list[np.ndarray]:
    """What a function gives for each key, in order, computed side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, map(int, keys)))


class Photos:
    """Image files by content key, read when they are needed: uint8, (1 or 3, h, w), of any size.

    Args:
        paths: the file of each key.
    """

    def __init__(self, paths: Mapping[int, Path]) -> None:
        self._paths = dict(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, key: int, /) -> np.ndarray:
        return read_image(self.path(key))

    def __getitems__(self, keys: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Images by key, decoded side by side."""
        return map_in_threads(self.__getitem__, keys)

    def path(self, key: int) -> Path:
        """The file of a key.

        Raises:
            KeyError: there is no such photo.
        """
        return self._paths[int(key)]
