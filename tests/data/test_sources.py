"""Fashion-MNIST's files: found in the right order, checked, refused by name, downloaded whole."""

import gzip
import hashlib
import runpy
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from fashion_transfer.data import sources
from fashion_transfer.data.sources import CLASSES, MD5, find_files, load_split
from fashion_transfer.errors import FashionTransferError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def _no_system_files(tmp_path, monkeypatch):
    # A developer may have installed Debian's package: no result may depend on it.
    monkeypatch.setattr(sources, "SYSTEM_DIR", tmp_path / "system")


@pytest.fixture
def copied(idx_dir, tmp_path):
    return Path(shutil.copytree(idx_dir, tmp_path / "copied"))


@pytest.fixture
def mirror(site, gz_dir, monkeypatch):
    """The generated files on a local site that stands for torchvision's mirrors."""
    site.files = {path.name: path.read_bytes() for path in gz_dir.iterdir()}
    monkeypatch.setattr(FashionMNIST, "mirrors", [site.url])
    sums = {name: _md5(gzip.decompress(site.files[f"{name}.gz"])) for name in MD5}
    monkeypatch.setattr(sources, "MD5", sums)
    return site


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _assert_one_line(error: BaseException) -> None:
    assert "\n" not in str(error)


# Reading


def test_ten_classes_in_the_official_order():
    assert CLASSES[0] == "T-shirt/top"
    assert CLASSES[-1] == "Ankle boot"
    assert len(set(CLASSES)) == 10


@pytest.mark.parametrize(("train", "count"), [(True, 140), (False, 60)])
def test_reads_raw_and_gz_files(idx_dir, train, count):
    split = load_split(idx_dir, train, check_md5=False)
    assert split.images.shape == (count, 28, 28)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int64
    assert np.array_equal(np.bincount(split.labels), np.full(10, count // 10))


def test_compression_changes_neither_pixels_nor_md5(idx_dir, gz_dir):
    raw, compressed = (load_split(d, True, check_md5=False) for d in (idx_dir, gz_dir))
    assert np.array_equal(raw.images, compressed.images)
    assert raw.md5 == compressed.md5 == _md5((idx_dir / TRAIN_IMAGES).read_bytes())


def test_the_raw_file_is_preferred_to_the_gz_file(copied, write_idx):
    other = np.full((140, 28, 28), 7, np.uint8)
    write_idx(copied / f"{TRAIN_IMAGES}.gz", other)
    raw = load_split(copied, True, check_md5=False)
    assert not np.array_equal(raw.images, other)
    (copied / TRAIN_IMAGES).unlink()
    assert np.array_equal(load_split(copied, True, check_md5=False).images, other)


@pytest.mark.real_data
def test_official_files_are_read(real_data):
    training, test = load_split(real_data, True), load_split(real_data, False)
    assert training.images.shape == (60_000, 28, 28)
    assert np.array_equal(np.bincount(training.labels), np.full(10, 6000))
    assert test.images.shape == (10_000, 28, 28)
    assert np.array_equal(np.bincount(test.labels), np.full(10, 1000))
    assert training.md5 == MD5[TRAIN_IMAGES]


# Refusing


def test_unofficial_files_are_refused_by_name_with_both_sums(idx_dir):
    with pytest.raises(FashionTransferError) as caught:
        load_split(idx_dir, True)
    message = str(caught.value)
    assert str(idx_dir / TRAIN_IMAGES) in message
    assert MD5[TRAIN_IMAGES] in message
    assert _md5((idx_dir / TRAIN_IMAGES).read_bytes()) in message
    assert "make data" in message
    _assert_one_line(caught.value)


def test_wrong_labels_are_refused_too(copied, monkeypatch):
    images = _md5((copied / TRAIN_IMAGES).read_bytes())
    monkeypatch.setattr(sources, "MD5", MD5 | {TRAIN_IMAGES: images})
    with pytest.raises(FashionTransferError, match=f"{TRAIN_LABELS} is not the official file"):
        load_split(copied, True)


@pytest.mark.real_data
@pytest.mark.parametrize("kept", [0, 9, 5000, -1])
def test_truncated_official_gz_is_refused(real_data, tmp_path, kept):
    official = next(real_data.glob("t10k-labels-idx1-ubyte*"))
    content = official.read_bytes()
    if official.suffix != ".gz":
        content = gzip.compress(content)
    shutil.copytree(real_data, tmp_path / "cut", ignore=shutil.ignore_patterns("train*"))
    (tmp_path / "cut" / official.name).unlink()
    damaged = tmp_path / "cut" / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(content[:kept])
    with pytest.raises(FashionTransferError, match="make data") as caught:
        load_split(tmp_path / "cut", False)
    assert str(damaged) in str(caught.value)
    _assert_one_line(caught.value)


@pytest.mark.parametrize("kept", [0, 1, 9, 20, 1000, -8, -1])
def test_a_truncated_gz_is_refused_even_without_md5(gz_dir, tmp_path, kept):
    folder = shutil.copytree(gz_dir, tmp_path / "cut")
    damaged = folder / f"{TRAIN_IMAGES}.gz"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:kept])
    with pytest.raises(FashionTransferError) as caught:
        load_split(folder, True, check_md5=False)
    assert str(damaged) in str(caught.value)
    assert "make data" in str(caught.value)
    _assert_one_line(caught.value)


