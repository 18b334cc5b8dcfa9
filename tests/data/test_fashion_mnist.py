"""Fashion-MNIST: three disjoint splits, cached under keys that name nothing but the pixels."""

import json
import shutil
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

from fashion_transfer.data import Augmentation, FashionMNISTDataModule, fashion_mnist, render
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.data.idx_files import MD5, load_pair
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.synthetic import Exposure


@pytest.fixture
def ready(datamodule):
    """`ready(**overrides)`: a datamodule that is set up for everything."""

    def make(**overrides):
        module = datamodule(**overrides)
        module.prepare_data()
        module.setup()
        return module

    return make


def pixels(dataset) -> set[bytes]:
    """Content of the images of a dataset."""
    return {image.tobytes() for image in dataset.split.read(dataset.split.rows)}


# Splits


def test_class_names_are_ten_in_the_official_order():
    assert CLASS_NAMES[0] == "T-shirt/top"
    assert CLASS_NAMES[-1] == "Ankle boot"
    assert len(set(CLASS_NAMES)) == 10
    assert FashionMNISTDataModule().class_names == CLASS_NAMES


def test_splits_have_the_sizes_asked_for(ready):
    module = ready()
    assert len(module.train_set) == 80
    assert len(module.val_set) == 40
    assert len(module.test_set) == 60


def test_splits_have_the_images_and_labels_of_their_files(ready, idx_dir):
    module = ready()
    for dataset, train in (
        (module.train_set, True),
        (module.val_set, True),
        (module.test_set, False),
    ):
        pair = load_pair(idx_dir, train, check_md5=False)
        rows = dataset.split.rows
        assert dataset.split.labels.tolist() == pair.labels[rows].tolist()
        assert np.array_equal(dataset.split.read(rows), pair.images[rows][:, None])
        assert dataset.split.fingerprint == pair.md5
        expected = render(torch.from_numpy(pair.images[rows][:, None]), 32)
        assert torch.equal(dataset.__getitems__(range(len(dataset))).images, expected)


@pytest.mark.parametrize("selection", ["first", "random"])
def test_splits_are_disjoint_by_content(ready, selection):
    module = ready(images_per_class="all", selection=selection)
    training, validation, test = map(pixels, (module.train_set, module.val_set, module.test_set))
    assert (len(training), len(validation), len(test)) == (100, 40, 60)
    assert len(training | validation | test) == 200


@pytest.mark.real_data
def test_splits_of_the_official_files_are_disjoint_by_content(real_data):
    module = FashionMNISTDataModule(dir=str(real_data), images_per_class="all")
    module.setup()
    training, validation, test = map(pixels, (module.train_set, module.val_set, module.test_set))
    assert (len(training), len(validation), len(test)) == (59_000, 1_000, 10_000)
    assert len(training | validation | test) == 70_000


@pytest.mark.real_data
def test_official_images_reach_the_batch_only_resized(real_data, official):
    module = FashionMNISTDataModule(dir=str(real_data), image_size=64)
    module.setup()
    for dataset, pair in zip((module.train_set, module.test_set), official, strict=True):
        positions = range(0, len(dataset), 50)
        images = pair.images[dataset.split.rows[positions]][:, None]
        assert torch.equal(
            dataset.__getitems__(positions).images, render(torch.from_numpy(images), 64)
        )


def test_composites_show_training_images_alone(ready):
    module = ready(synthetic=Exposure(composites=20, controls=20))
    for dataset in module.synthetic_sets:
        items = {image.tobytes() for image in dataset.split.images.images}
        assert items <= pixels(module.train_set)


def test_validation_depends_on_neither_subset_nor_seed(ready):
    one = ready()
    other = ready(images_per_class=3, selection="random", seed=5, views=None)
    assert one.val_set.split.rows.tolist() == other.val_set.split.rows.tolist()
    assert one.train_set.split.rows.tolist() != other.train_set.split.rows.tolist()


def test_validation_may_be_empty(ready):
    module = ready(val_per_class=0)
    assert module.val_set is None
    assert list(module.val_dataloader()) == []


def test_each_file_is_read_once(datamodule, monkeypatch):
    calls = []

    def counted(directory, train, check_md5):
        calls.append(train)
        return load_pair(directory, train, check_md5)

    monkeypatch.setattr(fashion_mnist, "load_pair", counted)
    datamodule().setup()
    assert calls == [True, False]


