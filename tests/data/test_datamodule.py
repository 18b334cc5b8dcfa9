"""The datamodule: three disjoint sets, the same batches in any process, after any resume."""

import json

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from fashion_transfer.data import (
    CLASSES,
    LAYOUTS,
    TRAINED_LAYOUTS,
    Augmentation,
    FashionMNISTDataModule,
    MadeDataset,
    view_matrices,
)
from fashion_transfer.data.made import MOST, SEVERAL, composite_set
from fashion_transfer.data.sources import load_split
from fashion_transfer.data.unfamiliar import UNFAMILIAR
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore


class PixelTable:
    kind = "features"

    def __init__(self, rows, features):
        self.place = {row: place for place, row in enumerate(rows.tolist())}
        self.features = features

    def gather(self, indices):
        return self.features[[self.place[index] for index in indices.tolist()]]


class PixelExtractor:
    """Stands for the real one: its features are the rendered pixels, and it notes each call."""

    def __init__(self):
        self.calls = []

    def __call__(self, key, rows, indices, render, title):
        self.calls.append({"key": key, "rows": rows, "indices": indices, "title": title})
        return PixelTable(indices, render(indices, torch.device("cpu")).flatten(1))


def read(module: FashionMNISTDataModule, loader, epoch: int = 0) -> list[dict[str, torch.Tensor]]:
    """The batches of one epoch as a training step sees them."""
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    return [module.on_after_batch_transfer(batch, 0) for batch in loader]


def joined(batches, name: str = "images") -> torch.Tensor:
    return torch.cat([batch[name] for batch in batches])


def assert_same(batches, others) -> None:
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for name in batch:
            assert torch.equal(batch[name], other[name])


def as_set(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


@pytest.fixture
def ready(datamodule):
    """`ready(**overrides)`: a datamodule that is set up for everything."""

    def make(**overrides):
        module = datamodule(**overrides)
        module.prepare_data()
        module.setup()
        return module

    return make


# Sets


def test_the_three_sets_have_the_sizes_asked_for(ready):
    module = ready()
    assert len(module.train_set) == 80
    assert len(module.val_set) == 40
    assert len(module.test_set) == 60
    assert module.classes == CLASSES


@pytest.mark.parametrize("selection", ["first", "random"])
def test_the_three_sets_are_disjoint(ready, selection):
    module = ready(images_per_class="all", selection=selection)
    assert not set(module.train_set.indices) & set(module.val_set.indices)
    training, validation, test = (
        as_set(joined(read(module, loader)))
        for loader in (module.clean_dataloader(), module.val_dataloader(), module.test_dataloader())
    )
    assert (len(training), len(validation), len(test)) == (100, 40, 60)
    assert not training & validation
    assert not training & test
    assert not validation & test


@pytest.mark.real_data
def test_the_three_sets_of_the_official_files_are_disjoint(real_data):
    module = FashionMNISTDataModule(dir=str(real_data), images_per_class="all")
    module.setup()
    assert (len(module.train_set), len(module.val_set), len(module.test_set)) == (
        59_000,
        1_000,
        10_000,
    )
    assert not set(module.train_set.indices) & set(module.val_set.indices)
    validation = {image.tobytes() for image in module.val_set.split.images[module.val_set.indices]}
    assert not validation & {image.tobytes() for image in module.test_set.split.images}


def test_validation_stays_the_same_whatever_the_subset_and_seed(ready):
    one = ready()
    other = ready(images_per_class=3, selection="random", seed=5, views=None)
    batches = read(one, one.val_dataloader())
    assert_same(batches, read(other, other.val_dataloader()))


def test_a_stage_reads_only_what_it_needs(datamodule):
    module = datamodule(extractor=PixelExtractor())
    module.setup("test")
    assert module.train_set is None
    assert [call["title"] for call in module.extractor.calls] == ["test images"]
    module = datamodule()
    module.setup("fit")
    assert module.test_set is None


def test_setting_up_twice_does_nothing_twice(datamodule):
    module = datamodule(extractor=PixelExtractor())
    for stage in ("fit", "validate", "fit", "test", "test", None):
        module.setup(stage)
    titles = [call["title"] for call in module.extractor.calls]
    assert sorted(titles) == sorted(set(titles))


def test_missing_files_are_an_error_before_anything_else(datamodule, tmp_path, monkeypatch):
    monkeypatch.setattr("fashion_transfer.data.sources.SYSTEM_DIR", tmp_path / "system")
    with pytest.raises(FashionTransferError, match="make data"):
        datamodule(dir=str(tmp_path / "empty")).setup("fit")


def test_unofficial_files_are_refused_unless_told_otherwise(datamodule):
    with pytest.raises(FashionTransferError, match="not the official file"):
        datamodule(check_md5=True).setup("fit")


# Bad values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 31),
        ("image_size", 0),
        ("views", 0),
        ("composites", -1),
        ("controls", -1),
        ("views", -1),
        ("batch_size", 0),
        ("num_workers", -1),
        ("seed", -1),
        ("view_seed", -1),
    ],
)
def test_an_impossible_value_is_refused_by_name_at_once(datamodule, name, value):
    with pytest.raises(FashionTransferError, match=rf"{name} is {value}"):
        datamodule(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images_per_class", 11),
        ("images_per_class", 0),
        ("selection", "best"),
        ("val_per_class", -1),
    ],
)
def test_an_impossible_subset_is_refused_by_name_in_setup(datamodule, name, value):
    with pytest.raises(FashionTransferError, match=f"{name}.*{value}"):
        datamodule(**{name: value}).setup("fit")


