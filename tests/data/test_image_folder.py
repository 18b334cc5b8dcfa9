"""A data set of one's own photos, from a folder or a CSV file."""

import csv

import numpy as np
import pytest
import torch
from toy import SHAPES, write_toy

from fashion_transfer.data import ImageFolderDataModule, photo_index, pixel_hash, read_image
from fashion_transfer.errors import ArgumentError, FashionTransferError


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "meine Hüte, größer")


@pytest.fixture
def opened(tmp_path):
    """`opened(dir, **options)`: a data module with small images."""

    def module(dir, **options) -> ImageFolderDataModule:
        return ImageFolderDataModule(str(dir), cache=str(tmp_path / "c"), image_size=32, **options)

    return module


def content(split):
    """Pixel hash and label of each photo."""
    return {
        (pixel_hash(image), int(label))
        for image, label in zip(split.read(split.rows), split.labels, strict=True)
    }


def test_folder_with_splits_is_a_data_set(folder, opened):
    data = opened(folder)
    data.prepare_data()
    assert data.class_names == tuple(SHAPES)
    assert data.preparation == "photo"
    for name, per_class in (("train", 6), ("val", 2), ("test", 2)):
        split = data.load_split(name)
        assert split.labels.tolist().count(0) == per_class
        expected = {
            (pixel_hash(read_image(file)), label)
            for label, shape in enumerate(SHAPES)
            for file in (folder / name / shape).iterdir()
        }
        assert content(split) == expected


def test_folder_without_test_has_no_test(tmp_path, opened):
    data = opened(write_toy(tmp_path / "toy", test=0))
    assert data.load_split("val") is not None
    assert data.load_split("test") is None


def test_batches_hold_the_photos(folder, opened):
    data = opened(folder, batch_size=4)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (4, 3, 32, 32)
    labels = torch.cat([batch.labels for batch in data.test_dataloader()])
    assert np.bincount(labels).tolist() == [2, 2, 2]


def test_folder_and_csv_give_the_same_data_set(folder, opened, tmp_path):
    with (tmp_path / "photos.csv").open("w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for path in folder.rglob("*.png"):
            split, label, _ = path.relative_to(folder).parts
            rows.writerow([path.relative_to(tmp_path), label, split])
    from_folder, from_csv = opened(folder), opened(tmp_path / "photos.csv")
    assert from_csv.class_names == from_folder.class_names
    for name in ("train", "val", "test"):
        first, second = from_folder.load_split(name), from_csv.load_split(name)
        assert np.array_equal(first.rows, second.rows)
        assert np.array_equal(first.labels, second.labels)


def test_splits_that_content_decides_are_disjoint(tmp_path, opened):
    data = opened(write_toy(tmp_path / "toy", train=30, val=0, test=0) / "train")
    splits = [data.load_split(name) for name in ("train", "val", "test")]
    contents = [content(split) for split in splits if split is not None]
    assert len(set().union(*contents)) == sum(map(len, contents))
    assert len(contents) == 3


def test_second_run_decodes_only_what_is_new(folder, opened, monkeypatch):
    before = opened(folder).load_split("train")
    decoded = []
    monkeypatch.setattr(
        photo_index, "read_image", lambda path: decoded.append(path.name) or read_image(path)
    )
    assert np.array_equal(opened(folder).load_split("train").rows, before.rows)
    assert decoded == []
    (folder / "train/circle/0.png").rename(folder / "train/circle/renamed.png")
    assert np.array_equal(opened(folder).load_split("train").rows, before.rows)
    assert decoded == ["renamed.png"]


def test_unreadable_photo_is_skipped_or_an_error(folder, opened, caplog):
    (folder / "train/circle/1.png").write_bytes(b"no picture")
    assert len(opened(folder).load_split("train")) == 17
    assert "unreadable photos, skipped: 1 of 30: " in caplog.text
    with pytest.raises(FashionTransferError, match=r"circle/1\.png \(not an image"):
        opened(folder, strict=True).prepare_data()


def test_subset_is_drawn_by_the_seed(folder, opened):
    rows = [opened(folder, images_per_class=3, seed=s).load_split("train").rows for s in (0, 1)]
    assert [len(r) for r in rows] == [9, 9]
    assert not np.array_equal(*rows)
    with pytest.raises(ArgumentError, match="images_per_class must be"):
        opened(folder, images_per_class=0).prepare_data()


def test_home_folder_is_expanded(folder, opened, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert opened(f"~/{folder.name}").class_names == tuple(SHAPES)


def test_missing_folder_is_named(opened, tmp_path):
    with pytest.raises(FashionTransferError, match="none: no such folder"):
        opened(tmp_path / "none").class_names  # noqa: B018


def test_folder_may_have_a_number_as_its_name(tmp_path, monkeypatch):
    write_toy(tmp_path / "2024", 1, 0, 0)
    monkeypatch.chdir(tmp_path)
    assert ImageFolderDataModule(2024).class_names == tuple(SHAPES)
