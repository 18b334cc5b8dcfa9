"""torchvision's weights, downloaded from a site on this machine: whole, checked, or one line."""

import hashlib
import io
import runpy
import socket
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models import ResNet18_Weights

from fashion_transfer import files
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.weights import IMAGENET_MEAN, IMAGENET_STD, load_weights


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    # pooch waits between two attempts.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def fake_site(site, reference, monkeypatch):
    """A local site with weights that stand for IMAGENET1K_V1 of ResNet18."""
    buffer = io.BytesIO()
    state = reference.state_dict()
    torch.save({name: tensor.half() for name, tensor in state.items()}, buffer)
    site.sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    site.name = f"resnet18-{site.sha256[:8]}.pth"
    site.files = {site.name: buffer.getvalue()}
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", site.url + site.name)
    return site


def rejected(weights) -> str:
    with pytest.raises(FashionTransferError) as caught:
        load_weights("resnet18", weights)
    assert "\n" not in str(caught.value)
    assert "model." not in str(caught.value)
    return str(caught.value)


def checkpoints():
    return Path(torch.hub.get_dir()) / "checkpoints"


def use_url(monkeypatch, url: str) -> None:
    monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", url)


def assert_names_the_choices(message: str, url: str) -> None:
    cached = checkpoints() / url.rpartition("/")[2]
    for part in (url, str(cached), "give a path to a state dict instead", "efficientnet_lite0"):
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


def test_interrupted_download_leaves_nothing_behind(fake_site):
    fake_site.cut = {fake_site.name}
    assert_names_the_choices(rejected("IMAGENET1K_V1"), fake_site.url + fake_site.name)
    assert list(checkpoints().iterdir()) == []
    fake_site.cut = set()
    assert load_weights("resnet18", "IMAGENET1K_V1").sha256 == fake_site.sha256


def test_download_of_another_content_is_rejected(fake_site):
    fake_site.files[fake_site.name] = b"<html>please log in</html>"
    assert_names_the_choices(rejected("IMAGENET1K_V1"), fake_site.url + fake_site.name)
    assert list(checkpoints().iterdir()) == []


def test_site_without_the_file_is_an_error(fake_site):
    fake_site.files.clear()
    message = rejected("IMAGENET1K_V1")
    assert_names_the_choices(message, fake_site.url + fake_site.name)
    assert "Not Found" in message


def test_site_that_rejects_head_requests_is_downloaded_from(fake_site, monkeypatch):
    monkeypatch.setattr(
        fake_site.server.RequestHandlerClass, "do_HEAD", lambda handler: handler.send_error(405)
    )
    assert load_weights("resnet18", "IMAGENET1K_V1").sha256 == fake_site.sha256


def test_default_is_a_name_of_torchvisions(fake_site):
    weights = load_weights("resnet18", "DEFAULT")
    assert (weights.name, weights.sha256) == ("DEFAULT", fake_site.sha256)


def test_unreachable_site_fails_at_once(closed_url, monkeypatch):
    url = f"{closed_url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    start = time.monotonic()
    message = rejected("IMAGENET1K_V1")
    assert time.monotonic() - start < 10
    assert_names_the_choices(message, url)


def test_hanging_name_resolution_times_out(monkeypatch):
    url = "http://weights.invalid/resnet18-01234567.pth"
    use_url(monkeypatch, url)
    monkeypatch.setattr(files, "TIMEOUT", 0.2)
    over = threading.Event()

    def hang(*args, **options):
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    assert_names_the_choices(rejected("IMAGENET1K_V1"), url)
    assert time.monotonic() - start < 10
    over.set()


def test_silent_site_times_out(silent_url, monkeypatch):
    url = f"{silent_url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    monkeypatch.setattr(files, "TIMEOUT", 0.2)
    start = time.monotonic()
    assert_names_the_choices(rejected("IMAGENET1K_V1"), url)
    assert time.monotonic() - start < 10


def test_site_that_falls_silent_after_the_first_request_times_out(site, monkeypatch):
    url = f"{site.url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    over = threading.Event()
    handler = site.server.RequestHandlerClass
    monkeypatch.setattr(handler, "do_GET", lambda handler: over.wait(60))
    monkeypatch.setattr(handler, "do_HEAD", lambda handler: handler.send_error(404))
    monkeypatch.setattr(files, "TIMEOUT", 0.5)
    start = time.monotonic()
    assert_names_the_choices(rejected("IMAGENET1K_V1"), url)
    assert time.monotonic() - start < 10
    over.set()


def test_site_that_speaks_no_http_is_an_error_without_a_traceback(nonsense_url, monkeypatch):
    url = f"{nonsense_url}resnet18-01234567.pth"
    use_url(monkeypatch, url)
    monkeypatch.setattr(files, "TIMEOUT", 5.0)
    tracebacks = []
    monkeypatch.setattr(threading, "excepthook", tracebacks.append)
    message = rejected("IMAGENET1K_V1")
    assert_names_the_choices(message, url)
    assert "no answer" not in message  # there was one
    assert tracebacks == []


def test_cache_that_cannot_be_written_is_an_error(fake_site, monkeypatch, tmp_path):
    (tmp_path / "torch-home-file").write_text("not a folder")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home-file"))
    assert "torch-home-file" in rejected("IMAGENET1K_V1")


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty"])
def test_damaged_file_in_the_cache_is_named(fake_site, damage):
    load_weights("resnet18", "IMAGENET1K_V1")
    cached = checkpoints() / fake_site.name
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 1
    shorter = {"flipped": len(content), "truncated": len(content) // 2, "empty": 0}
    cached.write_bytes(content[: shorter[damage]])
    message = rejected("IMAGENET1K_V1")
    assert f"{cached} is damaged" in message
    assert "delete it" in message


def test_fingerprint_is_of_the_file_under_any_name(fake_site):
    downloaded = load_weights("resnet18", "IMAGENET1K_V1")
    by_path = load_weights("resnet18", str(checkpoints() / fake_site.name))
    assert downloaded.sha256 == by_path.sha256


def test_preprocessing_is_that_of_the_named_weights(site, monkeypatch):
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
    weights = load_weights("resnet18", "IMAGENET1K_V1")
    assert weights.mean == (0.1, 0.2, 0.3)
    assert weights.std == (0.4, 0.5, 0.6)


def test_command_fails_with_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["features", "IMAGENET1K_V9"])
    message = "^error: weights of resnet50 must be one of .*got 'IMAGENET1K_V9'"
    with pytest.raises(SystemExit, match=message):
        runpy.run_module("fashion_transfer.features", run_name="__main__")
