"""What every data set gets: the same batches in any process, after any resume, from any cache."""

import json
from contextlib import nullcontext

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from fashion_transfer.data import Augmentation, Batch, ClassificationDataModule, Split
from fashion_transfer.errors import ArgumentError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.synthetic import Exposure
from fashion_transfer.synthetic.images import MAX_ROWS

MULTI_ITEM = 10
FORMS = ("images", "features", "maps")


class PixelTable:
    batch_field = "features"

    def __init__(self, rows, features):
        self.places = {row: place for place, row in enumerate(rows.tolist())}
        self.features = features
        self.width = features.shape[1]

    def gather(self, rows, out=None):
        features = self.features[[self.places[row] for row in rows.tolist()]]
        return features if out is None else out.copy_(features)


class PixelExtractor:
    """Stands for the real one: its features are the input's pixels, and it notes each call."""

    def __init__(self):
        self.calls = []

    def plan(self, requests):
        assert not {request.title for request in requests} & set(self.titles)
        return nullcontext()

    def __call__(self, key, source_size, rows, inputs, title):
        self.calls.append({"key": key, "size": source_size, "rows": rows, "title": title})
        return PixelTable(rows, inputs(rows, torch.device("cpu")).flatten(1))

    @property
    def titles(self):
        return [call["title"] for call in self.calls]


def read(loader, epoch: int = 0) -> list[Batch]:
    """The batches of one epoch."""
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(epoch)
    return list(loader)


def form_of(batch: Batch) -> str:
    (form,) = [name for name in FORMS if getattr(batch, name) is not None]
    return form


def joined(batches, name: str = "images") -> torch.Tensor:
    return torch.cat([getattr(batch, name) for batch in batches])


def assert_same(batches, others) -> None:
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others, strict=True):
        assert form_of(batch) == form_of(other)
        assert torch.equal(batch.labels, other.labels)
        assert torch.equal(getattr(batch, form_of(batch)), getattr(other, form_of(batch)))


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


# The contract


@pytest.mark.parametrize("part", [lambda m: m.class_names, lambda m: m.load_split("train")])
def test_a_data_set_must_define_its_parts(part):
    with pytest.raises(NotImplementedError):
        part(ClassificationDataModule())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_size", 31),
        ("image_size", 0),
        ("image_size", None),
        ("views", 0),
        ("views", -1),
        ("views", 1.5),
        ("batch_size", 0),
        ("batch_size", "many"),
        ("min_epoch_size", 0),
        ("num_workers", -1),
        ("seed", -1),
        ("seed", None),
        ("view_seed", -1),
    ],
)
def test_impossible_value_is_rejected_by_name_at_once(datamodule, name, value):
    with pytest.raises(ArgumentError, match=rf"^{name} must be .*, got {value!r}$"):
        datamodule(**{name: value})


def test_a_stage_reads_only_what_it_needs(datamodule):
    module = datamodule(extractor=PixelExtractor())
    module.setup("test")
    assert module.train_set is None
    assert module.extractor.titles == ["test images"]
    module = datamodule()
    module.setup("fit")
    assert module.test_set is None


def test_setting_up_twice_does_nothing_twice(datamodule):
    module = datamodule(extractor=PixelExtractor())
    for stage in ("fit", "validate", "fit", "test", "test", None):
        module.setup(stage)
    assert sorted(module.extractor.titles) == sorted(set(module.extractor.titles))


# Batches of images


def test_image_batch_holds_images_between_0_and_1_and_labels(ready):
    module = ready()
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        batch = read(loader)[0]
        assert form_of(batch) == "images"
        assert batch.images.shape == (16, 1, 32, 32)
        assert batch.images.dtype == torch.float32
        assert 0 <= batch.images.min() < batch.images.max() <= 1 + 1e-6
        assert batch.labels.shape == (16,)
        assert batch.labels.dtype == torch.int64


def test_every_training_image_comes_exactly_once_per_epoch(ready):
    module = ready(views=1)
    expected = as_set(joined(read(module.clean_dataloader())))
    for epoch in range(2):
        batches = read(module.train_dataloader(), epoch)
        assert [len(batch) for batch in batches] == [16] * 5
        assert as_set(joined(batches)) == expected
        assert np.array_equal(np.bincount(joined(batches, "labels")), np.full(10, 8))