def test_a_flipped_byte_in_a_gz_is_refused_even_without_md5(gz_dir, tmp_path):
    folder = shutil.copytree(gz_dir, tmp_path / "flipped")
    damaged = folder / f"{TRAIN_IMAGES}.gz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    with pytest.raises(FashionTransferError, match="damaged"):
        load_split(folder, True, check_md5=False)


def test_a_web_page_saved_under_the_name_is_refused(copied):
    (copied / TRAIN_IMAGES).unlink()
    (copied / f"{TRAIN_IMAGES}.gz").write_bytes(b"<html>please log in</html>")
    with pytest.raises(FashionTransferError, match=f"{TRAIN_IMAGES}.gz is damaged"):
        load_split(copied, True)


@pytest.mark.parametrize("kept", [0, 3, 15, 16, -1])
def test_a_truncated_raw_file_is_refused_even_without_md5(copied, kept):
    path = copied / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FashionTransferError, match=f"{TRAIN_IMAGES} is .*make data"):
        load_split(copied, True, check_md5=False)


def test_a_raw_file_with_bytes_too_many_is_refused(copied):
    with (copied / TRAIN_IMAGES).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(FashionTransferError, match=TRAIN_IMAGES):
        load_split(copied, True, check_md5=False)


def test_images_where_labels_belong_are_refused(copied):
    shutil.copy(copied / TRAIN_IMAGES, copied / TRAIN_LABELS)
    with pytest.raises(FashionTransferError, match=f"{TRAIN_LABELS} is not an IDX file"):
        load_split(copied, True, check_md5=False)


def test_images_and_labels_of_different_number_are_refused(copied, write_idx):
    write_idx(copied / TRAIN_LABELS, np.zeros(139, np.uint8))
    with pytest.raises(FashionTransferError, match="140 train images but 139 labels"):
        load_split(copied, True, check_md5=False)


def test_labels_beyond_the_ten_classes_are_refused(copied, write_idx):
    write_idx(copied / TRAIN_LABELS, np.full(140, 26, np.uint8))
    with pytest.raises(FashionTransferError, match="go up to 26"):
        load_split(copied, True, check_md5=False)


def test_one_missing_file_is_named(copied):
    (copied / TRAIN_LABELS).unlink()
    with pytest.raises(FashionTransferError, match=f"{TRAIN_LABELS}.*missing.*make data"):
        load_split(copied, True, check_md5=False)


# Finding


def test_the_named_folder_comes_before_the_systems(copied, idx_dir, monkeypatch):
    monkeypatch.setattr(sources, "SYSTEM_DIR", idx_dir)
    assert find_files(copied, download=False) == copied
    assert find_files(str(copied), download=False) == copied


def test_the_systems_folder_is_used_when_the_named_one_is_not_complete(
    copied, idx_dir, monkeypatch
):
    (copied / TRAIN_LABELS).unlink()
    monkeypatch.setattr(sources, "SYSTEM_DIR", idx_dir)
    # With download allowed, too: what is on the disk is not downloaded.
    assert find_files(copied) == idx_dir
    assert find_files(copied / "not-there") == idx_dir
    assert not (copied / "not-there").exists()


def test_missing_files_without_download_say_where_and_what_to_do(tmp_path):
    with pytest.raises(FashionTransferError) as caught:
        find_files(tmp_path / "empty", download=False)
    message = str(caught.value)
    for part in (str(tmp_path / "empty"), str(sources.SYSTEM_DIR), "make data", *MD5):
        assert part in message
    assert not (tmp_path / "empty").exists()
    _assert_one_line(caught.value)


# Downloading, from a server on this machine


