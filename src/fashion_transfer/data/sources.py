"""The official Fashion-MNIST files: found, downloaded, checked and read."""

import gzip
import hashlib
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from fashion_transfer.errors import FashionTransferError

log = logging.getLogger(__name__)

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# MD5 of the *uncompressed* content: distributions recompress the files, so sums of the .gz differ.
MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}

SYSTEM_DIR = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the four files."""


class Split(NamedTuple):
    """The images and labels of one official file pair.

    Attributes:
        images: uint8, (N, 28, 28), 0 is the background.
        labels: int64, (N,), indices into `CLASSES`.
        md5: of the uncompressed image file; names the pixels in the feature store's keys.
    """

    images: np.ndarray
    labels: np.ndarray
    md5: str


def find_files(directory: Path | str, download: bool = True) -> Path:
    """The first folder that holds all four files: `directory`, the system's, or a download.

    Args:
        directory: where the files are looked for first and downloaded to.
        download: whether to try torchvision's mirrors when they are nowhere.

    Raises:
        FashionTransferError: the files are not there and could not be downloaded.
    """
    directory = Path(directory)
    for candidate in (directory, SYSTEM_DIR):
        if all(_locate(candidate, name) for name in MD5):
            return candidate
    if not download:
        raise FashionTransferError(
            f"no Fashion-MNIST files in {directory} or {SYSTEM_DIR}: run `make data`, or put "
            f"{', '.join(MD5)} (raw or .gz) into {directory}"
        )
    _download(directory)
    return directory


def load_split(directory: Path, train: bool, check_md5: bool = True) -> Split:
    """Reads the training (60,000) or the test (10,000) file pair, raw or `.gz`.

    Args:
        directory: a folder that holds the files.
        train: the training pair, else the test pair.
        check_md5: refuse files whose content is not the official one. Turn it off for another
            data set in the same format.

    Raises:
        FashionTransferError: a file is damaged, truncated, or not the official one.
    """
    prefix = "train" if train else "t10k"
    images, md5 = _read_idx(directory, f"{prefix}-images-idx3-ubyte", 3, check_md5)
    labels, _ = _read_idx(directory, f"{prefix}-labels-idx1-ubyte", 1, check_md5)
    if len(images) != len(labels):
        raise FashionTransferError(
            f"{directory}: {len(images)} {prefix} images but {len(labels)} labels: the two files "
            "do not belong together"
        )
    if len(labels) and labels.max() >= len(CLASSES):
        raise FashionTransferError(
            f"{directory}: the {prefix} labels go up to {labels.max()}, expected 0 to "
            f"{len(CLASSES) - 1}: is this another data set?"
        )
    return Split(images, labels.astype(np.int64), md5)


def _locate(directory: Path, name: str) -> Path | None:
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _read_idx(
    directory: Path, name: str, dimensions: int, check_md5: bool
) -> tuple[np.ndarray, str]:
    path = _locate(directory, name)
    if path is None:
        raise FashionTransferError(f"{directory / name} (or .gz) is missing: run `make data`")
    mend = "delete it and run `make data`, or put a fresh copy there"
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise FashionTransferError(f"{path} is damaged ({error}): {mend}") from error
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if check_md5 and md5 != MD5[name]:
        raise FashionTransferError(
            f"{path} is not the official file (MD5 of its content is {md5}, expected {MD5[name]}): "
            f"{mend}"
        )
    # IDX: two zero bytes, 8 (unsigned bytes), the number of dimensions, each as a big-endian int32.
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise FashionTransferError(f"{path} is not an IDX file of unsigned bytes: {mend}")
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    if len(content) != header + int(np.prod(shape, dtype=np.int64)):
        raise FashionTransferError(f"{path} is truncated ({len(content)} bytes): {mend}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy(), md5


def _download(directory: Path) -> None:
    # torchvision is imported here: most runs find the files and do not need it.
    import socket

    from torchvision.datasets import FashionMNIST

    with _lock(directory):  # two runs that start at once: the second one waits
        for leftover in directory.glob("*.partial"):  # of a download that was killed
            leftover.unlink()
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(10)  # torch.hub sets none, and a silent mirror would hang
        try:
            for name in MD5:
                if not _locate(directory, name):
                    _download_one(directory, f"{name}.gz", FashionMNIST.mirrors)
        finally:
            socket.setdefaulttimeout(timeout)


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    lock = FileLock(directory / ".lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise FashionTransferError(
            f"cannot download to {directory} ({error.strerror}): name a folder that can be written "
            "with data.dir=DIR"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _download_one(directory: Path, name: str, mirrors: list[str]) -> None:
    from torch.hub import download_url_to_file

    failures = []
    for mirror in mirrors:
        url = f"{mirror}{name}"
        log.info("downloading %s", url)
        try:
            # Renamed once it is known to be whole: a connection that breaks off is no error to
            # torch.hub, which checks no length.
            partial = directory / f"{name}.partial"
            download_url_to_file(url, str(partial))
            gzip.decompress(partial.read_bytes())
            partial.replace(directory / name)
            return
        except (OSError, EOFError, zlib.error, HTTPException) as error:
            failures.append(f"{url} ({str(getattr(error, 'reason', error)).strip()})")
            partial.unlink(missing_ok=True)
    raise FashionTransferError(
        f"could not download {'; '.join(failures)}: put {', '.join(MD5)} (raw or .gz) into "
        f"{directory}, or install Debian's package dataset-fashion-mnist"
    )