def test_last_batch_is_smaller_and_not_dropped(ready):
    module = ready(batch_size=32)
    assert [len(batch) for batch in read(module.train_dataloader())] == [32, 32, 16]


def test_validation_and_test_come_clean_and_in_order(ready):
    module = ready()
    for loader, dataset in (
        (module.val_dataloader(), module.val_set),
        (module.test_dataloader(), module.test_set),
        (module.clean_dataloader(), module.train_set),
    ):
        one, other = read(loader), read(loader, epoch=3)
        assert_same(one, other)
        assert joined(one, "labels").tolist() == dataset.split.labels.tolist()
        expected = [dataset.__getitems__([position]).images for position in range(len(dataset))]
        assert torch.equal(joined(one), torch.cat(expected))


def test_any_split_becomes_a_dataset_as_the_data_set_prepares_them(ready):
    module = ready(extractor=PixelExtractor())
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28), dtype=np.uint8)
    split = Split("other images", images, [5, 6, 7], "0123")
    [dataset] = module.make_datasets([split])
    assert module.extractor.titles[-1] == "other images"
    (batch,) = read(module.dataloader(dataset))
    assert batch.labels.tolist() == [5, 6, 7]
    [plain] = ready().make_datasets([split])
    expected = plain.__getitems__([0, 1, 2]).images.flatten(1)
    assert torch.equal(batch.features, expected)


# Order and views


def test_order_and_views_depend_on_seed_and_epoch_alone(ready):
    one, again, other = ready(seed=3), ready(seed=3), ready(seed=4)
    batches = read(one.train_dataloader(), 0)
    torch.manual_seed(99)
    np.random.default_rng(99)
    assert_same(batches, read(again.train_dataloader(), 0))
    next_epoch = read(one.train_dataloader(), 1)
    assert not torch.equal(joined(next_epoch, "labels"), joined(batches, "labels"))
    different = read(other.train_dataloader(), 0)
    assert not torch.equal(joined(different, "labels"), joined(batches, "labels"))


def test_later_epoch_does_not_depend_on_those_before(ready):
    module = ready(views=3)
    loader = module.train_dataloader()
    for epoch in range(3):
        batches = read(loader, epoch)
    assert_same(read(ready(views=3).train_dataloader(), 2), batches)


@pytest.mark.parametrize("views", [2, None])
def test_workers_change_nothing(ready, views):
    given = {"views": views, "synthetic": Exposure(composites=12, controls=8)}
    alone, helped = ready(**given), ready(**given, num_workers=2)
    loader = helped.train_dataloader()
    assert loader.num_workers == 2
    for epoch in (0, 1):  # the workers persist from one epoch to the next
        assert_same(read(loader, epoch), read(alone.train_dataloader(), epoch))


def test_cached_features_need_no_workers(ready):
    module = ready(num_workers=2, extractor=PixelExtractor())
    assert module.train_dataloader().num_workers == module.val_dataloader().num_workers == 0
    fresh = ready(num_workers=2, extractor=PixelExtractor(), views=None)
    assert fresh.train_dataloader().num_workers == 2


def test_loaders_leave_the_global_generator_alone(ready):
    module = ready()
    state = torch.get_rng_state()
    read(module.train_dataloader())
    read(module.val_dataloader())
    assert torch.equal(torch.get_rng_state(), state)


def test_one_view_is_the_clean_image(ready):
    module = ready(views=1)
    clean = as_set(joined(read(module.clean_dataloader())))
    assert as_set(joined(read(module.train_dataloader(), 5))) == clean


def test_fresh_views_show_another_view_of_every_image_each_epoch(ready):
    module = ready(views=None, augmentation=Augmentation(rotation=10, zoom=0.1))
    loader = module.train_dataloader()
    seen = as_set(joined(read(module.clean_dataloader())))
    for epoch in range(3):
        views = as_set(joined(read(loader, epoch)))
        assert len(views) == 80
        assert not views & seen
        seen |= views


def test_view_seed_changes_the_views_and_seed_does_not(ready):
    given = {"views": None, "augmentation": Augmentation(rotation=10, zoom=0.1)}
    one, other = (ready(view_seed=s, **given) for s in (0, 1))
    images, others = (joined(read(m.train_dataloader())) for m in (one, other))
    assert not as_set(images) & as_set(others)
    reordered = ready(seed=8, **given)
    assert as_set(joined(read(reordered.train_dataloader()))) == as_set(images)


