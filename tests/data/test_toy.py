"""A data set of one's own takes class names and splits; all else comes with the contract."""

import inspect

import numpy as np
import pytest
import torch
from toy import Files, ToyDataModule, write_toy

from fashion_transfer.data import Augmentation, get_preparation, input_images, read_image
from fashion_transfer.features import Extractor, FeatureStore


@pytest.fixture
def folder(tmp_path):
    return write_toy(tmp_path / "toy")


@pytest.fixture
def ready(folder):
    """`ready(**overrides)`: a datamodule that is set up for everything."""

    def make(**overrides):
        module = ToyDataModule(str(folder), **({"image_size": 32, "batch_size": 5} | overrides))
        module.prepare_data()
        module.setup()
        return module

    return make


def test_a_data_set_is_short():
    lines = [inspect.getsource(part).splitlines() for part in (ToyDataModule, Files)]
    assert sum(map(len, lines)) < 40


def test_splits_have_names_labels_and_images_of_different_sizes(ready):
    module = ready()
    assert module.class_names == ("circle", "square", "triangle")
    for dataset, count in ((module.train_set, 18), (module.val_set, 6), (module.test_set, 6)):
        assert np.bincount(dataset.split.labels).tolist() == [count // 3] * 3
        assert len({image.shape for image in dataset.split.read(dataset.split.rows)}) > 1
    splits = (module.train_set.split, module.val_set.split, module.test_set.split)
    assert [split.name for split in splits] == ["train images", "val images", "test images"]
    assert len({split.fingerprint for split in splits}) == 3
    contents = {image.tobytes() for split in splits for image in split.read(split.rows)}
    assert len(contents) == 30


def test_batches_are_the_prepared_files_in_colour(ready, folder):
    module = ready()
    batches = list(module.test_dataloader())
    assert [len(batch) for batch in batches] == [5, 1]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 0, 1, 1, 2, 2]
    files = sorted((folder / "test").glob("*/*.png"))
    expected = input_images([read_image(file) for file in files], get_preparation("photo"), 32)
    assert expected.shape == (6, 3, 32, 32)
    assert torch.equal(torch.cat([batch.images for batch in batches]), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_shows_every_image_once_per_epoch(ready, workers):
    module = ready(views=None, num_workers=workers, augmentation=Augmentation(rotation=10))
    for epoch in range(2):
        loader = module.train_dataloader()
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert [batch.images.shape for batch in batches] == [(5, 3, 32, 32)] * 3 + [(3, 3, 32, 32)]
        labels = torch.cat([batch.labels for batch in batches])
        assert torch.bincount(labels).tolist() == [6, 6, 6]
        order = [position for position, _ in loader.sampler]
        assert labels.tolist() == module.train_set.split.labels[order].tolist()


def test_features_are_cached_and_shared(ready, backbone, tmp_path):
    extractor = Extractor(backbone, FeatureStore(tmp_path / "store"))
    module = ready(extractor=extractor, views=2)
    assert extractor.computed == 18 * 2 + 6 + 6
    (batch, *_) = module.train_dataloader()
    assert batch.features.shape == (5, backbone.feature_dim)
    ready(extractor=extractor, views=2)
    assert extractor.computed == 48


def test_splits_that_are_not_there_are_none(tmp_path):
    module = ToyDataModule(str(write_toy(tmp_path / "toy", val=0, test=0)), image_size=32)
    module.setup()
    assert module.val_set is None
    assert module.test_set is None
    assert list(module.val_dataloader()) == list(module.test_dataloader()) == []
    assert len(module.train_set) == 18
