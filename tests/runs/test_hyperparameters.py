"""Every run has the same hyperparameters and metrics, each of one type."""

import math

import pytest

from fashion_transfer.runs.hyperparameters import (
    IMPORTANT,
    KEYS,
    METRICS,
    hyperparameters,
    overridden,
    summary_metrics,
)

CONFIG = {
    "seed": 3,
    "data._target_": "fashion_transfer.data.FashionMNISTDataModule",
    "data.images_per_class": 500,
    "data.image_size": 64,
    "data.synthetic.composites": 1400,
    "model.backbone.name": "resnet50",
    "model.backbone.weights": "/some/where/resnet50-imagenet.pth",
    "model.backbone.pool": ["layer2@2", "layer3@2"],
    "model.backbone.unfreeze": "layer4",
    "model.head.name": "mlp",
    "model.head.hidden": 128,
    "model.optimizer._target_": "torch.optim.AdamW",
    "model.optimizer.lr": 0.001,
    "model.scheduler": None,
    "policy.threshold": 0.8,
}

OTHERS = [
    {},
    {"data.images_per_class": "all", "policy.threshold": "auto", "model.mixup": 1},
    {"data.synthetic": None, "model.backbone.weights": None, "model.backbone.pool": None},
    {"seed": None, "model.optimizer.lr": 1, "model.class_weights": "balanced"},
    {"data.batch_size": "many", "model.standardise": "yes"},
]


def types(values):
    return {name: type(value) for name, value in values.items()}


@pytest.mark.parametrize("config", OTHERS)
def test_hyperparameters_have_the_same_names_and_types_in_every_run(config):
    assert types(hyperparameters(config)) == types(hyperparameters(CONFIG, {"data": "toy"}, 5, 2))


def test_hyperparameters_are_read_from_the_configuration():
    values = hyperparameters(CONFIG, {"data": "fashion_mnist", "experiment": "fast"}, 5000, 10)
    expected = {
        "data": "fashion_mnist",
        "experiment": "fast",
        "backbone": "resnet50",
        "weights": "resnet50-imagenet.pth",
        "pool": "layer2@2, layer3@2",
        "unfreeze": "layer4",
        "head": "mlp",
        "hidden": 128,
        "images_per_class": 500.0,
        "training_images": 5000,
        "composites": 1400.0,
        "optimizer": "AdamW",
        "scheduler": "none",
        "learning_rate": 0.001,
        "seed": 3,
        "threshold": "0.8",
    }
    assert {name: values[name] for name in expected} == expected


def test_all_images_per_class_are_a_number_once_the_training_images_are_known():
    everything = {"data.images_per_class": "all"}
    assert hyperparameters(everything, None, 59000, 10)["images_per_class"] == 5900
    assert hyperparameters(everything)["images_per_class"] == 0


def test_random_weights_and_an_unnamed_data_set_have_a_name():
    values = hyperparameters({"data._target_": "toy.ToyDataModule"}, {"data": None})
    assert (values["weights"], values["data"]) == ("random", "ToyDataModule")


def test_overridden_hyperparameters_come_first():
    overrides = [
        "model/head=linear",
        "+model.optimizer.lr=0.1",
        "data.images_per_class=5",
        "paths.logs=elsewhere",
        "model.optimizer.lr=0.1",
    ]
    assert overridden(overrides) == ["head", "learning_rate", "images_per_class"]
    assert overridden(["paths.logs=elsewhere"]) == list(IMPORTANT)


def test_important_hyperparameters_are_some_of_them():
    assert set(IMPORTANT) <= hyperparameters({}).keys()
    assert KEYS.keys() <= hyperparameters({}).keys()


def test_summary_metrics_are_the_same_ones_with_nan_for_what_was_not_measured():
    metrics = {"val/loss": 0.5, "seconds/fit": 2.0, "seconds/test": 1.5, "test/nll": 1.0}
    summary = summary_metrics(metrics)
    assert tuple(summary) == METRICS
    assert (summary["val/loss"], summary["seconds"]) == (0.5, 3.5)
    assert math.isnan(summary["test/accuracy"])
    assert math.isnan(summary_metrics({})["seconds"])
