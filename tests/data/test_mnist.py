"""The MNIST digits: read where they are, downloaded once, damaged files rejected by name."""

import gzip
import hashlib
import runpy
import shutil
import sys

import numpy as np
import pytest
from torchvision.datasets import MNIST

from fashion_transfer.data import mnist
from fashion_transfer.data.mnist import FILE, download_mnist, mnist_split
from fashion_transfer.errors import FashionTransferError

DIGITS = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def folder(tmp_path, write_idx):
    """A folder with a file of twelve digits."""
    (tmp_path / "mnist").mkdir()
    write_idx(tmp_path / "mnist" / FILE, DIGITS)
    return tmp_path / "mnist"


@pytest.fixture
def mirror(site, folder, monkeypatch):
    """The generated file on a local site that stands for torchvision's mirrors."""
    content = (folder / FILE).read_bytes()
    site.files = {f"{FILE}.gz": gzip.compress(content)}
    monkeypatch.setattr(MNIST, "mirrors", [f"{site.url}nothing/", site.url])
    monkeypatch.setattr(MNIST, "resources", [(f"{FILE}.gz", md5(site.files[f"{FILE}.gz"]))])
    monkeypatch.setattr(mnist, "MD5", md5(content))
    return site


def test_digits_are_a_split_without_classes_in_an_order_that_never_changes(folder):
    split = mnist_split(folder, check_md5=False)
    assert len(split) == 12
    assert set(split.labels) == {-1}
    assert sorted(split.rows) == list(range(12))
    assert split.rows.tolist() == mnist_split(str(folder), check_md5=False).rows.tolist()
    assert split.rows.tolist() != list(range(12))
    [first] = split.read(split.rows[:1])
    assert np.array_equal(first, DIGITS[split.rows[:1]])
    assert split.fingerprint == md5((folder / FILE).read_bytes())


def test_without_the_file_there_is_no_split(tmp_path):
    assert mnist_split(tmp_path) is None
    assert mnist_split(tmp_path / "nowhere") is None


@pytest.mark.parametrize("named", [".", "mnist", "MNIST/raw"])
def test_file_that_torchvision_downloaded_is_found_and_not_downloaded_again(
    mirror, folder, tmp_path, named
):
    root = tmp_path / "torchvision"
    (root / "MNIST" / "raw").mkdir(parents=True)
    shutil.copy(folder / FILE, root / "MNIST" / "raw")
    download_mnist(root / named)
    assert mirror.requests == []
    assert len(mnist_split(root / named)) == 12


def test_unofficial_and_damaged_files_are_rejected_with_what_helps(folder):
    with pytest.raises(FashionTransferError, match="not the official file") as error:
        mnist_split(folder)
    assert f"python -m fashion_transfer.data.mnist {folder}" in str(error.value)
    (folder / FILE).unlink()
    (folder / f"{FILE}.gz").write_bytes(b"<html>")
    with pytest.raises(FashionTransferError, match="is damaged"):
        mnist_split(folder)


def test_download_comes_from_the_first_mirror_that_has_it_and_only_once(mirror, tmp_path):
    new = tmp_path / "new" / "mnist"
    download_mnist(new)
    assert len(mnist_split(new)) == 12
    before = len(mirror.requests)
    download_mnist(new)
    assert len(mirror.requests) == before


def test_failing_download_names_the_file_to_bring(tmp_path, closed_url, monkeypatch):
    monkeypatch.setattr(MNIST, "mirrors", [closed_url])
    with pytest.raises(FashionTransferError, match=f"put {FILE} .* into {tmp_path}"):
        download_mnist(tmp_path)
    assert mnist_split(tmp_path) is None


def test_command_downloads_or_says_why_not(mirror, tmp_path, monkeypatch, capsys):
    def command(folder) -> None:
        monkeypatch.setattr(sys, "argv", ["mnist", str(folder)])
        monkeypatch.delitem(sys.modules, "fashion_transfer.data.mnist", raising=False)
        runpy.run_module("fashion_transfer.data.mnist", run_name="__main__")

    with pytest.raises(SystemExit, match="not the official file"):  # it has the official sum
        command(tmp_path / "new")
    monkeypatch.setattr(MNIST, "mirrors", [])
    with pytest.raises(SystemExit, match="error: .*put t10k"):
        command(tmp_path / "other")