# Batches of images


def test_an_image_batch_holds_images_between_0_and_1_and_labels(ready):
    module = ready()
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        batch = read(module, loader)[0]
        assert set(batch) == {"images", "labels"}
        assert batch["images"].shape == (16, 1, 32, 32)
        assert batch["images"].dtype == torch.float32
        assert 0 <= batch["images"].min() < batch["images"].max() <= 1 + 1e-6
        assert batch["labels"].shape == (16,)
        assert batch["labels"].dtype == torch.int64


def test_a_clean_image_reaches_the_batch_with_its_own_label(ready, idx_dir):
    module = ready(image_size=32)
    split = load_split(idx_dir, False, check_md5=False)
    batches = read(module, module.test_dataloader())
    assert torch.equal(joined(batches, "labels"), torch.from_numpy(split.labels))
    middle = joined(batches)[:, 0, 15:17, 15:17].mean((1, 2))
    expected = torch.tensor(split.images)[:, 13:15, 13:15].float().mean((1, 2)) / 255
    assert torch.allclose(middle, expected, atol=0.05)


def test_every_training_image_comes_exactly_once_an_epoch(ready):
    module = ready(views=1)
    expected = as_set(joined(read(module, module.clean_dataloader())))
    for epoch in range(2):
        batches = read(module, module.train_dataloader(), epoch)
        assert [len(batch["labels"]) for batch in batches] == [16] * 5
        assert as_set(joined(batches)) == expected
        assert np.array_equal(np.bincount(joined(batches, "labels")), np.full(10, 8))


def test_the_last_batch_is_smaller_and_not_dropped(ready):
    module = ready(batch_size=32)
    sizes = [len(batch["labels"]) for batch in read(module, module.train_dataloader())]
    assert sizes == [32, 32, 16]


def test_validation_and_test_come_clean_and_in_file_order(ready):
    module = ready()
    for loader, dataset in (
        (module.val_dataloader(), module.val_set),
        (module.test_dataloader(), module.test_set),
    ):
        one, other = read(module, loader), read(module, loader, epoch=3)
        assert_same(one, other)
        expected = torch.from_numpy(dataset.split.labels[dataset.indices])
        assert torch.equal(joined(one, "labels"), expected)


