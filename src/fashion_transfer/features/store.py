"""The feature store: what the frozen backbone said about an image, kept on disk.

A folder holds the features of one image file under one view number, one pair of files for each
pooled stage: `STAGE.npy`, float16, a row for every image of the file, and `STAGE.crc.npy`, a
checksum a row. The first is sparse: rows that nobody asked for take no space. A row counts only
if its checksum is there and fits, and the checksum is written after the row: whatever moment a
run is killed at, a row is either whole or absent. Growing fills further rows.
"""

import errno
import hashlib
import io
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from fashion_transfer.errors import FashionTransferError

log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """`$FASHION_TRANSFER_CACHE`, else `fashion-transfer` in the user's cache folder."""
    given = os.environ.get("FASHION_TRANSFER_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "fashion-transfer"


class FeatureTable:
    """Rows of features in one folder of the store, for one or more pooled stages.

    Args:
        folder: where the files are, or will be.
        stages: width of each pooled stage, by name; side by side they make up a feature.
        rows: how many images the image file has.

    Attributes:
        kind: what a batch should call its rows: "features", or "maps" if there are some among them.
    """

    def __init__(self, folder: Path, stages: Mapping[str, int], rows: int) -> None:
        self.folder = folder
        self.stages = dict(stages)
        self.rows = rows
        self.kind = "maps" if any(name.endswith("@map") for name in stages) else "features"
        self._features: dict[str, np.ndarray] = {}

    def missing(self, indices: np.ndarray) -> np.ndarray:
        """Those of `indices` that have no row, or a damaged one, in some stage."""
        absent = np.zeros(len(indices), dtype=bool)
        for stage, width in self.stages.items():
            features = _open(self._path(stage), (self.rows, width), np.float16)
            sums = _open(self._path(stage, ".crc"), (self.rows,), np.uint32)
            if features is None or sums is None:
                return indices
            present = np.asarray(sums[indices])
            found = np.array([_checksum(features[i]) for i in indices], dtype=np.uint32)
            damaged = (present != 0) & (found != present)
            if damaged.any():
                log.warning(
                    "%d damaged features in %s will be computed again",
                    damaged.sum(),
                    self._path(stage),
                )
            absent |= found != present
        return indices[absent]

    def write(self, indices: np.ndarray, features: Mapping[str, Tensor]) -> None:
        """Writes rows, each before its checksum.

        Args:
            indices: int64, (B,).
            features: float, (B, C), by stage.

        Raises:
            FashionTransferError: the disk is full or cannot be written.
        """
        try:
            for stage, values in features.items():
                rows = values.to(torch.float16).cpu().numpy()
                sums = np.array([_checksum(row) for row in rows], dtype=np.uint32)
                _write_rows(self._path(stage), self.rows, indices, rows)
                _write_rows(self._path(stage, ".crc"), self.rows, indices, sums)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
            raise FashionTransferError(
                f"cannot keep features in {self.folder} ({reason}): free some space (`make cache` "
                "lists what is kept) or name another folder with paths.cache=DIR; what was "
                "finished is kept"
            ) from error

    def gather(self, indices: np.ndarray) -> Tensor:
        """The rows at `indices`, stages side by side: float32, (B, D), read memory-mapped."""
        if not self._features:
            for stage, width in self.stages.items():
                features = _open(self._path(stage), (self.rows, width), np.float16)
                if features is None:
                    raise FashionTransferError(
                        f"{self._path(stage)} has vanished or was damaged: run again to compute it"
                    )
                self._features[stage] = features
        parts = [self._features[stage][indices] for stage in self.stages]
        return torch.from_numpy(np.concatenate(parts, axis=1)).float()

    def _path(self, stage: str, kind: str = "") -> Path:
        return self.folder / f"{stage}{kind}.npy"


class FeatureStore:
    """Folders of features, each named by a hash of all that determines what is in it.

    Args:
        directory: where; None: `default_cache_dir()`.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = Path(directory or default_cache_dir()) / "features"

    def folder(self, key: Mapping[str, Any]) -> Path:
        """The folder that belongs to a key of JSON types; `key.json` in it says the key."""
        text = json.dumps(key, sort_keys=True)
        folder = self.directory / hashlib.sha256(text.encode()).hexdigest()[:16]
        if not (folder / "key.json").is_file():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                scratch = folder / f".key.{os.getpid()}"
                scratch.write_text(json.dumps(key, sort_keys=True, indent=2) + "\n")
                scratch.replace(folder / "key.json")
            except OSError as error:
                raise FashionTransferError(
                    f"cannot keep features in {folder} ({error.strerror}): name a folder that can "
                    "be written with paths.cache=DIR"
                ) from error
        return folder

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Held by the run that fills a folder; a second run waits. A killed run lets go of it."""
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another run computes these features: waiting for it")
            lock.acquire()
        except OSError as error:
            raise FashionTransferError(
                f"cannot keep features in {folder} ({error.strerror}): name a folder that can be "
                "written with paths.cache=DIR"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def entries(self) -> list[tuple[Path, dict[str, Any], int]]:
        """Every folder with its key and the bytes it takes on disk, largest first."""
        found = []
        for key in self.directory.glob("*/key.json"):
            size = sum(file.stat().st_blocks * 512 for file in key.parent.iterdir())
            found.append((key.parent, json.loads(key.read_text()), size))
        return sorted(found, key=lambda entry: -entry[2])

    def remove(self, folder: Path) -> None:
        """Deletes one folder, once no run fills it."""
        with self.lock(folder):
            shutil.rmtree(folder)


def kernel_dir(store: FeatureStore) -> Path:
    """Where torch keeps the kernels it compiled for the backbone, beside the features."""
    return store.directory.parent / "compiled-kernels"


def _checksum(row: np.ndarray) -> int:
    return zlib.crc32(row.tobytes()) or 1  # 0 stands for: no such row


def _open(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
    # The file must be, byte for byte in size and header, as `_create` writes it: numpy's reader
    # follows a damaged header to wrong places.
    header = _header(shape, np.dtype(dtype))
    try:
        with path.open("rb") as file:
            if file.read(len(header)) != header:
                return None
            if path.stat().st_size != len(header) + _size(shape, np.dtype(dtype)):
                return None
            mapped = np.memmap(file, dtype, "r", offset=len(header), shape=shape)
    except OSError:
        return None
    return np.asarray(mapped)  # indexing a memmap row by row is slow


def _write_rows(path: Path, rows: int, indices: np.ndarray, values: np.ndarray) -> None:
    shape = (rows, *values.shape[1:])
    if _open(path, shape, values.dtype.type) is None:
        _create(path, shape, values.dtype)
    # pwrite and not a memory map: a full disk is then an error and not a crash.
    descriptor = os.open(path, os.O_RDWR)
    try:
        offset = len(_header(shape, values.dtype))
        for index, row in zip(indices.tolist(), values, strict=True):
            data = row.tobytes()
            if os.pwrite(descriptor, data, offset + index * len(data)) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _create(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    header = _header(shape, dtype)
    with scratch.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + _size(shape, dtype))
    scratch.replace(path)


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """What a .npy file of this shape begins with."""
    buffer = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(shape)) * dtype.itemsize
