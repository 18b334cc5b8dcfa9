"""The clothing photos: downloaded whole from a local site, or read where they are already."""

import shutil
from pathlib import Path

import pytest
from git_repository import Commit, commit
from PIL import Image

from fashion_transfer.data import ClothingDataModule, clothing
from fashion_transfer.errors import FashionTransferError

COUNTS = {"train": 2, "validation": 1, "test": 1}


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A few photos of each class in the layout of the real repository, without git."""
    folder = tmp_path_factory.mktemp("clothing")
    (folder / "README.md").write_text("Photos of clothes")
    colour = 0
    for split, count in COUNTS.items():
        for name in clothing.CLASS_NAMES:
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                colour += 5
                Image.new("RGB", (8, 9), (colour, 0, 0)).save(
                    folder / split / name / f"{number}.png"
                )
    return folder


@pytest.fixture(scope="module")
def photos(repository, tmp_path_factory) -> Commit:
    copy = shutil.copytree(repository, tmp_path_factory.mktemp("commit") / "repository")
    return commit(Path(copy))


@pytest.fixture
def github(site, photos, monkeypatch):
    """A local site that stands for GitHub and has the generated photos."""
    site.files["photos.tar.gz"] = photos.archive
    monkeypatch.setattr(clothing, "URL", f"{site.url}photos.tar.gz")
    monkeypatch.setattr(clothing, "TREE", photos.tree)
    return site


@pytest.fixture
def opened(tmp_path):
    """`opened(dir)`: a data module with small images."""

    def module(dir: Path) -> ClothingDataModule:
        return ClothingDataModule(str(dir), cache=str(tmp_path / "cache"), image_size=32)

    return module


def test_photos_are_downloaded_once(github, opened, tmp_path):
    for _ in range(2):
        data = opened(tmp_path / "data" / "clothing")
        assert data.class_names == clothing.CLASS_NAMES
        data.prepare_data()
        sizes = [len(data.load_split(name)) for name in ("train", "val", "test")]
        assert sizes == [10 * count for count in COUNTS.values()]
    assert github.requests.count("GET photos.tar.gz") == 1


def test_photos_that_are_there_are_not_downloaded(github, repository, opened):
    data = opened(repository)
    data.prepare_data()
    assert len(data.load_split("train")) == 20
    assert github.requests == []
    assert not (repository.parent / f".{repository.name}.lock").exists()


def test_photos_of_other_classes_are_another_data_set(github, repository, opened, tmp_path):
    folder = Path(shutil.copytree(repository, tmp_path / "other"))
    for split in COUNTS:
        (folder / split / "hat").rename(folder / split / "cap")
    with pytest.raises(FashionTransferError, match=r"cap, dress, .*is this another data set\?"):
        opened(folder).prepare_data()


def test_failed_download_leaves_nothing(github, opened, tmp_path):
    github.cut = {"photos.tar.gz"}
    with pytest.raises(FashionTransferError, match="could not download .*try again, or name"):
        opened(tmp_path / "data" / "clothing").prepare_data()
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".clothing.lock"]


def test_names_are_sorted_as_those_of_folders_are():
    assert list(clothing.CLASS_NAMES) == sorted(clothing.CLASS_NAMES)


def test_commit_of_the_url_is_a_whole_hash():
    assert f"/{clothing.COMMIT}.tar.gz" in clothing.URL
    assert len(clothing.COMMIT) == len(clothing.TREE) == 40
