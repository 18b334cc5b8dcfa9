"""The feature store: what the frozen backbone computed for images, on disk.

A folder holds the features of one source of images under one view, one pair of files per node:
`NODE.npy`, float16, with a row for every image of the source, and `NODE.crc.npy`, with a checksum
per row. The first is sparse: rows that were never written take no space. A row counts only if its
checksum is there and fits, and the checksum is written after the row: at whatever moment a run is
killed, a row is either whole or absent. A larger subset fills further rows.

Content-addressed images, which have a key each instead of a place in a source, share one folder per
view. There `keys.bin` lists the keys, in the order of the rows (see `key_index`).
"""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.key_index import CAPACITY, KeyIndex
from fashion_transfer.features.nodes import MAP
from fashion_transfer.features.row_files import checksum, open_rows, write_rows
from fashion_transfer.files import default_cache_dir, write_text

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
        batch_field: where a batch holds its rows: "features", or "maps" if a node is of maps.
    """

    def __init__(
        self, folder: Path, widths: Mapping[str, int], source_size: int | None = None
    ) -> None:
        self.folder = folder
        self.widths = dict(widths)
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
        places, absent = rows, np.zeros(len(rows), dtype=bool)
        if self.index is not None:
            rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
            self.index.refresh()  # another run may have written some
            self.index.check_room(rows)
            places = self.index.rows(rows)
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

    def write(self, rows: np.ndarray, features: Mapping[str, Tensor]) -> None:
        """Writes rows, each before its checksum. Another run must not write at the same time.

        Args:
            rows: int64, (B,).
            features: float, (B, width), by node.

        Raises:
            FashionTransferError: the disk is full or cannot be written, or there is no room for
                that many content-addressed images.
        """
        try:
            places = rows if self.index is None else self.index.allocate(rows)
            for node, values in features.items():
                halves = values.to(torch.float16).cpu().numpy()
                write_rows(self._path(node), self.size, places, halves)
                checksums = self._checksums(rows, halves)
                write_rows(self._path(node, ".crc"), self.size, places, checksums)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise FashionTransferError(
                f"cannot store features in {self.folder} ({reason}): free some space (`make cache` "
                f"lists what is cached) or {ANOTHER_FOLDER}; what was computed before is cached"
            ) from error

    def gather(self, rows: np.ndarray) -> Tensor:
        """Returns rows, nodes side by side: float32, (B, D), read from memory-mapped files.

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
        parts = [self._features[node][places] for node in self.widths]
        return torch.from_numpy(np.concatenate(parts, axis=1)).float()

    def _checksums(self, rows: np.ndarray, features: Iterable[np.ndarray]) -> np.ndarray:
        # A key is part of the checksum, so that the index cannot give a row to another image.
        owners = [b"" if self.index is None else row.tobytes() for row in rows.astype("<i8")]
        sums = [checksum(of_row, owner) for of_row, owner in zip(features, owners, strict=True)]
        return np.array(sums, dtype=np.uint32)

    def _path(self, node: str, suffix: str = "") -> Path:
        return self.folder / f"{node}{suffix}.npy"


class FeatureStore:
    """Folders of features, each named by a hash of all that determines what is in it.

    Args:
        directory: where; None: `default_cache_dir()`.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory or default_cache_dir()) / "features"

    def folder(self, key: Mapping[str, Any]) -> Path:
        """Returns the folder of a key of JSON types, with a `key.json` that holds the key.

        Raises:
            FashionTransferError: the folder cannot be written.
        """
        text = json.dumps(key, sort_keys=True)
        folder = self.directory / hashlib.sha256(text.encode()).hexdigest()[:16]
        if not (folder / "key.json").is_file():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_text(folder / "key.json", json.dumps(key, sort_keys=True, indent=2) + "\n")
            except OSError as error:
                raise _not_writable(folder, error) from error
        return folder

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Holds a folder's lock: a second run waits for it, and a killed run releases it.

        Raises:
            FashionTransferError: the folder cannot be written.
        """
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another run computes these features: waiting for it")
            lock.acquire()
        except OSError as error:
            raise _not_writable(folder, error) from error
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> list[tuple[Path, dict[str, Any], int]]:
        """Returns every folder with its key and the bytes it takes on disk, largest first.

        A key that cannot be read is empty.
        """
        entries = []
        for path in self.directory.glob("*/key.json"):
            size = sum(file.stat().st_blocks * 512 for file in path.parent.iterdir())
            try:
                key = json.loads(path.read_bytes())
            except ValueError:
                key = {}
            entries.append((path.parent, key if isinstance(key, dict) else {}, size))
        return sorted(entries, key=lambda entry: -entry[2])

    def remove(self, folder: Path) -> None:
        """Deletes one folder, once no run fills it."""
        with self.lock(folder):
            shutil.rmtree(folder)


def nodes_in(folder: Path) -> dict[str, int]:
    """Returns the nodes in a folder of the store, with how many rows were written of each."""
    suffix = ".crc.npy"
    counts = {}
    for path in sorted(folder.glob(f"*{suffix}")):
        try:
            counts[path.name.removesuffix(suffix)] = int(np.count_nonzero(np.load(path)))
        except (OSError, EOFError, ValueError):  # a damaged file has no rows that count
            counts[path.name.removesuffix(suffix)] = 0
    return counts


def kernel_dir(store: FeatureStore) -> Path:
    """Returns where torch caches the kernels compiled for the backbone, beside the features."""
    return store.directory.parent / "compiled-kernels"


def _vanished(path: Path) -> FashionTransferError:
    return FashionTransferError(f"{path} has vanished or was damaged: run again to compute it")


def _not_writable(folder: Path, error: OSError) -> FashionTransferError:
    return FashionTransferError(
        f"cannot store features in {folder} ({error.strerror}): {ANOTHER_FOLDER}"
    )
