"""Fashion-MNIST's files: looked for in order, checked, rejected by name, downloaded whole."""

import gzip
import hashlib
import re
import runpy
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import FashionMNIST

from fashion_transfer import files
from fashion_transfer.data import idx_files
from fashion_transfer.data.idx_files import MD5, find_files, load_pair
from fashion_transfer.errors import FashionTransferError

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"


@pytest.fixture(autouse=True)
def _no_system_files(tmp_path, monkeypatch):
    # A developer may have installed Debian's package: no result may depend on it.
    monkeypatch.setattr(idx_files, "SYSTEM_DIR", tmp_path / "system")


@pytest.fixture
def copied(idx_dir, tmp_path):
    return Path(shutil.copytree(idx_dir, tmp_path / "copied"))


@pytest.fixture
def mirror(site, gz_dir, monkeypatch):
    """The generated files on a local site that stands for torchvision's mirrors."""
    site.files = {path.name: path.read_bytes() for path in gz_dir.iterdir()}
    monkeypatch.setattr(FashionMNIST, "mirrors", [site.url])
    resources = [(f"{name}.gz", md5(site.files[f"{name}.gz"])) for name in MD5]
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    official = {name: md5(gzip.decompress(site.files[f"{name}.gz"])) for name in MD5}
    monkeypatch.setattr(idx_files, "MD5", official)
    return site


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def downloads(site) -> list[str]:
    """Files that were asked for; that the site answers is asked apart."""
    return [name.removeprefix("GET ") for name in site.requests if name.startswith("GET ")]