def test_one_item_can_be_looked_at(ready):
    module = ready()
    item = module.train_set[0]
    assert item["pixels"].shape == (1, 28, 28)
    assert "matrices" not in item
    assert module.train_set[(0, 1)]["matrices"].shape == (1, 2, 3)


def test_a_batch_without_pixels_passes_untouched(ready):
    batch = {"features": torch.ones(2, 3), "labels": torch.zeros(2, dtype=torch.int64)}
    assert ready().on_after_batch_transfer(batch, 0) is batch


# Order and views


def test_order_and_views_depend_on_seed_and_epoch_alone(ready):
    one, again, other = ready(seed=3), ready(seed=3), ready(seed=4)
    batches = read(one, one.train_dataloader(), 0)
    torch.manual_seed(99)
    np.random.default_rng(99)
    assert_same(batches, read(again, again.train_dataloader(), 0))
    next_epoch = read(one, one.train_dataloader(), 1)
    assert not torch.equal(joined(next_epoch, "labels"), joined(batches, "labels"))
    different = read(other, other.train_dataloader(), 0)
    assert not torch.equal(joined(different, "labels"), joined(batches, "labels"))


def test_a_later_epoch_does_not_depend_on_those_before(ready):
    module = ready(views=3)
    loader = module.train_dataloader()
    for epoch in range(3):
        batches = read(module, loader, epoch)
    fresh = ready(views=3)
    assert_same(read(fresh, fresh.train_dataloader(), 2), batches)


@pytest.mark.parametrize("views", [2, None])
def test_workers_change_nothing(ready, views):
    alone, helped = ready(views=views), ready(views=views, num_workers=2)
    loader = helped.train_dataloader()
    for epoch in (0, 1):  # the workers persist from one epoch to the next
        expected = read(alone, alone.train_dataloader(), epoch)
        assert_same(read(helped, loader, epoch), expected)


def test_kept_views_are_drawn_among_exactly_that_many(ready):
    module = ready(views=3)
    counts = np.zeros(3, int)
    loader = module.train_dataloader()
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        numbers = [view for _, view in loader.sampler]
        counts += np.bincount(numbers, minlength=3)
    assert counts.sum() == 4 * 80
    assert counts.min() > 60


def test_one_kept_view_is_the_clean_image(ready):
    module = ready(views=1)
    clean = as_set(joined(read(module, module.clean_dataloader())))
    assert as_set(joined(read(module, module.train_dataloader(), 5))) == clean


def test_views_none_shows_a_fresh_view_of_every_image_each_epoch(ready):
    module = ready(views=None)
    loader = module.train_dataloader()
    seen = as_set(joined(read(module, module.clean_dataloader())))
    for epoch in range(3):
        views = as_set(joined(read(module, loader, epoch)))
        assert len(views) == 80
        assert not views & seen
        seen |= views


def test_views_are_those_of_the_image_in_its_file(ready):
    # Not of its place in the subset or the batch: then kept views would change with the subset.
    module = ready(views=None, augmentation=Augmentation(rotation=30))
    loader = module.train_dataloader()
    loader.sampler.set_epoch(1)
    order = [position for position, _ in loader.sampler]
    raw = next(iter(loader))
    indices = module.train_set.indices[order[:16]]
    expected = view_matrices(indices, [2] * 16, Augmentation(rotation=30), 0)
    assert torch.equal(raw["matrices"], expected)


def test_view_seed_changes_the_views_and_seed_does_not(ready):
    one, other = (ready(view_seed=s, views=None) for s in (0, 1))
    images, others = (joined(read(m, m.train_dataloader())) for m in (one, other))
    assert not as_set(images) & as_set(others)
    reordered = ready(seed=8, views=None)
    assert as_set(joined(read(reordered, reordered.train_dataloader()))) == as_set(images)


# Batches of features


def test_features_replace_images_everywhere(ready):
    module = ready(extractor=PixelExtractor())
    for loader in (
        module.train_dataloader(),
        module.clean_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
    ):
        batch = read(module, loader)[0]
        assert set(batch) == {"features", "labels"}
        assert batch["features"].shape == (16, 32 * 32)


