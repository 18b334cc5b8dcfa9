"""Checkpoints of other versions, of strangers, and damaged ones: refused, nothing is executed."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models import load_classifier, read_checkpoint


@pytest.fixture
def ready_backbone(backbone, monkeypatch):
    """Saves building one where a checkpoint is refused for something else."""
    monkeypatch.setattr("fashion_transfer.models.checkpoint.Backbone", lambda **_: backbone)


def refuse(path: Path, *parts: str, **options) -> None:
    """Asserts that loading fails in one line that names the file and some parts of a message."""
    with pytest.raises(FashionTransferError) as caught:
        load_classifier(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in (path.name, *parts):
        assert part in message


# ---- other formats


def test_a_checkpoint_of_version_0_1_0_is_refused_with_how_to_train_again(tmp_path):
    path = tmp_path / "old.ckpt"
    classifier = {
        "backbone": {"name": "resnet50", "weights": "IMAGENET1K_V1", "fingerprint": "0" * 64},
        "classes": ["Bag", "Coat"],
        "head": {"name": "mlp", "hidden": 128},
        "several": True,
        "threshold": 0.8,
        "validation": {"confidence": torch.ones(2), "right": torch.ones(2, dtype=torch.bool)},
        "standardise": True,
        "image_size": 224,
    }
    state = {"head.0.weight": torch.zeros(128, 2048), "calibrator.familiar": torch.ones(())}
    torch.save({"epoch": 9, "state_dict": state, "classifier": classifier}, path)
    refuse(path, "version 0.1.0", "train again by `python train.py`", "overrides.yaml")
    with pytest.raises(FashionTransferError, match=r"version 0\.1\.0"):
        read_checkpoint(path)


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize(
    ("version", "advice"),
    [(3, "newer version of this project, so update"), (0, "train again"), ("2", "train again")],
)
def test_another_format_is_refused(altered, version, advice):
    path = altered(lambda content: content.update(format_version=version))
    refuse(path, f"checkpoint format {version}, and this version reads format 2", advice)


def test_plain_weights_are_not_a_checkpoint(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": torch.zeros(3)}, path)
    refuse(path, "not a checkpoint of this project")


# ---- a stranger's checkpoint


class Stranger:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize(
    "save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))]
)
def test_code_in_a_checkpoint_is_refused_and_not_run(fitted, tmp_path, save):
    trace, path = tmp_path / "trace", tmp_path / "stranger.ckpt"
    content = torch.load(fitted.best, weights_only=True)
    save(content | {"callbacks": {"x": Stranger(trace)}}, path)
    for read in (read_checkpoint, load_classifier):
        with pytest.raises(FashionTransferError, match=r"stranger\.ckpt"):
            read(path)
    assert not trace.exists()


@pytest.mark.usefixtures("ready_backbone")
def test_a_target_in_the_head_builds_nothing(altered, tmp_path):
    trace = tmp_path / "trace"
    head = {"_target_": "os.mkdir", "_args_": [str(trace)]}
    for name in ({}, {"name": "linear"}, {"name": "mlp"}):
        refuse(altered(lambda content, name=name: content["classifier"].update(head=head | name)))
    assert not trace.exists()


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize("name", ["torch.nn.Linear", "os.system", ["linear"], None, 3])
def test_an_unknown_head_is_not_built(altered, name):
    path = altered(lambda content: content["classifier"]["head"].update(name=name))
    refuse(path, "head.name must be one of linear, mlp")


def test_an_unknown_backbone_is_not_built(altered):
    path = altered(lambda content: content["classifier"]["backbone"].update(name="os.system"))
    refuse(path, "cannot be loaded: name must be", "os.system")


@pytest.mark.usefixtures("ready_backbone")
def test_an_unknown_preparation_is_not_used(altered):
    path = altered(lambda content: content["classifier"].update(preparation="os.system"))
    refuse(path, "preparation must be one of fashion_mnist, photo, got 'os.system'")


def test_a_checkpoint_does_not_replace_the_frozen_backbone(altered, backbone):
    # Its weights are those of the fingerprint; tensors in the file must not pass for them.
    name = next(iter(backbone.state_dict()))
    zeros = torch.zeros_like(backbone.state_dict()[name])
    tensors = {f"classifier.backbone.{name}": zeros}
    path = altered(lambda content: content["state_dict"].update(tensors))
    loaded = load_classifier(path, precision="float32")
    assert torch.equal(loaded.backbone.state_dict()[name], backbone.state_dict()[name])


# ---- damaged files


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 but no zip file", b"\x80\x04."]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "broken.ckpt"
    path.write_bytes(content)
    refuse(path)


def test_a_truncated_checkpoint_is_refused(fitted, tmp_path):
    path = tmp_path / "short.ckpt"
    path.write_bytes(fitted.best.read_bytes()[:-1000])
    refuse(path)


@pytest.mark.parametrize("name", ["nowhere.ckpt", "."])
def test_a_missing_checkpoint_or_a_folder_is_refused(tmp_path, name):
    with pytest.raises(FashionTransferError, match="no such file"):
        load_classifier(tmp_path / name)


# ---- damaged content


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize(
    "key",
    [
        "backbone",
        "class_names",
        "head",
        "multi_item",
        "standardise",
        "image_size",
        "preparation",
        "preparation_version",
        "threshold",
        "validation",
    ],
)
def test_a_checkpoint_without_part_of_its_description_is_refused(altered, key):
    path = altered(lambda content: content["classifier"].pop(key))
    refuse(path, "damaged", key, "train again")


@pytest.mark.parametrize("key", ["name", "fingerprint", "pool", "mean", "std", "source"])
def test_a_checkpoint_without_part_of_its_backbone_is_refused(altered, key):
    path = altered(lambda content: content["classifier"]["backbone"].pop(key))
    with pytest.raises(FashionTransferError):
        load_classifier(path)


def test_a_checkpoint_needs_no_name_of_its_weights(altered):
    # The fingerprint is what counts.
    assert load_classifier(altered(lambda c: c["classifier"]["backbone"].pop("weights")))


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", 3),
        ("class_names", []),
        ("head", "linear"),
        ("head", None),
        ("backbone", []),
        ("multi_item", "yes"),
        ("image_size", "large"),
        ("preparation", 3),
        ("threshold", "high"),
        ("threshold", None),
        ("validation", 5),
        ("validation", {"confidence": 3}),
        ("validation", {"confidence": "many", "correct": "all"}),
    ],
)
def test_a_description_of_the_wrong_type_is_refused(altered, key, value):
    refuse(altered(lambda content: content["classifier"].update({key: value})))


@pytest.mark.usefixtures("ready_backbone")
def test_validation_of_the_wrong_shape_gives_no_threshold(altered):
    validation = {"confidence": torch.ones(3), "correct": torch.ones(2, dtype=torch.bool)}
    path = altered(lambda content: content["classifier"].update(validation=validation))
    assert load_classifier(path)
    with pytest.raises(ArgumentError, match="confidence"):
        load_classifier(path, threshold="auto")


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", 5), ("pool", 4), ("pool", ["layer9"]), ("mean", ["a"] * 3), ("std", "abc")],
)
def test_a_backbone_of_the_wrong_type_is_refused(altered, key, value):
    path = altered(lambda content: content["classifier"]["backbone"].update({key: value}))
    with pytest.raises(FashionTransferError):
        load_classifier(path)


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize("value", [torch.ones(2), 3, None])
def test_tensors_that_do_not_fit_the_head_are_refused(altered, value):
    tensors = {"classifier.head.0.weight": value}
    refuse(altered(lambda content: content["state_dict"].update(tensors)), "damaged")


@pytest.mark.usefixtures("ready_backbone")
def test_a_missing_tensor_is_noticed(altered):
    path = altered(lambda content: content["state_dict"].pop("classifier.standardise.mean"))
    refuse(path, "damaged")


@pytest.mark.usefixtures("ready_backbone")
def test_an_unknown_tensor_is_noticed(altered):
    tensors = {"classifier.tail.weight": torch.ones(2)}
    refuse(altered(lambda content: content["state_dict"].update(tensors)), "damaged")
