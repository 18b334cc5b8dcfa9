"""Accuracy with and without near-duplicates."""

import numpy as np
import pytest
import torch

from fashion_transfer.benchmarks import duplicates
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.evaluation.near_duplicates import SIMILAR
from fashion_transfer.models import Classifier


@pytest.fixture
def classifier(make_backbone):
    torch.manual_seed(0)
    return Classifier(make_backbone(), CLASS_NAMES, image_size=32, standardise=False).eval()


@pytest.mark.parametrize("alike", [[], [3, 17, 40]])
def test_accuracy_is_given_with_and_without_near_duplicates(
    classifier, idx_dir, tmp_path, monkeypatch, alike
):
    same = np.isin(np.arange(60), alike)
    shapes = []

    def near_duplicates(images, others):
        shapes.append((images.shape, others.shape))
        return same, same.astype(np.float32)

    monkeypatch.setattr(duplicates, "near_duplicates", near_duplicates)
    monkeypatch.setattr(duplicates, "load_classifier", lambda path, **_: classifier)
    small = {"images_per_class": 8, "val_per_class": 4, "check_md5": False}
    metrics = duplicates.duplicate_metrics([tmp_path / "best.ckpt"], str(idx_dir), **small)
    assert shapes == [((60, 28, 28), (80, 28, 28))]
    assert metrics["test_images"] == len(alike)
    assert metrics["correlation"] == SIMILAR
    correct = round(60 * metrics["accuracy"])
    left = metrics["accuracy_without"] * (60 - len(alike))
    assert correct - len(alike) <= round(left) <= correct
    assert left == pytest.approx(round(left), abs=1e-4)