@pytest.mark.parametrize("views", [1, 3])
def test_feature_batches_match_image_batches(ready, views):
    images, features = ready(views=views), ready(views=views, extractor=PixelExtractor())
    for epoch in range(2):
        expected = read(images, images.train_dataloader(), epoch)
        found = read(features, features.train_dataloader(), epoch)
        assert torch.equal(joined(found, "labels"), joined(expected, "labels"))
        flat = joined(expected).flatten(1)
        assert torch.allclose(joined(found, "features"), flat, atol=1e-5)
    for name in ("clean_dataloader", "val_dataloader", "test_dataloader"):
        expected = read(images, getattr(images, name)())
        found = read(features, getattr(features, name)())
        assert torch.equal(joined(found, "features"), joined(expected).flatten(1))


def test_fresh_views_are_images_while_clean_ones_are_features(ready):
    module = ready(views=None, extractor=PixelExtractor())
    assert set(read(module, module.train_dataloader())[0]) == {"images", "labels"}
    assert set(read(module, module.clean_dataloader())[0]) == {"features", "labels"}
    assert set(read(module, module.val_dataloader())[0]) == {"features", "labels"}
    plain = ready(views=None)
    expected = read(plain, plain.train_dataloader(), 2)
    assert_same(read(module, module.train_dataloader(), 2), expected)


def test_the_extractor_may_be_set_after_construction(datamodule):
    module = datamodule()
    module.extractor = PixelExtractor()
    module.setup("fit")
    assert "features" in next(iter(module.val_dataloader()))


def test_the_extractor_is_asked_for_each_set_and_view_once(ready):
    extractor = PixelExtractor()
    module = ready(views=2, extractor=extractor)
    titles = [call["title"] for call in extractor.calls]
    assert titles == [
        "training images",
        "training images, view 1",
        "validation images",
        "test images",
    ]
    assert [call["rows"] for call in extractor.calls] == [140, 140, 140, 60]
    assert np.array_equal(extractor.calls[0]["indices"], module.train_set.indices)
    assert np.array_equal(extractor.calls[2]["indices"], module.val_set.indices)
    for call in extractor.calls:
        assert np.all(np.diff(call["indices"]) > 0)
        assert json.loads(json.dumps(call["key"])) == call["key"]


def keys(datamodule, **overrides) -> list[str]:
    extractor = PixelExtractor()
    datamodule(extractor=extractor, **overrides).setup()
    return [json.dumps(call["key"], sort_keys=True) for call in extractor.calls]


def test_training_and_validation_share_a_key_and_the_test_file_has_its_own(datamodule):
    clean, view, validation, test = keys(datamodule)
    assert clean == validation
    assert len({clean, view, test}) == 3


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


def test_the_image_size_changes_every_key(datamodule):
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
        {"augmentation": Augmentation(rotation=10, flip=0.5)},
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


# Composites and controls


def made_by(module) -> dict[str, MadeDataset]:
    return {made.key["view"]: made for made in module.made_sets}


@pytest.mark.parametrize("extractor", [None, PixelExtractor()], ids=["images", "features"])
@pytest.mark.parametrize("views", [1, 2, None])
def test_training_shows_each_composite_and_control_once_an_epoch(ready, views, extractor):
    module = ready(composites=20, controls=12, views=views, extractor=extractor)
    kind = "images" if extractor is None or views is None else "features"
    made = torch.cat([m.render(np.arange(len(m)), torch.device("cpu")) for m in module.made_sets])
    for epoch in range(2):
        batches = read(module, module.train_dataloader(), epoch)
        assert [len(batch["labels"]) for batch in batches] == [16] * 7
        assert all(set(batch) == {kind, "labels"} for batch in batches)
        counts = np.bincount(joined(batches, "labels"), minlength=11)
        controls = np.bincount(made_by(module)["controls"].labels, minlength=11)
        assert counts.tolist() == (controls + np.array([8] * 10 + [20])).tolist()
        rows = joined(batches, kind).flatten(1)
        assert as_set(made.flatten(1)) <= as_set(rows)
        single = joined(batches, "labels") < 10
        assert not as_set(made[:20].flatten(1)) & as_set(rows[single])


