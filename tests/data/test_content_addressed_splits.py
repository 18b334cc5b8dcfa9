"""A data set of content-addressed splits: its features follow the pixels, not name or place."""

import json

import numpy as np
import pytest

from fashion_transfer.data import Augmentation, ClassificationDataModule, Split
from fashion_transfer.features import Extractor, FeatureStore

KEYS = {"shirt": 2**63 - 1, "shoe": 12, "hat": 2**40, "bag": 3}


class Album:
    """The photos of some names, by key."""

    def __init__(self, keys):
        self.keys = keys

    def __len__(self):
        return len(self.keys)

    def __getitem__(self, key):
        assert key in self.keys
        return np.random.default_rng(key).integers(0, 256, (3, 32, 32), dtype=np.uint8)


class AlbumDataModule(ClassificationDataModule):
    """Photos by file name, in the order of the names."""

    class_names = ("one", "other")

    def __init__(self, files, **options):
        super().__init__(image_size=32, augmentation=Augmentation(rotation=10), **options)
        self.files = files

    def load_split(self, name):
        if name != "train":
            return None
        keys = [KEYS[self.files[file]] for file in sorted(self.files)]
        return Split("training images", Album(keys), np.zeros(len(keys)), None, keys)


@pytest.fixture
def run(tmp_path, backbone):
    """`run(files)`: features by photo and how many were computed, as of a fresh run."""

    def features(files, views=2):
        extractor = Extractor(backbone, FeatureStore(tmp_path / "store"))
        module = AlbumDataModule(files, views=views, extractor=extractor)
        module.setup("fit")
        by_photo = {
            photo: [module.train_set[(place, view)].features for view in range(views)]
            for place, photo in enumerate(files[file] for file in sorted(files))
        }
        return by_photo, extractor.computed

    return features


FILES = {"a.jpg": "shirt", "b.jpg": "shoe", "c.jpg": "hat"}


def assert_same(features, others, photos) -> None:
    for photo in photos:
        for one, other in zip(features[photo], others[photo], strict=True):
            assert (one == other).all()
        assert (features[photo][0] != features[photo][1]).any()  # a view of its own


def test_renamed_photo_computes_nothing(run):
    features, computed = run(FILES)
    assert computed == 2 * 3
    renamed, computed = run({"z.jpg": "shirt", "b.jpg": "shoe", "c.jpg": "hat"})
    assert computed == 0
    assert_same(renamed, features, ["shirt", "shoe", "hat"])


def test_added_photo_computes_itself_alone(run):
    features, _ = run(FILES)
    more, computed = run({"0.jpg": "bag", **FILES})
    assert computed == 2
    assert_same(more, features, ["shirt", "shoe", "hat"])


def test_removed_photo_computes_nothing(run):
    run(FILES)
    assert run({"c.jpg": "hat"})[1] == 0


def test_copy_of_a_photo_computes_nothing(run):
    assert run({"a.jpg": "hat", "b.jpg": "hat"}, views=1)[1] == 1


def test_all_content_addressed_splits_share_a_folder_per_view(run, tmp_path):
    run({"a.jpg": "shirt"})
    run({"b.jpg": "hat"})
    folders = FeatureStore(tmp_path / "store").entries()
    assert sorted(key["images"]["view"] for _, key, _ in folders) == [0, 1]
    for folder, _, _ in folders:
        images = json.loads((folder / "key.json").read_text())["images"]
        assert images["content"] == "pixels"
        assert "split" not in images
        assert len((folder / "keys.bin").read_bytes()) == 2 * 8
