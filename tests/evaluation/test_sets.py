import logging

import numpy as np
import pytest
import torch
from toy import ToyDataModule, write_toy

from fashion_transfer.data import Split
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.evaluation import evaluation_sets
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features.engine import MAX_PASS_SIZE
from fashion_transfer.synthetic import (
    COLLAGE_LAYOUTS,
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    OUT_OF_DISTRIBUTION,
    TRAINED_LAYOUTS,
    composite_split,
    ood_split,
)


def images_of(dataset) -> torch.Tensor:
    return dataset.__getitems__(range(len(dataset))).images


def test_sets_are_the_test_split_composites_controls_and_ood_images(test_data):
    sets = evaluation_sets(test_data, 3)
    names = {"test"} | {f"out_of_distribution/{name}" for name in OUT_OF_DISTRIBUTION}
    names |= {f"{prefix}/{layout}" for prefix in ("multi_item", "control") for layout in LAYOUTS}
    assert sets.keys() == names
    assert next(iter(sets)) == "test"
    assert sets["test"] is test_data.test_set
    assert {len(dataset) for name, dataset in sets.items() if name != "test"} == {3}


def test_every_layout_is_either_trained_or_held_out():
    assert not set(TRAINED_LAYOUTS) & set(HELD_OUT_LAYOUTS)
    assert {*TRAINED_LAYOUTS, *HELD_OUT_LAYOUTS} == set(LAYOUTS)


def test_synthetic_sets_show_test_images_alone(test_data):
    split = test_data.test_set.split
    sets = evaluation_sets(test_data, 5)
    for layout in LAYOUTS:
        for prefix, control in (("multi_item", False), ("control", True)):
            expected = composite_split(split, None, [layout], 5, control)
            result = sets[f"{prefix}/{layout}"].split
            assert result.fingerprint == expected.fingerprint
            assert np.array_equal(result.labels, expected.labels)
            for first, second in zip(result.read(range(5)), expected.read(range(5)), strict=True):
                assert np.array_equal(first, second)
    for name in OUT_OF_DISTRIBUTION:
        expected = ood_split(name, split, 5)
        assert sets[f"out_of_distribution/{name}"].split.fingerprint == expected.fingerprint


def test_controls_have_the_label_of_their_item_and_the_others_none(test_data):
    sets = evaluation_sets(test_data, 6)
    for name, dataset in sets.items():
        if name.startswith("control/"):
            assert set(dataset.split.labels) <= {*range(10)}
        elif name != "test":
            assert set(dataset.split.labels) == {-1}


def test_images_are_prepared_as_the_data_set_is(test_data):
    for dataset in evaluation_sets(test_data, 2).values():
        assert dataset.preparation.name == "fashion_mnist"
        assert images_of(dataset).shape[2:] == (32, 32)


def test_a_larger_set_begins_with_the_images_of_a_smaller_one(test_data):
    small, large = evaluation_sets(test_data, 2), evaluation_sets(test_data, 4)
    for name in small:
        assert torch.equal(images_of(large[name])[:2], images_of(small[name])[:2])


def test_images_per_set_0_gives_the_test_split_alone(test_data):
    assert list(evaluation_sets(test_data, 0)) == ["test"]


@pytest.mark.parametrize("count", [-1, 2.5, "many", None])
def test_evaluation_sets_rejects_an_impossible_size(test_data, count):
    with pytest.raises(ArgumentError, match="^images_per_set must be a whole number from 0"):
        evaluation_sets(test_data, count)


def test_a_data_set_without_a_test_split_is_rejected(datamodule):
    data = datamodule()
    data.load_split = lambda name: None
    data.setup("test")
    with pytest.raises(FashionTransferError, match="no test split"):
        evaluation_sets(data, 0)


def photo_data(folder, **counts) -> ToyDataModule:
    """Photos of three classes, ready to evaluate."""
    data = ToyDataModule(str(write_toy(folder / "photos", **counts)), image_size=32)
    data.setup("test")
    return data


def test_photos_have_collages_their_controls_and_ood_images(tmp_path):
    sets = evaluation_sets(photo_data(tmp_path), 2)
    names = ["test"]
    names += [f"{p}/{layout}" for layout in COLLAGE_LAYOUTS for p in ("multi_item", "control")]
    names += [f"out_of_distribution/{name}" for name in OUT_OF_DISTRIBUTION]
    assert list(sets) == names
    for name, dataset in sets.items():
        assert images_of(dataset).shape[1:] == (3, 32, 32)
        assert (min(dataset.split.labels) >= 0) == (name.split("/")[0] in ("test", "control"))


def test_layouts_with_too_few_test_images_are_left_out_and_named_once(tmp_path, caplog):
    data = photo_data(tmp_path, test=1)
    with caplog.at_level(logging.WARNING):
        sets = evaluation_sets(data, 2)
    missing = ["same_two_columns", "four_quarters", "pile_of_four"]
    layouts = {name.partition("/")[2] for name in sets if name.startswith("multi_item/")}
    assert layouts == COLLAGE_LAYOUTS.keys() - missing
    expected = f"left out, as there are too few test images: {', '.join(missing)}"
    assert caplog.messages == [expected]


def mnist_digits(count: int) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 28, 28), dtype=np.uint8)
    return Split("digits", images, np.full(count, -1), "md5", np.arange(count)[::-1])


@pytest.mark.parametrize(("there", "size", "expected"), [(9, 4, 4), (3, 4, 3)])
def test_mnist_is_one_more_set_of_at_most_its_images(test_data, there, size, expected):
    digits = mnist_digits(there)
    sets = evaluation_sets(test_data, size, digits)
    assert list(sets)[-1] == "out_of_distribution/mnist"
    split = sets["out_of_distribution/mnist"].split
    assert split.rows.tolist() == digits.rows[:expected].tolist()
    assert set(split.labels) == {-1}
    assert images_of(sets["out_of_distribution/mnist"]).shape[2:] == (32, 32)
    assert list(evaluation_sets(test_data, 0, digits)) == ["test"]


def test_photos_have_mnist_as_well(tmp_path):
    sets = evaluation_sets(photo_data(tmp_path), 2, mnist_digits(9))
    assert images_of(sets["out_of_distribution/mnist"]).shape == (2, 3, 32, 32)


def test_a_preparation_without_synthetic_images_has_the_test_split_alone(test_data):
    test_data.preparation = "another"
    assert list(evaluation_sets(test_data, 3)) == ["test"]


def test_features_are_cached_once(test_data, backbone, tmp_path, monkeypatch):
    monkeypatch.setitem(MAX_PASS_SIZE, "cpu", 2)  # else each set is filled up to 8 images
    extractor = Extractor(backbone, FeatureStore(tmp_path / "cache"))
    test_data.extractor = extractor
    sets = evaluation_sets(test_data, 2)
    images = 2 * (2 * len(LAYOUTS) + len(OUT_OF_DISTRIBUTION))
    assert extractor.computed == images
    dataset = sets["multi_item/stacked"]
    assert dataset.__getitems__([0, 1]).features.shape == (2, 512)
    evaluation_sets(test_data, 2)
    assert extractor.computed == images
