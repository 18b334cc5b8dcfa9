"""Callbacks draw the images they name, once, into folder and loggers."""

from functools import partial

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fashion_transfer.reporting import callbacks
from fashion_transfer.reporting.callbacks import Figures
from fashion_transfer.synthetic import Exposure

NAMES = {"training_views", "confusion", "classes", "reliability", "mistakes"}


@pytest.fixture
def titles(monkeypatch):
    """The title that each figure is drawn with, by the name of the function."""
    given: dict[str, str] = {}

    def spy(name):
        draw = getattr(callbacks, name)

        def call(*args, **options):
            given[name] = options.get("title", args[-1])
            return draw(*args, **options)

        monkeypatch.setattr(callbacks, name, call)

    for name in ("confusion_matrix", "class_bars", "reliability_diagram", "mistakes_sheet"):
        spy(name)
    return given


def image_tags(trainer: L.Trainer) -> set[str]:
    trainer.logger.experiment.flush()
    events = EventAccumulator(trainer.logger.log_dir, {"images": 1})
    events.Reload()
    return set(events.Tags()["images"])


def test_figures_of_a_tested_run_are_of_the_test_images(
    make_task, make_trainer, datamodule, tmp_path, titles
):
    data, trainer = datamodule(), make_trainer(Figures(str(tmp_path / "figures")))
    data.setup()
    task = make_task()
    trainer.fit(task, datamodule=data)
    assert titles == {}
    assert [file.stem for file in (tmp_path / "figures").iterdir()] == ["training_views"]
    [metrics] = trainer.test(task, datamodule=data, verbose=False)
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == NAMES
    assert image_tags(trainer) == {f"figures/{name}" for name in NAMES}
    assert set(titles.values()) == {"60 test images"}
    # The task had its outputs, too.
    assert 0 <= metrics["test/accuracy"] <= 1


def test_figures_of_a_run_without_test_are_of_the_best_epoch_of_validation(
    make_task, make_trainer, datamodule, tmp_path, titles
):
    best = ModelCheckpoint(tmp_path, monitor="val/loss", filename="{epoch}")
    trainer = make_trainer(Figures(), best, max_epochs=3)
    task = make_task()
    task.optimizer = partial(torch.optim.SGD, lr=50.0)  # the loss is lowest in an early epoch
    data = datamodule()
    data.load_split = lambda name: None if name == "test" else type(data).load_split(data, name)
    trainer.fit(task, datamodule=data)
    epoch = int(best.best_model_path.partition("epoch=")[2].partition(".")[0].partition("-")[0])
    assert set(titles.values()) == {f"40 validation images, epoch {epoch + 1}"}
    assert image_tags(trainer) == {f"figures/{name}" for name in NAMES}


def test_figures_of_a_run_whose_loss_was_no_number_at_first_are_of_its_best_epoch(
    make_task, make_trainer, datamodule, tmp_path, titles
):
    best = ModelCheckpoint(tmp_path, monitor="val/loss", filename="{epoch}")
    trainer, data = make_trainer(Figures(), best, max_epochs=2), datamodule()
    data.load_split = lambda name: None if name == "test" else type(data).load_split(data, name)
    task = make_task()
    log = task.log

    def nan_at_first(name, value, **options):
        first = name == "val/loss" and trainer.current_epoch == 0
        log(name, value * float("nan") if first else value, **options)

    task.log = nan_at_first
    trainer.fit(task, datamodule=data)
    assert best.best_model_path.endswith("epoch=1.ckpt")
    assert set(titles.values()) == {"40 validation images, epoch 2"}


def test_training_views_show_every_view_and_the_synthetic_images(datamodule):
    data = datamodule(views=2, synthetic=Exposure(4, 3, 8))
    data.setup("fit")
    rows = callbacks._views(data)
    assert list(rows) == ["training images", "training images, view 1", "composites", "controls"]
    assert [len(pictures) for pictures in rows.values()] == [8, 8, 4, 3]
    assert all(p.shape == (1, 32, 32) and p.dtype == np.uint8 for p in rows["composites"])
    first, other = rows["training images"], rows["training images, view 1"]
    assert not np.array_equal(first[0], other[0])


def test_mistakes_are_left_out_where_outputs_are_in_another_order(datamodule):
    data = datamodule()
    data.setup("test")
    labels = torch.from_numpy(data.test_set.split.labels)
    assert len(callbacks._images(data.test_set, labels[:20])) == 20
    assert callbacks._images(data.test_set, labels.flip(0)) is None
    assert callbacks._images(None, labels) is None


def test_probabilities_leave_out_the_multi_item_logit(make_task, make_trainer, datamodule):
    data = datamodule(synthetic=Exposure(4, 3, 8))
    data.setup()
    trainer = make_trainer(Figures())
    task = make_task(multi_item=True)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    assert image_tags(trainer) == {f"figures/{name}" for name in NAMES}
