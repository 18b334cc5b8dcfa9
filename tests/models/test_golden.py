"""Whole trainings, compared with stored values: a change of any number shows here.

Images and network are generated. After an intended change, store new values by
`UPDATE_GOLDEN=1 pytest tests/models/test_golden.py`, and say why in the commit.
"""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch

from fashion_transfer.data import Augmentation
from fashion_transfer.models import ClassificationTask, Classifier
from fashion_transfer.synthetic import Exposure

PATH = Path(__file__).parent / "golden" / "values.json"

MLP = {"name": "mlp", "hidden": 32, "dropout": 0.1}

# `eps` is far above rounding: Adam divides by the gradient's size, so that of a feature that is
# constant but for rounding would move a weight as much as any other.
ADAMW = partial(torch.optim.AdamW, lr=0.01, weight_decay=0.3, eps=1e-3)

CASES = {
    "linear": {"head": {"name": "linear"}},
    "mlp_mixup": {"head": MLP, "mixup": 1.0, "label_smoothing": 0.1},
    "composites": {"head": MLP, "mixup": 1.0, "synthetic": Exposure(composites=16, controls=16)},
}


@pytest.fixture
def train(make_backbone, make_trainer, datamodule, outputs_of, tmp_path, monkeypatch):
    """`train(head, mixup, label_smoothing, synthetic)`: numbers after two epochs, by name."""
    # The stored temperatures and limits are those of 40 validation images.
    monkeypatch.setattr("fashion_transfer.confidence.calibrator.MIN_IMAGES", 40)

    def run(head, mixup=0.0, label_smoothing=0.0, synthetic=None) -> dict[str, torch.Tensor]:
        data = datamodule(
            seed=3,
            synthetic=synthetic,
            augmentation=Augmentation(rotation=10, shift=0.1, zoom=0.1, shear=0.1, flip=0.5),
        )
        torch.manual_seed(3)
        classifier = Classifier(
            make_backbone(pool=["layer1"]),  # its features vary: no deviation is next to nothing
            data.class_names,
            head,
            multi_item=data.multi_item,
            image_size=32,
        )
        task = ClassificationTask(
            classifier, optimizer=ADAMW, mixup=mixup, label_smoothing=label_smoothing, seed=3
        )
        trainer = make_trainer(tmp_path)
        trainer.fit(task, datamodule=data)
        data.setup("test")
        logits, ood_score, _ = outputs_of(classifier.eval(), data.test_dataloader())
        last = classifier.head[-1]
        return {
            "weight": last.weight.detach()[:, :4],
            "weight_means": last.weight.detach().double().mean(dim=1),
            "bias": last.bias.detach(),
            "mean": classifier.standardise.mean[:8],
            "std": classifier.standardise.std[:8],
            "logits": logits[:6],
            "logit_means": logits.double().mean(dim=0),
            "ood_score": ood_score[:6],
            "temperature": classifier.calibrator.temperature,
            "ood_limit": classifier.calibrator.ood_limit,
            "val_loss": trainer.callback_metrics["val/loss"],
        }

    return run


@pytest.mark.parametrize("name", CASES)
def test_training_gives_the_stored_numbers(train, name):
    numbers = {key: value.tolist() for key, value in train(**CASES[name]).items()}
    stored = json.loads(PATH.read_text()) if PATH.is_file() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        PATH.parent.mkdir(exist_ok=True)
        lines = [
            f'  "{key}": {json.dumps(numbers)}'
            for key, numbers in (stored | {name: numbers}).items()
        ]
        PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        pytest.skip(f"stored the numbers of {name}")
    assert numbers.keys() == stored[name].keys()
    for key, values in numbers.items():
        expected, result = torch.tensor(stored[name][key]), torch.tensor(values)
        # Machines add in different orders, and standardising enlarges what that makes of features.
        tolerance = 1e-5 * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(
            result, expected, rtol=0, atol=tolerance, msg=lambda text, key=key: f"{key}: {text}"
        )
