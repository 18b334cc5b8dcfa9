"""The rows of features in one folder of the store (see `store`)."""

import errno
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.key_index import CAPACITY, KeyIndex
from fashion_transfer.features.nodes import MAP
from fashion_transfer.features.row_files import checksum, create_rows, open_rows, write_rows

log = logging.getLogger(__name__)

ANOTHER_FOLDER = "choose another cache folder, for example by FASHION_TRANSFER_CACHE=DIR"


class FeatureTable:
    """Rows of features in one folder of the store, for one or more nodes.

    It is small when pickled: the other process opens the files again.

    Args:
        folder: where the files are, or will be.
        widths: width of each node by name; side by side they make up a feature of D numbers.
        source_size: how many images the source has, and so rows each file. None: the images are
            content-addressed, and what the methods call rows are their keys, 0 to 2**63 - 1.

    Attributes:
        width: D.
        batch_field: where a batch holds its rows: "features", or "maps" if a node is of maps.
    """

    def __init__(
        self, folder: Path, widths: Mapping[str, int], source_size: int | None = None
    ) -> None:
        self.folder = folder
        self.widths = dict(widths)
        self.width = sum(self.widths.values())
        self.index = KeyIndex(folder / "keys.bin") if source_size is None else None
        self.size = CAPACITY if source_size is None else source_size
        has_maps = any(node.endswith(f"@{MAP}") for node in widths)
        self.batch_field = "maps" if has_maps else "features"
        self._features: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_features": {}}

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Returns those of `rows` that are absent, or damaged, for some node.

        Keys are returned once each.

        Raises:
            FashionTransferError: there is no room for that many content-addressed images.
        """
        rows, places = self._places(rows)
        absent = places < 0
        listed = np.flatnonzero(~absent)
        for node, width in self.widths.items():
            features = open_rows(self._path(node), (self.size, width), np.float16)
            checksums = open_rows(self._path(node, ".crc"), (self.size,), np.uint32)
            if features is None or checksums is None:
                return rows
            expected = np.asarray(checksums[places[listed]])
            # Row by row: maps of all images may not fit into memory.
            actual = self._checksums(rows[listed], (features[p] for p in places[listed]))
            damaged = (expected != 0) & (actual != expected)
            if damaged.any():
                log.warning(
                    "%d damaged features in %s will be computed again",
                    damaged.sum(),
                    self._path(node),
                )
            absent[listed] |= actual != expected
        return rows[absent]

    def absent(self, rows: np.ndarray) -> np.ndarray:
        """Returns those of `rows` that are absent for some node, without a look at those present.

        Keys are returned once each.

        Raises:
            FashionTransferError: there is no room for that many content-addressed images.
        """
        rows, places = self._places(rows)
        absent = places < 0
        listed = np.flatnonzero(~absent)
        for node, width in self.widths.items():
            checksums = open_rows(self._path(node, ".crc"), (self.size,), np.uint32)
            if open_rows(self._path(node), (self.size, width), np.float16) is None:
                return rows
            if checksums is None:
                return rows
            absent[listed] |= checksums[places[listed]] == 0
        return rows[absent]

    def reserve(self, rows: np.ndarray, widths: Mapping[str, int]) -> None:
        """Lists rows and creates files: then several processes may write rows of their own at once.

        Args:
            rows: that will be written.
            widths: of each node that will be, by name.

        Raises:
            FashionTransferError: as of `write`.
        """
        with self._writing():
            if self.index is not None:
                self.index.allocate(rows)
            for node, width in widths.items():
                create_rows(self._path(node), (self.size, width), np.float16)
                create_rows(self._path(node, ".crc"), (self.size,), np.uint32)

    def write(self, rows: np.ndarray, features: Mapping[str, Tensor]) -> None:
        """Writes rows, each before its checksum.

        No other process may write at the same time, but other rows that were reserved.

        Args:
            rows: int64, (B,).
            features: float, (B, width), by node.

        Raises:
            FashionTransferError: the disk is full or cannot be written, or there is no room for
                that many content-addressed images.
        """
        with self._writing():
            places = rows if self.index is None else self.index.allocate(rows)
            for node, values in features.items():
                halves = values.to(torch.float16).cpu().numpy()
                write_rows(self._path(node), self.size, places, halves)
                checksums = self._checksums(rows, halves)
                write_rows(self._path(node, ".crc"), self.size, places, checksums)

    def gather(self, rows: np.ndarray, out: Tensor | None = None) -> Tensor:
        """Returns rows, nodes side by side: float32, (B, D), read from memory-mapped files.

        Args:
            rows: int64, (B,).
            out: float32, (B, D), where they are put; None: a new tensor.

        Raises:
            FashionTransferError: a file has vanished.
        """
        places = rows if self.index is None else self.index.rows(rows)
        if self.index is not None and len(rows) and places.min() < 0:
            raise _vanished(self.index.path)
        if not self._features:
            for node, width in self.widths.items():
                features = open_rows(self._path(node), (self.size, width), np.float16)
                if features is None:
                    raise _vanished(self._path(node))
                self._features[node] = features
        if out is None:
            out = torch.from_numpy(np.empty((len(rows), self.width), np.float32))
        # Each number is copied twice, as it is and then where it belongs: more copies would take
        # as long as the step that needs them.
        parts = torch.split(out, list(self.widths.values()), dim=1)
        for node, part in zip(self.widths, parts, strict=True):
            part.copy_(torch.from_numpy(self._features[node][places]))
        return out

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise FashionTransferError(
                f"cannot store features in {self.folder} ({reason}): free some space (`make cache` "
                f"lists what is cached) or {ANOTHER_FOLDER}; what was computed before is cached"
            ) from error

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows, or keys once each, and where they are in the files; -1 where they are not."""
        if self.index is None:
            return rows, rows
        rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        self.index.refresh()  # another run may have written some
        self.index.check_room(rows)
        return rows, self.index.rows(rows)

    def _checksums(self, rows: np.ndarray, features: Iterable[np.ndarray]) -> np.ndarray:
        # A key is part of the checksum, so that the index cannot give a row to another image.
        owners = [b"" if self.index is None else row.tobytes() for row in rows.astype("<i8")]
        sums = [checksum(of_row, owner) for of_row, owner in zip(features, owners, strict=True)]
        return np.array(sums, dtype=np.uint32)

    def _path(self, node: str, suffix: str = "") -> Path:
        return self.folder / f"{node}{suffix}.npy"


def _vanished(path: Path) -> FashionTransferError:
    return FashionTransferError(f"{path} has vanished or was damaged: run again to compute it")
