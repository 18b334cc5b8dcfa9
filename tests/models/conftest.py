"""Small classifiers and tasks on the shared ResNet18, trainers that write nothing, batches."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fashion_transfer.data import Batch, FashionMNISTDataModule
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.models import ClassificationTask, Classifier
from fashion_transfer.synthetic import Exposure

ADAMW = partial(torch.optim.AdamW, lr=0.01)

TASK_OPTIONS = (
    "optimizer",
    "scheduler",
    "label_smoothing",
    "mixup",
    "class_weights",
    "trainable_stage_lr",
    "threshold",
    "threshold_target",
    "seed",
)


@dataclass(frozen=True)
class Fitted:
    """A classifier after training, and the two checkpoints of it."""

    classifier: Classifier
    best: Path
    last: Path


@pytest.fixture(scope="session")
def make_classifier(backbone):
    """`make_classifier(**overrides)`: a linear head on the shared ResNet18, always the same."""

    def make(**overrides) -> Classifier:
        small = {
            "backbone": backbone,
            "class_names": CLASS_NAMES,
            "head": {"name": "linear"},
            "image_size": 32,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Classifier(**(small | overrides))

    return make


@pytest.fixture(scope="session")
def make_task(make_classifier):
    """`make_task(**overrides)`: a task at a constant rate, without mixup, of `make_classifier`.

    Overrides are arguments of the task or of the classifier; `classifier` is a ready one.
    """

    def make(classifier: Classifier | None = None, **overrides) -> ClassificationTask:
        small = {"optimizer": ADAMW, "scheduler": None, "mixup": 0.0}
        options = {k: overrides.pop(k) for k in TASK_OPTIONS if k in overrides}
        classifier = classifier or make_classifier(**overrides)
        return ClassificationTask(classifier, **(small | options))

    return make


@pytest.fixture(scope="session")
def make_trainer():
    """`make_trainer(folder, **overrides)`: a Trainer on the CPU that prints and writes nothing."""

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
def make_features():
    """`make_features(labels, seed)`: a batch of features (B, 512) that depend on the label."""
    centres = torch.randn(11, 512, generator=torch.Generator().manual_seed(5))

    def make(labels: list[int] | torch.Tensor, seed: int = 0) -> Batch:
        labels = torch.as_tensor(labels)
        noise = torch.randn(len(labels), 512, generator=torch.Generator().manual_seed(seed))
        return Batch(labels=labels, features=0.2 * centres[labels] + noise)

    return make


@pytest.fixture(scope="session")
def feature_loader(make_features):
    """`feature_loader(count, seed)`: batches of 16 of cached features, labels 0 to 9 in turn."""

    def make(count: int = 80, seed: int = 0) -> DataLoader:
        batch = make_features(torch.arange(count) % 10, seed)
        parts = zip(batch.labels.split(16), batch.features.split(16), strict=True)
        batches = [Batch(labels=labels, features=features) for labels, features in parts]
        return DataLoader(batches, batch_size=None)

    return make


SMALL_DATA: dict[str, Any] = {
    "images_per_class": 8,
    "val_per_class": 5,
    "image_size": 32,
    "min_epoch_size": 1,
    "check_md5": False,
}


@pytest.fixture(scope="session")
def fitted(make_task, make_trainer, idx_dir, tmp_path_factory) -> Fitted:
    """A classifier after two epochs with its best and its last checkpoint; do not change them."""
    folder = tmp_path_factory.mktemp("fitted")
    datamodule = FashionMNISTDataModule(str(idx_dir), **SMALL_DATA)
    best = ModelCheckpoint(
        folder, "best", monitor="val/accuracy", mode="max", save_weights_only=True
    )
    last = ModelCheckpoint(folder, "last")
    task = make_task(head={"name": "mlp", "hidden": 16})
    trainer = make_trainer(folder, callbacks=[best, last], enable_checkpointing=True)
    trainer.fit(task, datamodule=datamodule)
    return Fitted(task.classifier.eval(), folder / "best.ckpt", folder / "last.ckpt")


@pytest.fixture(scope="session")
def exposed(make_task, make_trainer, idx_dir, tmp_path_factory) -> Fitted:
    """A classifier trained on composites and controls, with a fitted threshold."""
    folder = tmp_path_factory.mktemp("exposed")
    synthetic = Exposure(composites=40, controls=16)
    datamodule = FashionMNISTDataModule(str(idx_dir), **SMALL_DATA, synthetic=synthetic)
    task = make_task(
        multi_item=True,
        optimizer=partial(torch.optim.AdamW, lr=0.001),
        threshold="auto",
        threshold_target={"warned": 0.25},
    )
    trainer = make_trainer(folder, max_epochs=3)
    trainer.fit(task, datamodule=datamodule)
    trainer.save_checkpoint(folder / "last.ckpt")
    return Fitted(task.classifier.eval(), folder / "last.ckpt", folder / "last.ckpt")


@pytest.fixture
def altered(fitted, tmp_path):
    """`altered(change)`: the path of a checkpoint after `change(its content)`."""

    def save(change) -> Path:
        content = torch.load(fitted.best, weights_only=True)
        change(content)
        path = tmp_path / "altered.ckpt"
        torch.save(content, path)
        return path

    return save


@pytest.fixture(scope="session")
def unfrozen(make_backbone):
    """A ResNet18 whose last stage is trained in each classifier's own copy."""
    return make_backbone(pool=["layer2", "layer4"], unfreeze="layer4")


@pytest.fixture
def images() -> torch.Tensor:
    """Five colour images of noise, (5, 3, 32, 32)."""
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def state_of():
    """`state_of(module)`: a copy of its tensors by name."""

    def copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in module.state_dict().items()}

    return copy


@pytest.fixture(scope="session")
def same():
    """`same(first, second)`: whether two states are equal, bit for bit."""

    def compare(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
        return first.keys() == second.keys() and all(
            torch.equal(first[name], second[name]) for name in first
        )

    return compare


@pytest.fixture(scope="session")
def outputs_of():
    """`outputs_of(classifier, loader)`: logits, OOD scores and labels of all images."""

    @torch.no_grad()
    def collect(classifier: Classifier, loader: DataLoader) -> tuple[torch.Tensor, ...]:
        parts = [(*classifier.outputs(batch), batch.labels) for batch in loader]
        return tuple(map(torch.cat, zip(*parts, strict=True)))

    return collect