def test_all_four_files_are_downloaded(mirror, gz_dir, tmp_path):
    folder = find_files(tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data"
    for path in gz_dir.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert len(load_split(folder, True).labels) == 140
    assert not list(folder.glob("*.partial"))
    mirror.requests.clear()
    assert find_files(folder) == folder
    assert mirror.requests == []


def test_only_what_is_missing_is_downloaded(mirror, copied):
    (copied / TRAIN_LABELS).unlink()
    find_files(copied)
    assert mirror.requests == [f"GET {TRAIN_LABELS}.gz"]


def test_the_second_mirror_helps_when_the_first_does_not(mirror, closed_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [closed_url, mirror.url])
    assert len(load_split(find_files(tmp_path / "data"), True).labels) == 140


def test_an_interrupted_download_leaves_nothing_half_written(mirror, gz_dir, tmp_path):
    cut = f"{TRAIN_LABELS}.gz"
    mirror.cut = {cut}
    with pytest.raises(FashionTransferError) as caught:
        find_files(tmp_path / "data")
    assert f"{mirror.url}{cut}" in str(caught.value)
    _assert_one_line(caught.value)
    for path in (tmp_path / "data").glob("*-ubyte*"):
        assert path.read_bytes() == (gz_dir / path.name).read_bytes()
    # The next attempt takes up what is there.
    mirror.cut, mirror.requests = set(), []
    assert len(load_split(find_files(tmp_path / "data"), True).labels) == 140
    assert f"GET {TRAIN_IMAGES}.gz" not in mirror.requests


def test_leftovers_of_a_killed_download_are_removed(mirror, tmp_path):
    (tmp_path / "data").mkdir()
    leftover = tmp_path / "data" / f"{TRAIN_IMAGES}.gz.0123abcd.partial"
    leftover.write_bytes(b"half")
    find_files(tmp_path / "data")
    assert not leftover.exists()


def test_a_file_the_mirror_does_not_have_is_named(mirror, tmp_path):
    del mirror.files["t10k-images-idx3-ubyte.gz"]
    with pytest.raises(FashionTransferError) as caught:
        find_files(tmp_path / "data")
    message = str(caught.value)
    for part in (f"{mirror.url}t10k-images-idx3-ubyte.gz", str(tmp_path / "data"), *MD5):
        assert part in message
    _assert_one_line(caught.value)


def test_a_mirror_that_talks_nonsense_is_an_error_of_one_line(nonsense_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [nonsense_url])
    with pytest.raises(FashionTransferError, match=nonsense_url) as caught:
        find_files(tmp_path / "data")
    _assert_one_line(caught.value)


def test_an_unreachable_mirror_fails_at_once_and_leaves_no_file(closed_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [closed_url])
    timeout = socket.getdefaulttimeout()
    start = time.monotonic()
    with pytest.raises(FashionTransferError, match=f"could not download {closed_url}") as caught:
        find_files(tmp_path / "data")
    assert time.monotonic() - start < 10
    _assert_one_line(caught.value)
    assert not list((tmp_path / "data").glob("*-ubyte*"))
    assert socket.getdefaulttimeout() == timeout


def test_a_silent_mirror_is_given_up_on(silent_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [silent_url])
    patience = []

    def shorter(seconds, real=socket.setdefaulttimeout):
        patience.append(seconds)
        real(None if seconds is None else min(seconds, 0.2))

    monkeypatch.setattr(socket, "setdefaulttimeout", shorter)
    with pytest.raises(FashionTransferError, match="timed out"):
        find_files(tmp_path / "data")
    # Whatever the wait is, there is one, and the process gets its own setting back.
    assert 0 < patience[0] <= 30
    assert patience[-1] is None


def test_two_runs_at_once_download_each_file_once(mirror, gz_dir, tmp_path):
    # Threads stand for processes: the lock is on the open file, of which each has its own.
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(find_files(tmp_path / "data")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == [tmp_path / "data"] * 2
    assert sorted(mirror.requests) == sorted(f"GET {name}.gz" for name in MD5)
    for path in gz_dir.iterdir():
        assert (tmp_path / "data" / path.name).read_bytes() == path.read_bytes()


def test_a_file_where_the_folder_should_be_is_an_error_of_one_line(mirror, tmp_path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(FashionTransferError, match=str(tmp_path / "data")) as caught:
        find_files(tmp_path / "data")
    _assert_one_line(caught.value)


def test_a_folder_that_cannot_be_written_is_an_error_of_one_line(
    mirror, read_only_dir, monkeypatch
):
    monkeypatch.setattr(sources, "SYSTEM_DIR", read_only_dir.path / "system")
    read_only_dir.protect()
    with pytest.raises(FashionTransferError, match=str(read_only_dir.path)) as caught:
        find_files(read_only_dir.path)
    _assert_one_line(caught.value)


# The command behind `make data`


@pytest.mark.real_data
def test_the_command_says_where_the_files_are(real_data, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["data", str(real_data)])
    runpy.run_module("fashion_transfer.data", run_name="__main__")
    expected = f"Fashion-MNIST in {real_data}: 60000 training and 10000 test images\n"
    assert capsys.readouterr().out == expected


def test_the_command_says_why_not_in_one_line(closed_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [closed_url])
    monkeypatch.setattr(sys, "argv", ["data", str(tmp_path / "data")])
    with pytest.raises(SystemExit, match=f"^error: could not download {closed_url}"):
        runpy.run_module("fashion_transfer.data", run_name="__main__")
