"""Small classifiers, each exported once, and prepared images to ask them about."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from fashion_transfer.data.fashion_mnist import CLASS_NAMES  # noqa: E402
from fashion_transfer.data.preparation import CUT_OUT, Prepared  # noqa: E402
from fashion_transfer.export import write_onnx  # noqa: E402
from fashion_transfer.models import Classifier  # noqa: E402


def _randomise(classifier: Classifier) -> Classifier:
    """Gives a classifier what training would: statistics, and a head that is fairly certain."""
    if classifier.standardise is not None:
        generator = torch.Generator().manual_seed(1)
        features = torch.rand(64, classifier.backbone.feature_dim, generator=generator)
        classifier.standardise.fit([features])
    classifier.calibrator.temperature.fill_(0.3)
    classifier.calibrator.ood_limit.fill_(1.2)
    return classifier.eval()


@pytest.fixture(scope="session")
def make_classifier(make_backbone) -> Callable[..., Classifier]:
    """`make_classifier(backbone_options, **overrides)`: always the same for the same arguments."""

    def make(backbone_options: dict | None = None, **overrides) -> Classifier:
        small = {
            "class_names": CLASS_NAMES,
            "head": {"name": "linear"},
            "image_size": 32,
            "backbone": make_backbone(**(backbone_options or {})),
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _randomise(Classifier(**(small | overrides)))

    return make


@pytest.fixture(scope="session")
def with_opinion(make_classifier, imagenet_weights) -> Classifier:
    """A classifier as the default recipe trains: a grid, several items, a second opinion."""
    pool = ["layer2@2", "layer3@2"]
    return make_classifier({"weights": imagenet_weights, "pool": pool}, multi_item=True)


@pytest.fixture(scope="session")
def exported(with_opinion, tmp_path_factory) -> Path:
    """The file of `with_opinion`; do not change it."""
    path = tmp_path_factory.mktemp("exported") / "classifier.onnx"
    write_onnx(with_opinion, path)
    return path


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    """`draw(*shape, seed=0)`: noise, uint8."""

    def pixels(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return pixels


@pytest.fixture(scope="session")
def mixed(draw) -> list[Prepared]:
    """Three images of one size, the second and the third with a picture in colour."""
    return [
        Prepared(draw(1, 28, 28)),
        Prepared(draw(1, 28, 28, seed=1), CUT_OUT, draw(3, 50, 50, seed=2)),
        Prepared(draw(1, 28, 28, seed=3), CUT_OUT, draw(3, 50, 50, seed=4)),
    ]
