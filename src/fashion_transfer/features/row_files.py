"""Sparse .npy files that are written row by row, in place."""

import errno
import io
import os
import zlib
from pathlib import Path

import numpy as np

from fashion_transfer.files import atomic_path


def checksum(row: np.ndarray, owner: bytes = b"") -> int:
    """Returns the checksum of a row, above 0.

    Args:
        row: the numbers.
        owner: whose row it is, where the row's place alone does not determine that.
    """
    return zlib.crc32(row.tobytes(), zlib.crc32(owner)) or 1  # 0 stands for no row


def open_rows(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray | None:
    """Opens a file read-only, memory-mapped; None if it is absent or anything else than expected.

    Args:
        path: the file.
        shape: number of rows first.
        dtype: of the numbers.
    """
    # The file must be, byte for byte in size and header, as `create_rows` writes it: numpy's reader
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


def create_rows(path: Path, shape: tuple[int, ...], dtype: type) -> None:
    """Creates a file, all zeros, where it is absent or damaged.

    Args:
        path: the file.
        shape: number of rows first.
        dtype: of the numbers.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    if open_rows(path, shape, dtype) is not None:
        return
    header = _header(shape, np.dtype(dtype))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + _size(shape, np.dtype(dtype)))


def write_rows(path: Path, size: int, rows: np.ndarray, values: np.ndarray) -> None:
    """Writes some rows in place; creates the file, all zeros, where it is absent or damaged.

    Args:
        path: the file.
        size: how many rows it has.
        rows: int64, (B,), which to write.
        values: their content, (B, …).

    Raises:
        OSError: the disk is full or cannot be written.
    """
    shape = (size, *values.shape[1:])
    create_rows(path, shape, values.dtype.type)
    # pwrite and not a memory map: a full disk is then an error and not a crash.
    descriptor = os.open(path, os.O_RDWR)
    try:
        offset = len(_header(shape, values.dtype))
        for row, value in zip(rows.tolist(), values, strict=True):
            data = value.tobytes()
            write_at(descriptor, data, offset + row * len(data))
    finally:
        os.close(descriptor)


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Writes all of some bytes at a place of an open file.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    if os.pwrite(descriptor, data, offset) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """Returns the bytes that a .npy file of this shape begins with."""
    buffer = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _size(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(shape)) * dtype.itemsize
