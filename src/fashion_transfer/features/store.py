"""The feature store: what the frozen backbone computed for images, on disk.

A folder holds the features of one source of images under one view, one pair of files per node:
`NODE.npy`, float16, with a row for every image of the source, and `NODE.crc.npy`, with a checksum
per row. The first is sparse: rows that were never written take no space. A row counts only if its
checksum is there and fits, and the checksum is written after the row: at whatever moment a run is
killed, a row is either whole or absent. A larger subset fills further rows.

Content-addressed images, which have a key each instead of a place in a source, share one folder per
view. There `keys.bin` lists the keys, in the order of the rows (see `key_index`).
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.table import ANOTHER_FOLDER, FeatureTable
from fashion_transfer.features.usage import mark_used, unused
from fashion_transfer.files import Lock, default_cache_dir, remove_temporary, write_text
from fashion_transfer.paths import user_path

log = logging.getLogger(__name__)


class FeatureStore:
    """Folders of features, each named by a hash of all that determines what is in it.

    Args:
        directory: where; None: `default_cache_dir()`.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = user_path(directory or default_cache_dir()) / "features"

    def path(self, key: Mapping[str, Any]) -> Path:
        """Returns the folder of a key of JSON types, whether it is there or not."""
        text = json.dumps(key, sort_keys=True)
        return self.directory / hashlib.sha256(text.encode()).hexdigest()[:16]

    def folder(self, key: Mapping[str, Any]) -> Path:
        """Returns the folder of a key of JSON types, with a `key.json` that holds the key.

        Raises:
            FashionTransferError: the folder cannot be written.
        """
        folder = self.path(key)
        if not (folder / "key.json").is_file():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_text(folder / "key.json", json.dumps(key, sort_keys=True, indent=2) + "\n")
            except OSError as error:
                raise _not_writable(folder, error) from error
        return folder

    def open(
        self, key: Mapping[str, Any], widths: Mapping[str, int], source_size: int | None
    ) -> FeatureTable:
        """Returns the table of a key, and notes that its folder is in use as long as it exists.

        Args:
            key: of the folder.
            widths: see `FeatureTable`.
            source_size: likewise.

        Raises:
            FashionTransferError: the folder cannot be written.
        """
        while True:
            folder = self.folder(key)
            table = FeatureTable(folder, widths, source_size)
            if mark_used(folder, table):
                return table

    @contextmanager
    def lock(self, folder: Path, doing: str = "computes these features") -> Iterator[None]:
        """Holds a folder's lock: a second run waits for it, and a killed run releases it.

        Args:
            folder: of a key.
            doing: what another run does that holds it, for the log.

        Raises:
            FashionTransferError: the folder cannot be written.
        """
        lock = Lock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another run %s: waiting for it", doing)
            lock.acquire()
        except OSError as error:
            raise _not_writable(folder, error) from error
        try:
            remove_temporary(folder.glob(".*.npy"))
            yield
        finally:
            lock.release()

    def entries(self) -> list[tuple[Path, dict[str, Any], int]]:
        """Returns every folder with its key and the bytes it takes on disk, largest first.

        A key that cannot be read is empty.
        """
        entries = []
        for path in self.directory.glob("*/key.json"):
            size = disk_usage(path.parent)
            try:
                key = json.loads(path.read_bytes())
            except ValueError:
                key = {}
            entries.append((path.parent, key if isinstance(key, dict) else {}, size))
        return sorted(entries, key=lambda entry: -entry[2])

    def is_unused(self, folder: Path) -> bool:
        """Returns whether no run uses a folder."""
        with unused(folder) as is_unused:
            return is_unused

    def remove(self, folder: Path) -> bool:
        """Deletes one folder, unless a run uses it; returns whether it did."""
        with unused(folder) as is_unused:
            if is_unused:
                shutil.rmtree(folder)
        return is_unused


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


def disk_usage(folder: Path) -> int:
    """Returns the bytes that all files in a folder take on disk."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def kernel_dir(store: FeatureStore) -> Path:
    """Returns where torch caches the kernels compiled for the backbone, beside the features."""
    return store.directory.parent / "compiled-kernels"


def _not_writable(folder: Path, error: OSError) -> FashionTransferError:
    return FashionTransferError(
        f"cannot store features in {folder} ({error.strerror}): {ANOTHER_FOLDER}"
    )