# Batches of features


def test_features_replace_images_everywhere(ready):
    module = ready(extractor=PixelExtractor())
    for loader in (
        module.train_dataloader(),
        module.clean_dataloader(),
        module.val_dataloader(),
        module.test_dataloader(),
    ):
        batch = read(loader)[0]
        assert form_of(batch) == "features"
        assert batch.features.shape == (16, 32 * 32)


@pytest.mark.parametrize("views", [1, 3])
def test_feature_batches_match_image_batches(ready, views):
    images, features = ready(views=views), ready(views=views, extractor=PixelExtractor())
    for epoch in range(2):
        expected = read(images.train_dataloader(), epoch)
        batches = read(features.train_dataloader(), epoch)
        assert torch.equal(joined(batches, "labels"), joined(expected, "labels"))
        flat = joined(expected).flatten(1)
        assert torch.allclose(joined(batches, "features"), flat, atol=1e-5)
    for name in ("clean_dataloader", "val_dataloader", "test_dataloader"):
        expected = read(getattr(images, name)())
        batches = read(getattr(features, name)())
        assert torch.equal(joined(batches, "features"), joined(expected).flatten(1))


def test_fresh_views_are_images_while_clean_ones_are_features(ready):
    module = ready(views=None, extractor=PixelExtractor())
    assert form_of(read(module.train_dataloader())[0]) == "images"
    assert form_of(read(module.clean_dataloader())[0]) == "features"
    assert form_of(read(module.val_dataloader())[0]) == "features"
    expected = read(ready(views=None).train_dataloader(), 2)
    assert_same(read(module.train_dataloader(), 2), expected)


def test_extractor_may_be_set_after_construction(datamodule):
    module = datamodule()
    module.extractor = PixelExtractor()
    module.setup("fit")
    assert form_of(next(iter(module.val_dataloader()))) == "features"


def test_extractor_is_called_for_each_set_and_view_once(ready):
    extractor = PixelExtractor()
    module = ready(views=2, extractor=extractor)
    assert extractor.titles == [
        "training images",
        "training images, view 1",
        "validation images",
        "test images",
    ]
    assert [call["size"] for call in extractor.calls] == [140, 140, 140, 60]
    assert np.array_equal(extractor.calls[0]["rows"], module.train_set.split.rows)
    assert np.array_equal(extractor.calls[2]["rows"], module.val_set.split.rows)
    for call in extractor.calls:
        assert json.loads(json.dumps(call["key"])) == call["key"]


# Synthetic images


@pytest.mark.parametrize("cached", [False, True], ids=["images", "features"])
@pytest.mark.parametrize("views", [1, 2, None])
def test_training_shows_each_synthetic_image_clean_and_once_per_epoch(ready, views, cached):
    extractor = PixelExtractor() if cached else None
    module = ready(synthetic=Exposure(composites=20, controls=12), views=views, extractor=extractor)
    composites, controls = module.synthetic_sets
    clean = as_set(
        torch.cat(
            [
                dataset.inputs(0, np.arange(len(dataset)), torch.device("cpu")).flatten(1)
                for dataset in (composites, controls)
            ]
        )
    )
    form = "features" if cached and views else "images"
    for epoch in range(2):
        batches = read(module.train_dataloader(), epoch)
        assert [len(batch) for batch in batches] == [16] * 7
        assert {form_of(batch) for batch in batches} == {form}
        counts = np.bincount(joined(batches, "labels"), minlength=11)
        expected = np.bincount(controls.split.labels, minlength=11) + np.array([8] * 10 + [20])
        assert counts.tolist() == expected.tolist()
        images = joined(batches, form).flatten(1)
        assert clean <= as_set(images)
        single = joined(batches, "labels") < MULTI_ITEM
        assert len(as_set(images[single]) & clean) == 12


def test_synthetic_images_mix_with_others_in_an_order_of_their_own_each_epoch(ready):
    module = ready(synthetic=Exposure(composites=40, controls=0))
    orders = [joined(read(module.train_dataloader(), e), "labels") for e in range(2)]
    assert not torch.equal(*orders)
    halves = [(order[:60] == MULTI_ITEM).sum() for order in orders]
    assert all(8 < half < 32 for half in halves)