def test_composites_mix_with_single_images_in_an_order_of_their_own_each_epoch(ready):
    module = ready(composites=40)
    orders = [joined(read(module, module.train_dataloader(), e), "labels") for e in range(2)]
    assert not torch.equal(*orders)
    halves = [(order[:60] == SEVERAL).sum() for order in orders]
    assert all(8 < half < 32 for half in halves)


def test_composites_depend_on_neither_epoch_nor_seed(ready):
    one, other = ready(composites=20, seed=1), ready(composites=20, seed=2)
    seen = [
        as_set(joined(batches)[joined(batches, "labels") == SEVERAL])
        for module, epoch in ((one, 0), (one, 3), (other, 0))
        for batches in [read(module, module.train_dataloader(), epoch)]
    ]
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0]) == 20


def test_only_trained_layouts_and_images_of_the_subset_are_trained_on(ready):
    module = ready(composites=20, controls=20)
    for made in module.made_sets:
        assert tuple(made.key["layouts"]) == TRAINED_LAYOUTS
        split = module.train_set.split
        alone = composite_set(split, module.train_set.indices, TRAINED_LAYOUTS, 1, 32)
        assert made.key["items"] == alone.key["items"]
    assert module.made_sets[0].key["pixels"] == module.train_set.split.md5


def test_there_are_as_many_composites_as_the_subset_has_at_most(ready):
    module = ready(images_per_class=5, composites=1500, controls=49)
    assert {view: len(made) for view, made in made_by(module).items()} == {
        "composites": 50,
        "controls": 49,
    }


def test_none_are_made_unless_asked_for(ready):
    assert ready().made_sets == []
    assert list(made_by(ready(controls=4))) == ["controls"]
    assert list(made_by(ready(composites=4))) == ["composites"]


def test_a_larger_subset_leaves_composites_as_they_are(ready, monkeypatch):
    monkeypatch.setattr("fashion_transfer.data.datamodule.ITEMS_PER_CLASS", 6)
    small, large = (ready(images_per_class=count, composites=20) for count in (6, 9))
    other = ready(images_per_class=5, composites=20)
    found = [m.made_sets[0] for m in (small, large, other)]
    assert found[0].key == found[1].key != found[2].key
    pixels = [made.make(np.arange(20)) for made in found]
    assert all(np.array_equal(*pair) for pair in zip(*pixels[:2], strict=True))
    assert not all(np.array_equal(*pair) for pair in zip(*pixels[::2], strict=True))


@pytest.mark.parametrize("name", ["composites", "controls"])
def test_too_few_images_to_compose_of_are_an_error_that_says_what_to_do(datamodule, name):
    with pytest.raises(FashionTransferError, match=r"data\.images_per_class is 1, too few") as told:
        datamodule(images_per_class=1, **{name: 4}).setup("fit")
    assert "data.composites=0 data.controls=0" in str(told.value)


def test_statistics_and_validation_are_of_single_images_alone(ready):
    module = ready(composites=20, controls=20)
    for loader, count in ((module.clean_dataloader(), 80), (module.val_dataloader(), 40)):
        labels = joined(read(module, loader), "labels")
        assert len(labels) == count
        assert labels.max() < 10


def test_composites_are_kept_once_and_where_growing_moves_none(ready):
    extractor = PixelExtractor()
    module = ready(composites=20, controls=12, extractor=extractor)
    calls = {call["title"]: call for call in extractor.calls}
    assert {"composites", "controls"} < calls.keys()
    for view, count in (("composites", 20), ("controls", 12)):
        assert calls[view]["rows"] == MOST
        assert calls[view]["indices"].tolist() == list(range(count))
        assert calls[view]["key"] == made_by(module)[view].key | {"image_size": 32}
        assert json.dumps(calls[view]["key"])
    fresh = PixelExtractor()
    ready(composites=20, controls=12, views=None, extractor=fresh)
    assert not {"composites", "controls"} & {call["title"] for call in fresh.calls}


