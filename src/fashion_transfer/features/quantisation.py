"""int8: a network that NNCF has quantised, calibrated on a few images, as one cached file."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.precision import INT8
from fashion_transfer.features.table import ANOTHER_FOLDER
from fashion_transfer.files import Lock, atomic_path, default_cache_dir, write_text
from fashion_transfer.paths import user_path

log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 300
"""Training images whose activations the ranges of int8 are taken from; NNCF's own default."""

Network = tuple[bytes, bytes]
"""A network in OpenVINO's format: the XML, and the weights."""


def quantised_dir(cache: str | Path | None = None) -> Path:
    """Returns where quantised networks are, beside the features.

    Args:
        cache: the cache; None: `default_cache_dir()`.
    """
    return user_path(cache or default_cache_dir()) / "quantised"


def calibrated(key: Mapping[str, Any], quantise: Callable[[], Network], folder: Path) -> str:
    """Returns the SHA-256 of a quantised network's file, which is written where there is none.

    The file is named by its hash, which a checkpoint gives; `KEY.json` names the file for a key. So
    trainings that share a key share a network, and all that is computed with it.

    Args:
        key: all that determines the network, JSON types.
        quantise: gives it; takes a minute or so.
        folder: see `quantised_dir`.

    Raises:
        FashionTransferError: the folder cannot be written.
    """
    text = json.dumps(key, sort_keys=True)
    note = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Lock(folder / ".lock"):
            if sha256 := _noted(note):
                return sha256
            xml, weights = quantise()
            content = safetensors.numpy.save(
                {"xml": np.frombuffer(xml, np.uint8), "weights": np.frombuffer(weights, np.uint8)}
            )
            sha256 = hashlib.sha256(content).hexdigest()
            with atomic_path(_file(folder, sha256)) as temporary:
                temporary.write_bytes(content)
            write_text(note, json.dumps({"sha256": sha256, "key": key}, indent=2) + "\n")
    except OSError as error:
        raise FashionTransferError(
            f"cannot store the int8 network in {folder} ({error.strerror}): {ANOTHER_FOLDER}"
        ) from error
    return sha256


def read_quantised(sha256: str, folder: Path) -> Network:
    """Reads a quantised network whose hash is given.

    Raises:
        FashionTransferError: it is not in the folder, or is another one.
    """
    path = _file(folder, sha256)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FashionTransferError(
            f"the int8 network {path} cannot be read ({error.strerror}): copy it from the machine "
            "that trained on it, or train again"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FashionTransferError(
            f"the int8 network {path} is damaged: delete it, and train again"
        )
    tensors = safetensors.numpy.load(content)
    return tensors["xml"].tobytes(), tensors["weights"].tobytes()


def head_precision(path: str | Path, quantised: str | None, precision: str, engine: str) -> str:
    """Returns the precision for a trained head, which loses 0.4 to 0.8 points in the wrong one.

    Args:
        path: of its checkpoint.
        quantised: hash of the network that it was trained on; None: not in int8.
        precision: that is wanted: "auto", or a name.
        engine: likewise.

    Raises:
        FashionTransferError: it was trained in int8 and another one is wanted, or the reverse.
    """
    if quantised and (precision not in ("auto", INT8) or engine == "torch"):
        raise FashionTransferError(
            f"{path} was trained on int8 features, and would lose accuracy on floats: leave engine "
            "and precision to the checkpoint, or train with another precision"
        )
    if precision == INT8 and not quantised:
        raise FashionTransferError(
            f"{path} was not trained on int8 features, and would lose accuracy on them: leave the "
            "precision at auto, or train with int8"
        )
    return INT8 if quantised else precision


def _file(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256[:16]}.safetensors"


def _noted(note: Path) -> str | None:
    """The hash of the network that a note names; None if it is not there, whole."""
    try:
        sha256 = str(json.loads(note.read_bytes())["sha256"])
        read_quantised(sha256, note.parent)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, FashionTransferError):
        log.warning("the int8 network that %s names is missing or damaged: calibrating anew", note)
        return None
    return sha256
