"""Classifiers over the shared backbone, trainers without trimmings, and one fitted classifier."""

from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fashion_transfer.data import CLASSES, FashionMNISTDataModule
from fashion_transfer.models import Classifier


@dataclass(frozen=True)
class Fitted:
    """A classifier after two epochs, and the two checkpoints it left."""

    classifier: Classifier
    best: Path
    last: Path


@pytest.fixture(scope="session")
def make_classifier(backbone):
    """`make_classifier(**overrides)`: a linear head on the shared ResNet18, always the same."""

    def make(**overrides) -> Classifier:
        small = {
            "backbone": backbone,
            "classes": CLASSES,
            "head": {"name": "linear"},
            "image_size": 32,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Classifier(**(small | overrides))

    return make


@pytest.fixture(scope="session")
def make_trainer():
    """`make_trainer(folder, **overrides)`: a Trainer on the CPU that says and writes nothing."""

    def make(folder: Path, **overrides) -> L.Trainer:
        quiet = {
            "default_root_dir": folder,
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 2,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        return L.Trainer(**(quiet | overrides))

    return make


@pytest.fixture(scope="session")
def fitted(make_classifier, make_trainer, idx_dir, tmp_path_factory) -> Fitted:
    """One fitted classifier with its best and its last checkpoint; do not change them."""
    folder = tmp_path_factory.mktemp("fitted")
    datamodule = FashionMNISTDataModule(
        str(idx_dir), images_per_class=8, val_per_class=4, image_size=32, check_md5=False
    )
    best = ModelCheckpoint(
        folder, "best", monitor="val/accuracy", mode="max", save_weights_only=True
    )
    last = ModelCheckpoint(folder, "last")
    classifier = make_classifier(head={"name": "mlp", "hidden": 16})
    trainer = make_trainer(folder, callbacks=[best, last], enable_checkpointing=True)
    trainer.fit(classifier, datamodule=datamodule)
    return Fitted(classifier.eval(), folder / "best.ckpt", folder / "last.ckpt")
