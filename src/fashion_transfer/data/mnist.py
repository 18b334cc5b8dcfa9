"""The MNIST digits, 10,000 test images: out-of-distribution for whoever was trained on clothing.

LeCun et al. 1998, "Gradient-based learning applied to document recognition". One file of them is
needed; `python -m fashion_transfer.data.mnist [DIR]` downloads it from torchvision's mirrors.
"""

import sys
from pathlib import Path
from shlex import quote

import numpy as np

from fashion_transfer.data.batch import Split
from fashion_transfer.data.idx_files import download_from, download_lock, locate, read_idx
from fashion_transfer.paths import user_path
from fashion_transfer.terminal import command

FILE = "t10k-images-idx3-ubyte"
MD5 = "2646ac647ad5339dbf082846283269ea"
"""Name of the file, and the MD5 of its uncompressed content."""

TORCHVISION_DIR = Path("MNIST", "raw")
"""Where torchvision's data set puts it, below its `root`."""


def mnist_split(directory: Path | str, check_md5: bool = True) -> Split | None:
    """Returns the test digits, grey, 28 x 28, all with the label -1; None without the file.

    They are in a random order that never changes: the first half of the file has the clearer ones.

    Args:
        directory: a folder that may hold the file, raw or `.gz`. It may also be torchvision's
            `root`, or beside the folder that torchvision keeps the file in.
        check_md5: refuse a file whose content is not the official one.

    Raises:
        FashionTransferError: the file is damaged, truncated, or not the official one.
    """
    path = _locate(user_path(directory))
    if path is None:
        return None
    images, md5 = read_idx(path, 3, MD5 if check_md5 else None, source=_command(directory))
    rows = np.random.default_rng(0).permutation(len(images))
    return Split("MNIST digits", images[:, None], np.full(len(images), -1), md5, rows)


def download_mnist(directory: Path | str) -> None:
    """Downloads the file, unless it is there.

    Raises:
        FashionTransferError: it is not there and could not be downloaded.
    """
    # Imported here: most runs find the file, or go without it, and do not need torchvision.
    from torchvision.datasets import MNIST

    directory = user_path(directory)
    if _locate(directory):
        return
    name = f"{FILE}.gz"
    with download_lock(directory):
        remedy = f"put {FILE} (raw or .gz) into {directory}"
        download_from(MNIST.mirrors, directory / name, dict(MNIST.resources)[name], remedy)


def _locate(directory: Path) -> Path | None:
    places = directory, directory / TORCHVISION_DIR, directory.parent / TORCHVISION_DIR
    return next((path for place in places if (path := locate(place, FILE))), None)


def _command(directory: Path | str) -> str:
    return f"run `python -m fashion_transfer.data.mnist {quote(str(directory))}`"


if __name__ == "__main__":
    with command():
        folder = sys.argv[1] if len(sys.argv) > 1 else "data/mnist"
        download_mnist(folder)
        digits = mnist_split(folder)
        assert digits is not None
        print(f"MNIST in {folder}: {len(digits)} test images")
