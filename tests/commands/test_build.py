from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from fashion_transfer.commands.build import build_datamodule, build_task, read_policy
from fashion_transfer.features import Backbone
from fashion_transfer.models import Classifier
from fashion_transfer.synthetic import Exposure

CONF = str(Path(__file__).resolve().parents[2] / "conf")


@pytest.fixture
def config(idx_dir):
    """`config(*overrides)`: the composed configuration of a small training run."""

    def small(*overrides: str):
        given = [
            "model.backbone.name=resnet18",
            "model.backbone.weights=null",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            "data.image_size=32",
            f"data.dir={idx_dir}",
            *overrides,
        ]
        with initialize_config_dir(CONF, version_base="1.3"):
            return compose("train", given)

    return small


def build(cfg):
    return build_task(cfg, build_datamodule(cfg))


def test_build_task_passes_every_entry_on(config):
    task = build(
        config(
            "seed=7",
            "model.head.hidden=12",
            "model.label_smoothing=0.1",
            "model.mixup=0.2",
            "model.trainable_stage_lr=0.3",
            "model.standardise=false",
            "model.optimizer.lr=0.4",
            "model.scheduler.pct_start=0.5",
            "monitor.metric=val/accuracy",
            "policy.threshold=0.6",
            "policy.threshold_target.warned=0.7",
        )
    )
    classifier = task.classifier
    assert task.seed == 7
    assert (task.label_smoothing, task.mixup, task.trainable_stage_lr) == (0.1, 0.2, 0.3)
    assert task.optimizer.keywords["lr"] == 0.4
    assert task.scheduler.keywords["pct_start"] == 0.5
    assert task.monitor == "val/accuracy"
    assert task.threshold_target == {"selective_accuracy": 0.97, "warned": 0.7}
    assert classifier.threshold == 0.6
    assert classifier.standardise is None
    assert classifier.head_options == {"name": "mlp", "hidden": 12, "dropout": 0.0}
    assert classifier.image_size == 32
    assert classifier.preparation.name == "fashion_mnist"
    assert len(classifier.class_names) == 10
    assert classifier.multi_item


def test_build_task_takes_plain_values(config):
    # A checkpoint that held omegaconf's could not be read.
    task = build(config("model.backbone.pool=[layer3,layer4]"))
    assert type(task.classifier.head_options) is dict
    assert task.classifier.backbone.identity["pool"] == ["layer3", "layer4"]
    assert type(task.threshold_target) is dict


def test_build_task_draws_nothing_but_the_head_from_the_global_generator(config):
    cfg = config("seed=3")
    torch.manual_seed(3)
    task = build(cfg)
    backbone = Backbone("resnet18", None, list(cfg.model.backbone.pool), compile=False)
    torch.manual_seed(3)
    expected = Classifier(backbone, task.classifier.class_names, multi_item=True)
    for ours, theirs in zip(
        task.classifier.head.parameters(), expected.head.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_build_datamodule_builds_nested_nodes(config):
    datamodule = build_datamodule(
        config("data.synthetic.composites=5", "data.augmentation.zoom=0.1")
    )
    assert datamodule.synthetic == Exposure(composites=5)
    assert datamodule.augmentation.zoom == 0.1


def test_build_datamodule_prefers_given_arguments(config):
    assert build_datamodule(config(), image_size=48).image_size == 48


def test_read_policy_returns_plain_values(config):
    policy = read_policy(config("policy.threshold=0.6"))
    target = {"selective_accuracy": 0.97, "warned": None}
    assert policy == {"threshold": 0.6, "threshold_target": target}
    assert type(policy["threshold_target"]) is dict


@pytest.mark.parametrize(
    "override", ["model/scheduler=none", "~model/scheduler", "model.scheduler=null"]
)
def test_build_task_without_a_schedule_has_a_constant_rate(config, override):
    assert build(config(override)).scheduler is None


def test_notebook_has_kerass_adam(config):
    # Keras's epsilon, no decay, and nothing of the default optimizer.
    optimizer = build(config("experiment=notebook")).optimizer
    assert optimizer.func is torch.optim.Adam
    assert optimizer.keywords == {"lr": 0.001, "eps": 1e-7, "weight_decay": 0.0}


def test_jobs_of_a_process_share_a_frozen_backbone(config):
    first, second = build(config()), build(config("model.head.hidden=12"))
    assert first.classifier.backbone is second.classifier.backbone
    other = build(config("model.backbone.pool=[layer3]"))
    assert other.classifier.backbone is not first.classifier.backbone


def test_trainable_backbone_is_built_for_every_job(config):
    trainable = "model.backbone.unfreeze=layer4", "model.backbone.pool=[layer4]"
    first, second = build(config(*trainable)), build(config(*trainable))
    assert first.classifier.backbone is not second.classifier.backbone