def test_item_is_aligned_as_predictions_are():
    assert FashionMNISTDataModule.preparation == "fashion_mnist"


# Errors


def test_missing_files_are_an_error_before_anything_else(datamodule, tmp_path, monkeypatch):
    monkeypatch.setattr("fashion_transfer.data.idx_files.SYSTEM_DIR", tmp_path / "system")
    with pytest.raises(FashionTransferError, match="make data"):
        datamodule(dir=str(tmp_path / "empty"), check_md5=True).setup("fit")
    with pytest.raises(FashionTransferError, match="t10k-labels-idx1-ubyte .* must be in"):
        datamodule(dir=str(tmp_path / "empty")).setup("fit")


@pytest.mark.parametrize(("least", "views", "passes"), [(159, 2, 1), (250, 2, 3), (250, None, 1)])
def test_epoch_passes_over_few_images_until_it_has_enough(ready, least, views, passes):
    loader = ready(min_epoch_size=least, views=views).train_dataloader()
    labels = torch.cat([batch.labels for batch in loader])
    assert np.array_equal(np.bincount(labels), np.full(10, 8 * passes))


def test_files_that_are_read_ahead_are_read_once(idx_dir, datamodule, monkeypatch, tmp_path):
    folder = Path(shutil.copytree(idx_dir, tmp_path / "copied"))
    read, started = [], threading.Event()

    def slowly(path):
        started.set()
        time.sleep(0.2)  # setup comes meanwhile
        read.append(path.name)
        return path.open("rb").read()

    monkeypatch.setattr(Path, "read_bytes", slowly)
    module = datamodule(dir=str(folder))
    module.read_ahead()
    assert started.wait(5)
    module.setup("fit")
    assert sorted(read) == ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]


def test_missing_files_are_no_error_of_reading_ahead(datamodule, tmp_path, recwarn):
    module = datamodule(dir=str(tmp_path / "empty"))
    module.read_ahead()
    with pytest.raises(FashionTransferError, match="must be in"):
        module.setup("fit")
    assert not recwarn.list


def test_unofficial_files_are_rejected_by_default(idx_dir):
    for stage in ("fit", "test"):
        with pytest.raises(FashionTransferError, match="not the official file"):
            FashionMNISTDataModule(dir=str(idx_dir)).setup(stage)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images_per_class", 11),
        ("images_per_class", 0),
        ("selection", "best"),
        ("val_per_class", -1),
        ("val_per_class", 14),
    ],
)
def test_impossible_subset_is_rejected_in_setup(datamodule, name, value):
    with pytest.raises(ArgumentError, match=f"{name}|images_per_class") as caught:
        datamodule(**{name: value}).setup("fit")
    assert str(value) in str(caught.value)


# Other data sets in the same files


@pytest.fixture
def others(idx_dir, tmp_path):
    """A copy of the generated files, to be changed."""
    return Path(shutil.copytree(idx_dir, tmp_path / "others"))


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        (
            "train",
            np.full(140, 26),
            "labels of the training images go up to 26, expected 0 to 9",
        ),
        ("t10k", np.full(60, 10), "labels of the test images go up to 10, expected 0 to 9"),
        ("train", np.arange(140) % 6, "no training image has the label 6, expected 0 to 9"),
    ],
)
def test_labels_of_other_classes_are_rejected(datamodule, others, write_idx, name, labels, message):
    for path in others.glob(f"{name}-labels*"):
        write_idx(path, labels)
    with pytest.raises(FashionTransferError, match=message) as caught:
        datamodule(dir=str(others)).setup()
    assert str(others) in str(caught.value)


def test_test_images_may_lack_a_class_or_be_missing_altogether(datamodule, others, write_idx):
    write_idx(others / "t10k-labels-idx1-ubyte.gz", np.arange(60) % 3)
    module = datamodule(dir=str(others))
    module.setup()
    assert set(module.test_set.split.labels) == {0, 1, 2}
    write_idx(others / "t10k-labels-idx1-ubyte.gz", np.empty(0))
    write_idx(others / "t10k-images-idx3-ubyte.gz", np.empty((0, 28, 28)))
    module = datamodule(dir=str(others))
    module.setup()
    assert module.test_set is None


