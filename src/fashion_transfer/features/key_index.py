"""The index of a folder of content-addressed features: which row is that of which image."""

import os
from pathlib import Path

import numpy as np

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.row_files import write_at

CAPACITY = 2**18
"""Rows of a folder. Those that were never written take no space."""

KEY = np.dtype("<i8")


class KeyIndex:
    """Rows of images by key, from an append-only file: the image with the i-th key has row i.

    A row that is listed may still be absent: it counts by its checksum, which its key is part of.
    So an index that was torn, lost or damaged costs rows, but never gives those of another image.

    It is small when pickled: the other process reads the file again.

    Args:
        path: of the file, int64, little-endian; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: np.ndarray | None = None  # sorted
        self._rows = np.empty(0, np.int64)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_keys": None, "_rows": self._rows[:0]}

    def refresh(self) -> int:
        """Reads the file again; returns how many rows it lists."""
        try:
            content = self.path.read_bytes()
        except OSError:
            content = b""
        # What is over after the last whole key is what a killed run had written of the next.
        keys = np.frombuffer(content, KEY, min(len(content) // KEY.itemsize, CAPACITY))
        self._rows = np.argsort(keys, kind="stable")
        self._keys = keys[self._rows].astype(np.int64)
        return len(keys)

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Returns the row of each key, int64, (B,); -1 where it has none."""
        if self._keys is None:
            self.refresh()
        assert self._keys is not None
        if not len(self._keys):
            return np.full(len(keys), -1)
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[places] == keys, self._rows[places], -1)

    def allocate(self, keys: np.ndarray) -> np.ndarray:
        """Returns the row of each key, new ones where there was none. Needs the folder's lock.

        Raises:
            FashionTransferError: there is no room for the new ones.
            OSError: the disk is full or cannot be written.
        """
        size = self.refresh()
        new = self.check_room(keys)
        if len(new):
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
            try:
                write_at(descriptor, new.astype(KEY).tobytes(), size * KEY.itemsize)
            finally:
                os.close(descriptor)
            self.refresh()
        return self.rows(keys)

    def check_room(self, keys: np.ndarray) -> np.ndarray:
        """Returns those of the keys that have no row, each once, if there is room for them.

        Raises:
            FashionTransferError: there is none.
        """
        new = np.unique(keys[self.rows(keys) < 0])
        size = len(self._rows)
        if size + len(new) > CAPACITY:
            raise FashionTransferError(
                f"{self.path.parent} has features of {size:,} images, of at most {CAPACITY:,}, and "
                f"no room for {len(new):,} more: make room by "
                f'`make cache ARGS="--remove {self.path.parent.name}"`, or use fewer images'
            )
        return new