# Kinds


def test_kinds_are_every_layout_with_its_control_and_every_unfamiliar_kind(ready):
    module = ready()
    kinds = module.kinds(3)
    expected = {f"{kind}/{name}" for name in LAYOUTS for kind in ("multi", "control")}
    assert set(kinds) == expected | {f"unfamiliar/{name}" for name in UNFAMILIAR}
    for name, made in kinds.items():
        [batch] = read(module, module.kind_dataloader(made))
        assert batch["images"].shape == (3, 1, 32, 32), name
        assert made.key["pixels"] == module.test_set.split.md5, name
        if name.startswith("multi/"):
            assert batch["labels"].tolist() == [SEVERAL] * 3
        elif name.startswith("control/"):
            assert batch["labels"].max() < 10


def test_kinds_are_kept_each_under_a_key_of_its_own(ready):
    extractor = PixelExtractor()
    module = ready(extractor=extractor)
    before = len(extractor.calls)
    kinds = module.kinds(2)
    calls = extractor.calls[before:]
    assert len({json.dumps(call["key"], sort_keys=True) for call in calls}) == len(kinds)
    assert [call["indices"].tolist() for call in calls] == [[0, 1]] * len(kinds)
    [batch] = read(module, module.kind_dataloader(kinds["multi/crossed"]))
    assert set(batch) == {"features", "labels"}


# With the real extractor


@pytest.fixture
def extractor(backbone, tmp_path):
    return Extractor(backbone, FeatureStore(tmp_path / "store"))


def test_kept_features_are_those_of_the_images(ready, backbone, extractor):
    images, features = ready(), ready(extractor=extractor)
    assert extractor.computed == 80 * 2 + 40 + 60
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        batch = read(images, getattr(images, name)())[0]
        found = read(features, getattr(features, name)())[0]
        assert torch.equal(found["labels"], batch["labels"])
        assert found["features"].dtype == torch.float32
        with torch.no_grad():
            expected = backbone(batch["images"])
        assert torch.allclose(found["features"], expected, rtol=2e-3, atol=1e-3)


def test_growing_computes_only_what_is_new(ready, extractor):
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


def test_a_set_without_images_needs_no_features(ready, extractor):
    module = ready(val_per_class=0, extractor=extractor)
    assert len(module.val_set) == 0
    assert read(module, module.val_dataloader()) == []


# With Lightning


class Recorder(L.LightningModule):
    """Trains one number and notes what each step was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_index):
        images = batch["images"]
        self.seen.append((self.current_epoch, batch["labels"].tolist(), images.sum().item()))
        return self.weight * images.mean()

    def validation_step(self, batch, batch_index):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, folder, epochs, checkpoint=None):
    recorder = Recorder()
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(recorder, datamodule=module, ckpt_path=checkpoint)
    trainer.save_checkpoint(folder / "last.ckpt")
    return recorder.seen


@pytest.mark.parametrize("views", [2, None])
def test_a_resumed_run_sees_what_one_that_never_stopped_would_have(datamodule, tmp_path, views):
    given = {"views": views, "images_per_class": 6, "composites": 12, "controls": 8}
    whole = fit(datamodule(**given), tmp_path, 3)
    assert [epoch for epoch, _, _ in whole] == [0] * 5 + [1] * 5 + [2] * 5
    assert whole[:5] != [(0, *rest) for _, *rest in whole[5:10]]
    first = fit(datamodule(**given), tmp_path, 2)
    resumed = fit(datamodule(**given), tmp_path, 3, tmp_path / "last.ckpt")
    assert first + resumed == whole
