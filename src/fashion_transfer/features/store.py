"""The feature store: what the frozen backbone computed for images, on disk.

A folder holds the features of one source of images under one view, one pair of files per node:
`NODE.npy`, float16, with a row for every image of the source, and `NODE.crc.npy`, with a checksum
per row. The first is sparse: rows that were never written take no space. A row counts only if its
checksum is there and fits, and the checksum is written after the row: at whatever moment a run is
killed, a row is either whole or absent. A larger subset fills further rows.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.nodes import MAP
from fashion_transfer.features.row_files import checksum, open_rows, write_rows
from fashion_transfer.files import write_text

log = logging.getLogger(__name__)

ANOTHER_FOLDER = "choose another cache folder, for example by FASHION_TRANSFER_CACHE=DIR"


def default_cache_dir() -> Path:
    """Returns `$FASHION_TRANSFER_CACHE`, else `fashion-transfer` in the user's cache folder."""
    given = os.environ.get("FASHION_TRANSFER_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "fashion-transfer"


class FeatureTable:
    """Rows of features in one folder of the store, for one or more nodes.

    It is small when pickled: the other process opens the files again.

    Args:
        folder: where the files are, or will be.
        widths: width of each node by name; side by side they make up a feature of D numbers.
        source_size: how many images the source has, and so rows each file.

    Attributes:
        batch_field: where a batch holds its rows: "features", or "maps" if a node is of maps.
    """

    def __init__(self, folder: Path, widths: Mapping[str, int], source_size: int) -> None:
        self.folder = folder
        self.widths = dict(widths)
        self.source_size = source_size
        has_maps = any(node.endswith(f"@{MAP}") for node in widths)
        self.batch_field = "maps" if has_maps else "features"
        self._features: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_features": {}}

    def missing(self, rows: np.ndarray) -> np.ndarray:
        """Returns those of `rows` that are absent, or damaged, for some node."""
        absent = np.zeros(len(rows), dtype=bool)
        for node, width in self.widths.items():
            features = open_rows(self._path(node), (self.source_size, width), np.float16)
            checksums = open_rows(self._path(node, ".crc"), (self.source_size,), np.uint32)
            if features is None or checksums is None:
                return rows
            expected = np.asarray(checksums[rows])
            actual = np.array([checksum(features[row]) for row in rows], dtype=np.uint32)
            damaged = (expected != 0) & (actual != expected)
            if damaged.any():
                log.warning(
                    "%d damaged features in %s will be computed again",
                    damaged.sum(),
                    self._path(node),
                )
            absent |= actual != expected
        return rows[absent]

    def write(self, rows: np.ndarray, features: Mapping[str, Tensor]) -> None:
        """Writes rows, each before its checksum.

        Args:
            rows: int64, (B,).
            features: float, (B, width), by node.

        Raises:
            FashionTransferError: the disk is full or cannot be written.
        """
        try:
            for node, values in features.items():
                halves = values.to(torch.float16).cpu().numpy()
                checksums = np.array([checksum(row) for row in halves], dtype=np.uint32)
                write_rows(self._path(node), self.source_size, rows, halves)
                write_rows(self._path(node, ".crc"), self.source_size, rows, checksums)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise FashionTransferError(
                f"cannot store features in {self.folder} ({reason}): free some space (`make cache` "
                f"lists what is cached) or {ANOTHER_FOLDER}; what was computed before is cached"
            ) from error

    def gather(self, rows: np.ndarray) -> Tensor:
        """Returns rows, nodes side by side: float32, (B, D), read from memory-mapped files."""
        if not self._features:
            for node, width in self.widths.items():
                features = open_rows(self._path(node), (self.source_size, width), np.float16)
                if features is None:
                    raise FashionTransferError(
                        f"{self._path(node)} has vanished or was damaged: run again to compute it"
                    )
                self._features[node] = features
        parts = [self._features[node][rows] for node in self.widths]
        return torch.from_numpy(np.concatenate(parts, axis=1)).float()

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


def _not_writable(folder: Path, error: OSError) -> FashionTransferError:
    return FashionTransferError(
        f"cannot store features in {folder} ({error.strerror}): {ANOTHER_FOLDER}"
    )
