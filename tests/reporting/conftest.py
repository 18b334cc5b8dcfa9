"""Predictions and images of known content, tasks and trainers for callbacks."""

import sys
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from fashion_transfer.confidence.decision import Prediction
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.models import ClassificationTask, Classifier
from fashion_transfer.reporting import ImagePrediction


@pytest.fixture
def prediction():
    """`prediction(warning=False)`: a coat with confidence 0.9, or 0.5 with a warning."""

    def make(warning: bool = False) -> Prediction:
        confidence = 0.5 if warning else 0.9
        top = (("Coat", confidence), ("Shirt", 0.07), ("Dress", 0.03))
        details = ("ambiguous", "It may be a coat or a shirt.") if warning else ()
        return Prediction("Coat", confidence, top, warning, *details)

    return make


@pytest.fixture
def image_prediction(prediction):
    """`image_prediction(name, warning=False, error="")`: for an image file of that name."""

    def make(name: str | Path, warning: bool = False, error: str = "") -> ImagePrediction:
        return ImagePrediction(Path(name), None if error else prediction(warning), error)

    return make


@pytest.fixture
def numbered_images():
    """`numbered_images(count, size=28)`: grey images, each filled with its own number."""

    def make(count: int, size: int = 28) -> np.ndarray:
        return np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((size, size), np.uint8)

    return make


@pytest.fixture
def without_matplotlib(monkeypatch):
    """From here on, importing Matplotlib raises ImportError."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def assert_texts_fit():
    """`assert_texts_fit(figure)`: no text of a figure is cut off at its edges."""

    def check(figure) -> None:
        figure.draw_without_rendering()
        for axis in figure.axes:
            texts = [*axis.texts, axis.title, axis.xaxis.label, axis.yaxis.label]
            boxes = [text.get_window_extent() for text in texts if text.get_text()]
            # Labels of ticks beyond the limits exist as well, above and below the figure.
            ticks = [label.get_window_extent() for label in axis.get_yticklabels()]
            assert all(box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)
            assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
            assert all(box.x0 >= 0 for box in ticks if box.width)

    return check


@pytest.fixture
def make_task(backbone):
    """`make_task(multi_item=False)`: an untrained task on the shared ResNet18."""

    def make(multi_item: bool = False) -> ClassificationTask:
        torch.manual_seed(0)
        head = {"name": "linear"}
        classifier = Classifier(
            backbone, CLASS_NAMES, head=head, image_size=32, multi_item=multi_item
        )
        rate = partial(torch.optim.AdamW, lr=0.01)
        return ClassificationTask(classifier, optimizer=rate, scheduler=None, mixup=0.0)

    return make


@pytest.fixture
def make_trainer(tmp_path):
    """`make_trainer(*callbacks, **options)`: on the CPU, one epoch, logs to TensorBoard."""

    def make(*given, **options) -> L.Trainer:
        board = TensorBoardLogger(tmp_path, "tensorboard", "", default_hp_metric=False)
        quiet = {
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": [board],
            "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in given),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        return L.Trainer(callbacks=list(given), **(quiet | options))

    return make
