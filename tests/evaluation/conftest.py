"""Evaluated sets with given probabilities, and a small classifier."""

import pytest
import torch

from fashion_transfer.confidence import decide
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.evaluation import Evaluated
from fashion_transfer.models import Classifier, Outputs

ROWS = {
    "confident": [0.9, 0.1, 0.0],
    "ambiguous": [0.5, 0.5, 0.0],
    "multi_item": [0.2, 0.1, 0.0],
}
"""Probabilities of three classes, by what a prediction makes of them."""


@pytest.fixture(scope="session")
def make_evaluated():
    """`make_evaluated(*names, labels)`: a set of images with the probabilities in `ROWS`."""

    def make(*names: str, labels: list[int] | None = None) -> Evaluated:
        rows = [ROWS[name] for name in names]
        probabilities = torch.tensor(rows, dtype=torch.float64)
        score = torch.zeros(len(rows))
        predictions = decide(probabilities, score, CLASS_NAMES[:3], 0.8, float("inf"))
        logits = probabilities.clamp(min=1e-6).log().float()
        outputs = Outputs(logits, score, torch.tensor(labels or [0] * len(rows)))
        return Evaluated(outputs, probabilities, probabilities, predictions)

    return make


@pytest.fixture(scope="session")
def make_classifier(backbone):
    """`make_classifier(**overrides)`: an untrained linear head on the shared ResNet18."""

    def make(**overrides) -> Classifier:
        small = {"head": {"name": "linear"}, "image_size": 32, "multi_item": True}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Classifier(backbone, CLASS_NAMES, **(small | overrides)).eval()

    return make


@pytest.fixture
def test_data(datamodule):
    """The small data module, ready to evaluate: 60 test images in batches of 16."""
    data = datamodule()
    data.setup("test")
    return data