def test_blank_images_are_counted_named_and_in_no_composite(datamodule, others, write_idx, caplog):
    images = load_pair(others, True, check_md5=False).images
    images[[3, 17]] = 0
    write_idx(others / "train-images-idx3-ubyte", images)
    module = datamodule(dir=str(others), synthetic=Exposure(composites=20, controls=20))
    with caplog.at_level("WARNING"):
        module.setup()
    [line] = caplog.messages
    named = "2 of 140 training images are blank, and in no composite: number 3, 17, counted from 0"
    assert line == f"{others}: {named}"
    for dataset in module.synthetic_sets:
        assert dataset.split.images.images.max(axis=(1, 2)).min() > 0


# Keys of cached features


class Table:
    batch_field = "features"


class Keys:
    """Stands for an extractor and notes the keys."""

    def __init__(self):
        self.keys = []

    def plan(self, requests):
        return nullcontext()

    def __call__(self, key, source_size, rows, inputs, title):
        self.keys.append(json.dumps(key, sort_keys=True))
        return Table()


def keys(datamodule, **overrides) -> list[str]:
    """Of the clean training images, each further view, validation and test images."""
    extractor = Keys()
    datamodule(extractor=extractor, **overrides).setup()
    return extractor.keys


def test_training_and_validation_share_a_key_and_the_test_file_has_its_own(datamodule):
    clean, view, validation, test = keys(datamodule)
    assert clean == validation
    assert len({clean, view, test}) == 3


@pytest.mark.real_data
def test_keys_name_the_content_of_the_official_files(real_data):
    extractor = Keys()
    FashionMNISTDataModule(dir=str(real_data), extractor=extractor).setup()
    names = ["train-images-idx3-ubyte"] * 2 + ["t10k-images-idx3-ubyte"]
    assert [json.loads(key)["split"] for key in extractor.keys] == [MD5[name] for name in names]


@pytest.mark.parametrize(
    "change",
    [
        {"augmentation": Augmentation(rotation=11)},
        {"augmentation": Augmentation(shift=0.2)},
        {"augmentation": Augmentation(zoom=0.2)},
        {"augmentation": Augmentation(shear=0.2)},
        {"augmentation": Augmentation(flip=0.4)},
        {"view_seed": 1},
    ],
)
def test_what_changes_a_view_changes_its_key_but_not_the_clean_ones(datamodule, change):
    before, after = keys(datamodule), keys(datamodule, **change)
    assert before[1] != after[1]
    assert before[0] == after[0]
    assert before[2:] == after[2:]


def test_image_size_changes_every_key(datamodule):
    assert not set(keys(datamodule)) & set(keys(datamodule, image_size=48))


@pytest.mark.parametrize(
    "change",
    [
        {"images_per_class": 3},
        {"selection": "random"},
        {"seed": 5},
        {"val_per_class": 2},
        {"batch_size": 7},
        {"num_workers": 1},
        {"augmentation": Augmentation(rotation=0, flip=1)},
    ],
)
def test_what_changes_no_pixel_changes_no_key(datamodule, change):
    assert keys(datamodule) == keys(datamodule, **change)


def test_compression_of_the_files_changes_no_key(datamodule, gz_dir):
    assert keys(datamodule) == keys(datamodule, dir=str(gz_dir))


def test_each_view_number_has_its_key(datamodule):
    two, three = keys(datamodule, views=2), keys(datamodule, views=3)
    assert len(set(three)) == 4
    assert set(two) < set(three)


# With the real extractor


def test_growing_computes_only_new_images(ready, backbone, tmp_path):
    extractor = Extractor(backbone, FeatureStore(tmp_path / "store"))
    ready(images_per_class=4, views=1, extractor=extractor)
    assert extractor.computed == 40 + 40 + 60
    ready(images_per_class=6, views=1, extractor=extractor)
    assert extractor.computed == 140 + 20
    ready(images_per_class=6, views=2, extractor=extractor)
    assert extractor.computed == 160 + 60
    ready(images_per_class=4, views=None, extractor=extractor)
    assert extractor.computed == 220
    ready(images_per_class=10, views=1, extractor=extractor)
    assert extractor.computed == 220 + 40
    # Former validation images: the file is the same, and so are their features.
    ready(images_per_class="all", val_per_class=1, views=1, extractor=extractor)
    assert extractor.computed == 260
