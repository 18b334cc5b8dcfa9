"""The official Fashion-MNIST files: located, downloaded, checked and read."""

import gzip
import hashlib
import logging
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import Lock, download
from fashion_transfer.paths import user_path

log = logging.getLogger(__name__)

# MD5 of the *uncompressed* content: distributions recompress the files, so sums of the .gz differ.
MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}

SYSTEM_DIR = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the four files."""

TORCHVISION_DIR = Path("FashionMNIST", "raw")
"""Where torchvision's data set puts them, below its `root`."""

_reading = threading.Lock()
"""Who wants what another thread is reading waits for it, and reads nothing."""

_OTHERS = "set check_md5=false for another data set in this format; or "


class IdxPair(NamedTuple):
    """The images and labels of one pair of files.

    Attributes:
        images: uint8, (N, 28, 28), 0 is the background.
        labels: int64, (N,).
        md5: of the uncompressed image file.
    """

    images: np.ndarray
    labels: np.ndarray
    md5: str


def find_files(directory: Path | str, download: bool = True, official: bool = True) -> Path:
    """The first folder that holds all four files: `directory`, others' places, or a download.

    Args:
        directory: where the files are looked for first and downloaded to. After it come the
            folder below it that torchvision keeps them in, and that of Debian's package.
        download: whether to try torchvision's mirrors if they are in none of these.
        official: whether the official files are wanted; no others are downloaded, or taken from
            Debian's package where one of their own is missing.

    Raises:
        FashionTransferError: the files are not there and could not be downloaded.
    """
    directory = user_path(directory)
    below = directory / TORCHVISION_DIR
    for candidate in (directory, below, SYSTEM_DIR) if official else (directory, below):
        if all(locate(candidate, name) for name in MD5):
            return candidate
    if not official:
        missing = [name for name in MD5 if not locate(directory, name)]
        raise FashionTransferError(
            f"{', '.join(missing)} (raw or .gz) must be in {directory}, beside the others of this "
            "data set: put them there, or set check_md5=true for the official files"
        )
    if not download:
        raise FashionTransferError(
            f"no Fashion-MNIST files in {directory} or {SYSTEM_DIR}: run `make data`, or put "
            f"{', '.join(MD5)} (raw or .gz) into {directory}"
        )
    _download_missing(directory)
    return directory


def load_pair(directory: Path | str, train: bool, check_md5: bool = True) -> IdxPair:
    """Reads the training (60,000) or the test (10,000) pair of files, raw or `.gz`.

    Args:
        directory: a folder that holds the files.
        train: the training pair, else the test pair.
        check_md5: refuse files whose content is not the official one. Turn it off for another
            data set in the same format.

    Raises:
        FashionTransferError: a file is damaged, truncated, or not the official one.
    """
    directory = user_path(directory)
    prefix = "train" if train else "t10k"
    names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    paths = [_existing(Path(directory), name) for name in names]
    (images, md5), (labels, _) = (
        read_idx(path, dimensions, MD5[name] if check_md5 else None, otherwise=_OTHERS)
        for path, name, dimensions in zip(paths, names, (3, 1), strict=True)
    )
    if len(images) != len(labels):
        raise FashionTransferError(
            f"{paths[0]} has {len(images)} images but {paths[1]} has {len(labels)} labels: the two "
            "files do not belong together"
        )
    return IdxPair(images, labels.astype(np.int64), md5)


def locate(directory: Path, name: str) -> Path | None:
    """The raw or the `.gz` file of a name in a folder; None where neither is."""
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _existing(directory: Path, name: str) -> Path:
    path = locate(directory, name)
    if path is None:
        raise FashionTransferError(f"{directory / name} (or .gz) is missing: run `make data`")
    return path


def read_idx(
    path: Path,
    dimensions: int,
    expected_md5: str | None = None,
    source: str = "run `make data`",
    otherwise: str = "",
) -> tuple[np.ndarray, str]:
    """Reads an IDX file of unsigned bytes, raw or `.gz`.

    Args:
        path: of the file.
        dimensions: of the array in it.
        expected_md5: of its uncompressed content; None: any.
        source: what gets the file anew, for errors.
        otherwise: what to do where another file than the expected one is meant, for errors.

    Returns:
        The array, uint8, and the MD5 of the uncompressed content.

    Raises:
        FashionTransferError: the file is damaged, truncated, or not the expected one.
    """
    remedy = f"delete it and {source}, or put a fresh copy there"
    try:
        status = path.stat()
        with _reading:
            content, md5 = _content(path.resolve(), status.st_size, status.st_mtime_ns)
    except (OSError, EOFError, zlib.error) as error:
        raise FashionTransferError(f"{path} is damaged ({error}): {remedy}") from error
    if expected_md5 not in (None, md5):
        raise FashionTransferError(
            f"{path} is not the official file (MD5 of its content is {md5}, expected "
            f"{expected_md5}): {otherwise}{remedy}"
        )
    # IDX: two zero bytes, 8 (unsigned bytes), the number of dimensions, each as a big-endian int32.
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise FashionTransferError(f"{path} is not an IDX file of unsigned bytes: {remedy}")
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    if len(content) != header + int(np.prod(shape, dtype=np.int64)):
        raise FashionTransferError(f"{path} is truncated ({len(content)} bytes): {remedy}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy(), md5


@lru_cache(maxsize=4)  # both pairs of files: each job of a sweep reads them again
def _content(path: Path, size: int, modified: int) -> tuple[bytes, str]:
    """The uncompressed content of a file with this size and time, and its MD5."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    return content, hashlib.md5(content, usedforsecurity=False).hexdigest()


def _download_missing(directory: Path) -> None:
    # Imported here: most runs find the files and do not need torchvision.
    from torchvision.datasets import FashionMNIST

    with download_lock(directory):  # two runs that start at once: the second one waits
        for name, md5 in FashionMNIST.resources:
            if not locate(directory, name.removesuffix(".gz")):
                remedy = (
                    f"put {', '.join(MD5)} (raw or .gz) into {directory}, or install Debian's "
                    "package dataset-fashion-mnist"
                )
                download_from(FashionMNIST.mirrors, directory / name, md5, remedy)


@contextmanager
def download_lock(directory: Path) -> Iterator[None]:
    """Creates a folder and holds its lock, for a download into it.

    Raises:
        FashionTransferError: the folder cannot be written.
    """
    lock = Lock(directory / ".lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise FashionTransferError(
            f"cannot download to {directory} ({error.strerror}): name a folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def download_from(mirrors: Sequence[str], path: Path, md5: str, remedy: str) -> None:
    """Downloads a file from the first mirror that has it.

    Args:
        mirrors: addresses of folders, with a slash at the end.
        path: of the file to write, with the name it has there.
        md5: of the file as it is there.
        remedy: what to do where none has it, for the error.

    Raises:
        FashionTransferError: no mirror has it.
    """
    failures = []
    for mirror in mirrors:
        try:
            log.info("downloading %s%s", mirror, path.name)
            download(f"{mirror}{path.name}", path, f"md5:{md5}")
            return
        except FashionTransferError as error:
            failures.append(str(error))
    raise FashionTransferError(f"{'; '.join(failures)}: {remedy}")
