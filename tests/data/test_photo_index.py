"""The index of photos: a file is decoded once, and again only when it has changed."""

import json
import os

import pytest

from fashion_transfer.data import photo_index, pixel_hash, read_image
from fashion_transfer.data.photo_index import index_photos


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in no order."""
    names = []

    def counted(path):
        names.append(path.name)
        return read_image(path)

    monkeypatch.setattr(photo_index, "read_image", counted)
    return names


@pytest.fixture
def index(tmp_path):
    """`index(paths)`: the entries, as another run would read them."""
    return lambda paths: index_photos(paths, tmp_path, tmp_path / "cache")


@pytest.fixture
def paths(photo):
    return [photo(f"{number}.png", number) for number in range(5)]


def index_file(tmp_path):
    [file] = (tmp_path / "cache" / "photos").iterdir()
    return file


def test_index_holds_the_pixel_hash_of_each_file(index, paths):
    entries = index(paths)
    assert list(entries) == paths
    for path, entry in entries.items():
        assert entry.sha256 == pixel_hash(read_image(path))
        assert entry.error == ""


def test_unchanged_files_are_not_decoded_again(index, paths, decoded):
    first = index(paths)
    assert len(decoded) == 5
    assert index(paths) == first
    assert len(decoded) == 5


def test_only_new_and_changed_files_are_decoded(index, paths, photo, decoded):
    before = index(paths)
    decoded.clear()
    photo("2.png", 77)
    os.utime(paths[3], ns=(1, 1))
    entries = index([*paths, photo("new.png", 8)])
    assert sorted(decoded) == ["2.png", "3.png", "new.png"]
    assert entries[paths[2]].sha256 != before[paths[2]].sha256
    assert entries[paths[3]].sha256 == before[paths[3]].sha256


def test_file_that_is_listed_twice_is_decoded_once(index, paths, decoded):
    assert len(index([paths[0], paths[0]])) == 1
    assert decoded == ["0.png"]


def test_unreadable_file_has_an_error_that_is_remembered(index, tmp_path, decoded):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    for _ in range(2):
        [entry] = index([bad]).values()
        assert (entry.sha256, entry.error) == ("", "not an image that can be read")
    assert decoded == ["bad.jpg"]


def test_file_that_could_not_be_opened_is_tried_again(index, paths, monkeypatch):
    with monkeypatch.context() as patch:  # photos are read in threads: patched around them all
        patch.setattr("PIL.Image.open", _denied)
        entries = index(paths)
    assert all("Permission denied" in entry.error for entry in entries.values())
    assert all(entry.sha256 for entry in index(paths).values())


def _denied(path, **options):
    raise PermissionError(13, "Permission denied")


def test_missing_file_has_an_error(index, tmp_path):
    [entry] = index([tmp_path / "none.png"]).values()
    assert entry.error == "no such file"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-20],
        lambda text: "[1]",
        lambda text: text.replace(photo_index.VERSION, "0"),
        lambda text: json.dumps({"version": photo_index.VERSION, "files": [1]}),
        lambda text: json.dumps(json.loads(text) | {"files": {"a": [1, 2]}}),
        lambda text: text.replace('", ""]', 'x", ""]'),
        lambda text: text.replace('", ""]', '", 5]'),
    ],
)
def test_damaged_index_is_built_again(index, paths, tmp_path, damage, decoded, caplog):
    entries = index(paths)
    file = index_file(tmp_path)
    whole = file.read_text()
    file.write_text(damage(whole))
    decoded.clear()
    assert index(paths) == entries
    assert len(decoded) == 5
    assert file.read_text() == whole
    assert caplog.text == ""


def test_interrupted_reading_leaves_what_was_decoded(index, paths, decoded, monkeypatch):
    def interrupted(image):
        if len(decoded) > 3:
            raise KeyboardInterrupt
        return pixel_hash(image)

    monkeypatch.setattr(photo_index.os, "cpu_count", lambda: 1)
    with monkeypatch.context() as patch:
        patch.setattr(photo_index, "pixel_hash", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index(paths)
    decoded.clear()
    index(paths)
    assert sorted(decoded) == ["3.png", "4.png"]


def test_long_reading_is_saved_on_the_way(index, paths, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(photo_index, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(photo_index, "_save", lambda file, entries: saved.append(len(entries)))
    index(paths)
    assert saved == [1, 2, 3, 4, 5, 5]


def test_index_that_cannot_be_written_is_named(paths, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert len(index_photos(paths, tmp_path, tmp_path / "cache")) == 5
    assert "cannot be written" in caplog.text


def test_each_data_set_has_its_index_in_the_default_cache(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_TRANSFER_CACHE", str(tmp_path / "default"))
    index_photos(paths, tmp_path)
    index_photos(paths, tmp_path / "list.csv")
    assert len(list((tmp_path / "default" / "photos").glob("*.json"))) == 2