def rejected(function, *args, **options) -> str:
    """The message, one line, of the error that a call raises."""
    with pytest.raises(FashionTransferError) as caught:
        function(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_only_whole_files(folder: Path, gz_dir: Path) -> None:
    for path in folder.iterdir():
        assert path.name == ".lock" or path.read_bytes() == (gz_dir / path.name).read_bytes()


# Reading


@pytest.mark.parametrize(("train", "count"), [(True, 140), (False, 60)])
def test_load_pair_reads_raw_and_gz_files(idx_dir, train, count):
    pair = load_pair(idx_dir, train, check_md5=False)
    assert pair.images.shape == (count, 28, 28)
    assert pair.images.dtype == np.uint8
    assert pair.labels.dtype == np.int64
    assert np.array_equal(np.bincount(pair.labels), np.full(10, count // 10))
    assert load_pair(str(idx_dir), train, check_md5=False).md5 == pair.md5


def test_compression_changes_neither_pixels_nor_md5(idx_dir, gz_dir):
    raw, compressed = (load_pair(d, True, check_md5=False) for d in (idx_dir, gz_dir))
    assert np.array_equal(raw.images, compressed.images)
    assert raw.md5 == compressed.md5 == md5((idx_dir / TRAIN_IMAGES).read_bytes())


def test_second_reader_decompresses_nothing_and_has_arrays_of_its_own(gz_dir, monkeypatch):
    first = load_pair(gz_dir, train=True, check_md5=False)
    pixels = first.images.copy()
    monkeypatch.setattr(gzip, "decompress", None)
    first.images[:] = 0
    assert np.array_equal(load_pair(gz_dir, train=True, check_md5=False).images, pixels)


def test_file_that_was_replaced_is_read_again(copied):
    images = load_pair(copied, train=True, check_md5=False).images
    path = copied / TRAIN_IMAGES
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    again = load_pair(copied, train=True, check_md5=False).images
    assert (again != images).sum() == 1


def test_raw_file_is_preferred_to_the_gz_file(copied, write_idx):
    other = np.full((140, 28, 28), 7, np.uint8)
    write_idx(copied / f"{TRAIN_IMAGES}.gz", other)
    raw = load_pair(copied, True, check_md5=False)
    assert not np.array_equal(raw.images, other)
    (copied / TRAIN_IMAGES).unlink()
    assert np.array_equal(load_pair(copied, True, check_md5=False).images, other)


@pytest.mark.real_data
def test_official_files_are_read(official):
    training, test = official
    assert training.images.shape == (60_000, 28, 28)
    assert np.array_equal(np.bincount(training.labels), np.full(10, 6000))
    assert test.images.shape == (10_000, 28, 28)
    assert np.array_equal(np.bincount(test.labels), np.full(10, 1000))
    assert training.md5 == MD5[TRAIN_IMAGES]


@pytest.mark.real_data
def test_no_official_image_is_there_twice(official):
    # Near-duplicates there are (see evaluation.near_duplicates), but none to the last pixel.
    contents = {image.tobytes() for pair in official for image in pair.images}
    assert len(contents) == 70_000


# Rejecting


def test_unofficial_files_are_rejected_by_name_with_both_sums(idx_dir):
    message = rejected(load_pair, idx_dir, True)
    for part in (
        str(idx_dir / TRAIN_IMAGES),
        MD5[TRAIN_IMAGES],
        md5((idx_dir / TRAIN_IMAGES).read_bytes()),
        "check_md5=false for another data set",
        "make data",
    ):
        assert part in message


def test_unofficial_labels_are_rejected_too(copied, monkeypatch):
    images = md5((copied / TRAIN_IMAGES).read_bytes())
    monkeypatch.setattr(idx_files, "MD5", MD5 | {TRAIN_IMAGES: images})
    assert f"{TRAIN_LABELS} is not the official file" in rejected(load_pair, copied, True)


@pytest.mark.real_data
@pytest.mark.parametrize("length", [0, 9, 5000, -1])
def test_truncated_official_gz_is_rejected(real_data, tmp_path, length):
    official = next(real_data.glob("t10k-labels-idx1-ubyte*"))
    content = official.read_bytes()
    if official.suffix != ".gz":
        content = gzip.compress(content)
    shutil.copytree(real_data, tmp_path / "cut", ignore=shutil.ignore_patterns("train*"))
    (tmp_path / "cut" / official.name).unlink()
    damaged = tmp_path / "cut" / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(content[:length])
    message = rejected(load_pair, tmp_path / "cut", False)
    assert str(damaged) in message
    assert "make data" in message


@pytest.mark.parametrize("length", [0, 1, 9, 20, 1000, -8, -1])
def test_truncated_gz_is_rejected_even_without_md5(gz_dir, tmp_path, length):
    folder = shutil.copytree(gz_dir, tmp_path / "cut")
    damaged = folder / f"{TRAIN_IMAGES}.gz"
    damaged.write_bytes(damaged.read_bytes()[:length])
    message = rejected(load_pair, folder, True, check_md5=False)
    assert str(damaged) in message
    assert "make data" in message


def test_flipped_byte_in_a_gz_is_rejected_even_without_md5(gz_dir, tmp_path):
    folder = shutil.copytree(gz_dir, tmp_path / "flipped")
    damaged = folder / f"{TRAIN_IMAGES}.gz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 255
    damaged.write_bytes(content)
    assert "damaged" in rejected(load_pair, folder, True, check_md5=False)


def test_web_page_saved_under_the_name_is_rejected(copied):
    (copied / TRAIN_IMAGES).unlink()
    (copied / f"{TRAIN_IMAGES}.gz").write_bytes(b"<html>please log in</html>")
    assert f"{TRAIN_IMAGES}.gz is damaged" in rejected(load_pair, copied, True)


@pytest.mark.parametrize("length", [0, 3, 15, 16, -1])
def test_truncated_raw_file_is_rejected_even_without_md5(copied, length):
    path = copied / TRAIN_IMAGES
    path.write_bytes(path.read_bytes()[:length])
    message = rejected(load_pair, copied, True, check_md5=False)
    assert f"{TRAIN_IMAGES} is " in message
    assert "make data" in message


def test_raw_file_with_a_byte_too_many_is_rejected(copied):
    with (copied / TRAIN_IMAGES).open("ab") as file:
        file.write(b"\0")
    assert TRAIN_IMAGES in rejected(load_pair, copied, True, check_md5=False)


def test_header_of_negative_sizes_is_rejected(copied):
    content = bytearray((copied / TRAIN_IMAGES).read_bytes())
    content[4] = content[8] = 255
    (copied / TRAIN_IMAGES).write_bytes(content)
    assert TRAIN_IMAGES in rejected(load_pair, copied, True, check_md5=False)


def test_images_in_place_of_labels_are_rejected(copied):
    shutil.copy(copied / TRAIN_IMAGES, copied / TRAIN_LABELS)
    message = rejected(load_pair, copied, True, check_md5=False)
    assert f"{TRAIN_LABELS} is not an IDX file" in message


def test_images_and_labels_of_different_number_are_rejected(copied, write_idx):
    write_idx(copied / TRAIN_LABELS, np.zeros(139, np.uint8))
    message = rejected(load_pair, copied, True, check_md5=False)
    for part in (
        f"{copied / TRAIN_IMAGES} has 140 images",
        f"{copied / TRAIN_LABELS} has 139 labels",
    ):
        assert part in message


def test_missing_file_is_named(copied):
    (copied / TRAIN_LABELS).unlink()
    message = rejected(load_pair, copied, True, check_md5=False)
    assert f"{TRAIN_LABELS} (or .gz) is missing: run `make data`" in message


# Looking for them


def test_named_folder_comes_before_the_systems(copied, idx_dir, monkeypatch):
    monkeypatch.setattr(idx_files, "SYSTEM_DIR", idx_dir)
    assert find_files(copied, download=False) == copied
    assert find_files(str(copied), download=False) == copied


def test_systems_folder_is_used_if_the_named_one_is_not_complete(copied, idx_dir, monkeypatch):
    (copied / TRAIN_LABELS).unlink()
    monkeypatch.setattr(idx_files, "SYSTEM_DIR", idx_dir)
    # With download allowed, too: what is on the disk is not downloaded.
    assert find_files(copied) == idx_dir
    assert find_files(copied / "not-there") == idx_dir
    assert not (copied / "not-there").exists()


def test_folder_that_torchvision_downloaded_to_is_looked_at_before_the_systems(
    mirror, gz_dir, idx_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(idx_files, "SYSTEM_DIR", idx_dir)
    raw = shutil.copytree(gz_dir, tmp_path / "data" / "FashionMNIST" / "raw")
    assert find_files(tmp_path / "data") == raw
    assert mirror.requests == []
    assert len(load_pair(raw, True).labels) == 140


def test_files_of_another_data_set_are_not_mixed_with_the_official_ones(
    mirror, copied, idx_dir, monkeypatch
):
    assert find_files(copied, official=False) == copied
    monkeypatch.setattr(idx_files, "SYSTEM_DIR", idx_dir)
    (copied / TRAIN_LABELS).unlink()
    message = rejected(find_files, copied, official=False)
    assert message.startswith(f"{TRAIN_LABELS} (raw or .gz) must be in {copied}")
    assert mirror.requests == []


def test_missing_files_without_download_are_an_error_that_helps(tmp_path):
    message = rejected(find_files, tmp_path / "empty", download=False)
    for part in (str(tmp_path / "empty"), str(idx_files.SYSTEM_DIR), "make data", *MD5):
        assert part in message
    assert not (tmp_path / "empty").exists()


# Downloading, from a server on this machine


def test_all_four_files_are_downloaded_once(mirror, gz_dir, tmp_path):
    folder = find_files(tmp_path / "new" / "data")
    assert folder == tmp_path / "new" / "data"
    assert {path.name for path in folder.iterdir()} == {".lock", *mirror.files}
    assert_only_whole_files(folder, gz_dir)
    assert len(load_pair(folder, True).labels) == 140
    mirror.requests.clear()
    assert find_files(folder) == folder
    assert mirror.requests == []


def test_only_missing_files_are_downloaded(mirror, copied):
    (copied / TRAIN_LABELS).unlink()
    find_files(copied)
    assert downloads(mirror) == [f"{TRAIN_LABELS}.gz"]


def test_second_mirror_helps_if_the_first_does_not(mirror, closed_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [closed_url, mirror.url])
    assert len(load_pair(find_files(tmp_path / "data"), True).labels) == 140


def test_broken_connection_is_tried_again(mirror, tmp_path):
    mirror.cut_once = {f"{TRAIN_LABELS}.gz"}
    assert len(load_pair(find_files(tmp_path / "data"), True).labels) == 140
    assert downloads(mirror).count(f"{TRAIN_LABELS}.gz") == 2


def test_interrupted_download_leaves_nothing_half_written(mirror, gz_dir, tmp_path):
    cut = f"{TRAIN_LABELS}.gz"
    mirror.cut = {cut}
    assert f"{mirror.url}{cut}" in rejected(find_files, tmp_path / "data")
    assert_only_whole_files(tmp_path / "data", gz_dir)
    # The next attempt continues with what is there.
    mirror.cut, mirror.requests = set(), []
    assert len(load_pair(find_files(tmp_path / "data"), True).labels) == 140
    assert f"{TRAIN_IMAGES}.gz" not in downloads(mirror)


def test_download_with_another_hash_is_rejected_and_removed(mirror, gz_dir, tmp_path):
    mirror.files[f"{TRAIN_LABELS}.gz"] = gzip.compress(b"another file")
    message = rejected(find_files, tmp_path / "data")
    for part in (f"{mirror.url}{TRAIN_LABELS}.gz", "hash", str(tmp_path / "data"), *MD5):
        assert part in message
    assert_only_whole_files(tmp_path / "data", gz_dir)


def test_file_that_no_mirror_has_is_named(mirror, tmp_path):
    del mirror.files["t10k-images-idx3-ubyte.gz"]
    message = rejected(find_files, tmp_path / "data")
    for part in (f"{mirror.url}t10k-images-idx3-ubyte.gz", str(tmp_path / "data"), *MD5):
        assert part in message


def test_every_mirror_that_failed_is_named(closed_url, nonsense_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [closed_url, nonsense_url])
    message = rejected(find_files, tmp_path / "data")
    for part in (closed_url, nonsense_url, "dataset-fashion-mnist"):
        assert part in message
    assert {path.name for path in (tmp_path / "data").iterdir()} == {".lock"}


def test_silent_mirror_is_given_up_on(silent_url, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TIMEOUT", 0.2)
    monkeypatch.setattr(FashionMNIST, "mirrors", [silent_url])
    message = rejected(find_files, tmp_path / "data")
    assert re.search("timed out|no answer within 0.2 s", message)


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
    assert sorted(downloads(mirror)) == sorted(f"{name}.gz" for name in MD5)
    assert_only_whole_files(tmp_path / "data", gz_dir)


def test_file_in_place_of_the_folder_is_an_error_of_one_line(mirror, tmp_path):
    (tmp_path / "data").write_text("not a folder")
    assert str(tmp_path / "data") in rejected(find_files, tmp_path / "data")


def test_folder_that_cannot_be_written_is_an_error_of_one_line(mirror, read_only_dir, monkeypatch):
    monkeypatch.setattr(idx_files, "SYSTEM_DIR", read_only_dir.path / "system")
    read_only_dir.protect()
    assert str(read_only_dir.path) in rejected(find_files, read_only_dir.path)


# The command behind `make data`


@pytest.mark.real_data
def test_command_prints_where_the_files_are(real_data, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["data", str(real_data)])
    runpy.run_module("fashion_transfer.data", run_name="__main__")
    expected = f"Fashion-MNIST in {real_data}: 60000 training and 10000 test images\n"
    assert capsys.readouterr().out == expected


def test_command_ends_with_one_line_if_it_cannot_get_them(closed_url, tmp_path, monkeypatch):
    monkeypatch.setattr(FashionMNIST, "mirrors", [closed_url])
    monkeypatch.setattr(sys, "argv", ["data", str(tmp_path / "data")])
    with pytest.raises(SystemExit, match=f"^error: could not download {closed_url}"):
        runpy.run_module("fashion_transfer.data", run_name="__main__")
