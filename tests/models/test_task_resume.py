"""All randomness comes from (seed, epoch): twice is equal, and resumed is as never stopped."""

from functools import partial

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from fashion_transfer.data import Augmentation
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import read_checkpoint
from fashion_transfer.synthetic import Exposure

EPOCHS = 3

HEAD = {"name": "mlp", "hidden": 16, "dropout": 0.5}

RANDOM = {
    "head": HEAD,
    "mixup": 1.0,
    "multi_item": True,
    "scheduler": torch.optim.lr_scheduler.OneCycleLR,
    "threshold": "auto",
    "threshold_target": {"warned": 0.25},
}
"""A task with everything that draws random numbers."""


class Stop(Callback):
    """Ends training as a signal would, before the last epoch."""

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == EPOCHS - 1:
            raise SystemExit


@pytest.fixture
def fit(make_task, make_trainer, tmp_path):
    """`fit(datamodule, noise, path, callbacks, **task)`: the task after `EPOCHS` epochs."""

    def run(datamodule, noise=0, path=None, callbacks=(), **options):
        task = make_task(**options)
        torch.manual_seed(noise)  # what happened before training must not matter
        trainer = make_trainer(
            tmp_path,
            max_epochs=EPOCHS,
            callbacks=[*callbacks],
            enable_checkpointing=bool(callbacks),
        )
        trainer.fit(task, datamodule=datamodule, ckpt_path=path, weights_only=True)
        return task

    return run


@pytest.fixture
def cached(datamodule, backbone, tmp_path):
    """`cached(**overrides)`: a data module with cached features, composites and controls."""

    def make(**overrides):
        return datamodule(
            images_per_class=4,
            synthetic=Exposure(composites=16, controls=16),
            extractor=Extractor(backbone, FeatureStore(tmp_path / "cache")),
            **overrides,
        )

    return make


def everything(task) -> dict[str, torch.Tensor]:
    """What training leaves behind."""
    state = {f"head.{name}": value for name, value in task.classifier.head.state_dict().items()}
    state |= task.classifier.calibrator.state_dict()
    return state | {"threshold": torch.tensor(task.classifier.threshold)}


def test_the_same_training_twice_gives_the_same_head(fit, cached, same):
    first, second = (everything(fit(cached(), noise, **RANDOM)) for noise in (1, 2))
    assert same(first, second)


@pytest.mark.parametrize("options", [{"mixup": 1.0}, {"head": HEAD}], ids=["mixup", "dropout"])
def test_another_seed_draws_other_numbers(fit, cached, same, options):
    options = {"multi_item": True} | options
    first, second = (everything(fit(cached(), seed=seed, **options)) for seed in (0, 1))
    assert not same(first, second)


def test_epochs_of_one_run_draw_different_numbers(
    make_task, make_trainer, feature_loader, tmp_path
):
    draws = []

    class Draw(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            with torch.random.fork_rng(devices=[]):
                draws.append(torch.rand(()).item())

    task = make_task(standardise=False)
    make_trainer(tmp_path, max_epochs=3, limit_train_batches=1, callbacks=[Draw()]).fit(
        task, feature_loader()
    )
    assert len(set(draws)) == 3


def stop_and_resume(fit, make, folder, **options):
    """The task of a run that was stopped before its last epoch and then resumed."""
    path = folder / "last.ckpt"
    with pytest.raises(SystemExit):
        fit(make(), callbacks=[ModelCheckpoint(folder, "last"), Stop()], **options)
    assert read_checkpoint(path)["epoch"] == EPOCHS - 2
    callbacks = [ModelCheckpoint(folder, "last", enable_version_counter=False)]
    return fit(make(), noise=7, path=path, callbacks=callbacks, **options)


def test_training_is_not_resumed_from_within_an_epoch(fit, cached, tmp_path):
    save = ModelCheckpoint(tmp_path, "step", every_n_train_steps=3)
    with pytest.raises(SystemExit):
        fit(cached(), callbacks=[save, Stop()], **RANDOM)
    with pytest.raises(FashionTransferError, match=r"within an epoch, after \d batches of it"):
        fit(cached(), path=tmp_path / "step.ckpt", **RANDOM)


def test_a_resumed_run_equals_one_that_never_stopped(fit, cached, same, tmp_path):
    expected = fit(cached(), **RANDOM)
    resumed = stop_and_resume(fit, cached, tmp_path, **RANDOM)
    assert same(everything(expected), everything(resumed))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_on_fresh_views_equals_one_that_never_stopped(
    fit, datamodule, same, tmp_path, workers
):
    augmentation = Augmentation(rotation=10, shift=0.1, zoom=0.1, shear=0.1, flip=0.5)
    make = partial(
        datamodule,
        views=None,
        augmentation=augmentation,
        images_per_class=2,
        val_per_class=2,
        num_workers=workers,
    )
    options = {"head": HEAD, "mixup": 1.0}
    expected = fit(datamodule(**(make.keywords | {"num_workers": 0})), **options)
    resumed = stop_and_resume(fit, make, tmp_path, **options)
    assert same(everything(expected), everything(resumed))


def test_a_resumed_run_equals_one_that_never_stopped_with_a_trained_stage(
    fit, datamodule, unfrozen, state_of, same, tmp_path
):
    make = partial(
        datamodule,
        images_per_class=1,
        val_per_class=1,
        extractor=Extractor(unfrozen, FeatureStore(tmp_path / "cache")),
    )
    options = {"backbone": unfrozen, "mixup": 1.0}
    expected = fit(make(), **options)
    resumed = stop_and_resume(fit, make, tmp_path, **options)
    assert same(everything(expected), everything(resumed))
    assert same(state_of(expected.classifier.stages), state_of(resumed.classifier.stages))