def test_statistics_and_validation_are_of_single_images_alone(ready):
    module = ready(synthetic=Exposure(composites=20, controls=20))
    for loader, count in ((module.clean_dataloader(), 80), (module.val_dataloader(), 40)):
        labels = joined(read(loader), "labels")
        assert len(labels) == count
        assert labels.max() < MULTI_ITEM


def test_synthetic_images_are_cached_under_one_view_unless_views_are_fresh(ready):
    extractor = PixelExtractor()
    ready(synthetic=Exposure(composites=20, controls=12), extractor=extractor, views=2)
    calls = {call["title"]: call for call in extractor.calls}
    for title, count in (("composites", 20), ("controls", 12)):
        assert calls[title]["size"] == MAX_ROWS
        assert calls[title]["rows"].tolist() == list(range(count))
        assert calls[title]["key"]["view"] == 0
    # Training and validation images are of one source, the others each of their own.
    assert len({json.dumps(call["key"], sort_keys=True) for call in extractor.calls}) == 5
    fresh = PixelExtractor()
    ready(synthetic=Exposure(composites=20, controls=12), extractor=fresh, views=None)
    assert fresh.titles == ["training images", "validation images", "test images"]


@pytest.mark.parametrize(("composites", "multi_item"), [(4, True), (0, False)])
def test_multi_item_label_exists_if_and_only_if_there_are_composites(ready, composites, multi_item):
    module = ready(synthetic=Exposure(composites=composites, controls=4))
    assert module.multi_item is multi_item
    assert [d.split.name for d in module.synthetic_sets] == ["composites"] * multi_item + [
        "controls"
    ]


def test_without_synthesis_there_are_no_synthetic_images(ready):
    module = ready()
    assert module.synthetic_sets == []
    assert module.multi_item is False


# With the real extractor


@pytest.fixture
def extractor(backbone, tmp_path):
    return Extractor(backbone, FeatureStore(tmp_path / "store"))


def test_cached_features_are_those_of_the_images(ready, backbone, extractor):
    images, features = ready(), ready(extractor=extractor)
    assert extractor.computed == 80 * 2 + 40 + 60
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        expected = read(getattr(images, name)())[0]
        batch = read(getattr(features, name)())[0]
        assert torch.equal(batch.labels, expected.labels)
        assert batch.features.dtype == torch.float32
        with torch.no_grad():
            wanted = backbone(expected.images)
        assert torch.allclose(batch.features, wanted, rtol=2e-3, atol=1e-3)


# With Lightning


class Recorder(L.LightningModule):
    """Trains one number and notes what each step receives."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_index):
        self.seen.append((self.current_epoch, batch.labels.tolist(), batch.images.sum().item()))
        return self.weight * batch.images.mean()

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
        callbacks=[ModelCheckpoint(folder, filename="epoch", enable_version_counter=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(recorder, datamodule=module, ckpt_path=checkpoint)
    trainer.save_checkpoint(folder / "end.ckpt")
    return recorder.seen


# Of the last epoch, as a callback saves it, and of the end of the run.
@pytest.mark.parametrize(
    ("views", "workers", "name"),
    [(2, 0, "epoch.ckpt"), (None, 0, "end.ckpt"), (None, 1, "epoch.ckpt"), (None, 1, "end.ckpt")],
)
def test_resumed_run_sees_what_an_uninterrupted_one_would_have(
    datamodule, tmp_path, views, workers, name
):
    synthetic = Exposure(composites=12, controls=8)
    given = {"views": views, "images_per_class": 6, "synthetic": synthetic, "num_workers": workers}
    whole = fit(datamodule(**given), tmp_path, 3)
    assert [epoch for epoch, _, _ in whole] == [0] * 5 + [1] * 5 + [2] * 5
    assert whole[:5] != [(0, *rest) for _, *rest in whole[5:10]]
    first = fit(datamodule(**given), tmp_path, 2)
    resumed = fit(datamodule(**given), tmp_path, 3, tmp_path / name)
    assert first + resumed == whole


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")
def test_lightning_trains_without_validation_images(datamodule, tmp_path):
    assert len(fit(datamodule(val_per_class=0), tmp_path, 1)) == 5
