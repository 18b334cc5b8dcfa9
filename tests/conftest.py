"""What the tests share: tiny generated IDX files, small backbones, a local download site.

No test reaches beyond 127.0.0.1 or writes outside a temporary folder. None reads a cache of the
user's, but for the cut-out net.
Fixtures import what they need themselves, so that a test without torch does not wait for it.
"""

from __future__ import annotations

import gc
import gzip
import os
import shutil
import socket
import struct
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from fashion_transfer.data import FashionMNISTDataModule
    from fashion_transfer.features import Backbone

ROOT = Path(__file__).resolve().parents[1]
TRAIN_PER_CLASS = 14
TEST_PER_CLASS = 6
NUM_CLASSES = 10


@pytest.fixture(scope="session", autouse=True)
def _cache_of_user(tmp_path_factory):
    """What named the user's cache: fixtures of a module or of the session get another as well."""
    before = os.environ.get("FASHION_TRANSFER_CACHE")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASHION_TRANSFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield before


@pytest.fixture(scope="module", autouse=True)
def _garbage_collected():
    """Frees what the tests of a file leave in reference cycles: trainers, and their backbones.

    What was there before, such as 600,000 objects of imports, is not searched for garbage.
    """
    gc.freeze()
    yield
    gc.collect()


@pytest.fixture(scope="session", autouse=True)
def _small_passes():
    """Cached features are computed in passes filled up to a size, and the sets here are smaller."""
    engine = sys.modules.get("fashion_transfer.features.engine")
    with pytest.MonkeyPatch.context() as patch:
        if engine is not None:
            patch.setitem(engine.MAX_PASS_SIZE, "cpu", 8)
        yield


@pytest.fixture(scope="session", autouse=True)
def _configuration_parsed_once():
    if "hydra" not in sys.modules:
        yield
        return
    from parsed_once import parsed_once

    with parsed_once():
        yield


@pytest.fixture(autouse=True)
def _isolated(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_TRANSFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))
    # Extractor sets it where it is not set; so it does not leak from one test to the next.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled-kernels"))
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _write_idx(path: Path, array: np.ndarray) -> Path:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}i", *array.shape)
    content = header + np.ascontiguousarray(array, dtype=np.uint8).tobytes()
    # mtime=0: the same array gives the same file.
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


@pytest.fixture(scope="session")
def write_idx():
    """`write_idx(path, array)`: writes uint8 as an IDX file, compressed if it ends in `.gz`."""
    return _write_idx


def _labelled_images(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    # The class determines the height of a bar and its width; noise and mirroring do not hide it.
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(NUM_CLASSES), per_class))
    images = generator.integers(0, 30, (len(labels), 28, 28))
    for image, label in zip(images, labels, strict=True):
        row, margin = 2 + 5 * (label // 2), 2 if label % 2 else 9
        image[row : row + 4, margin : 28 - margin] += 200
    return images.astype(np.uint8), labels.astype(np.uint8)


def _write_four(folder: Path, endings: tuple[str, str, str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train_images, train_labels = _labelled_images(TRAIN_PER_CLASS, seed=1)
    test_images, test_labels = _labelled_images(TEST_PER_CLASS, seed=2)
    _write_idx(folder / f"train-images-idx3-ubyte{endings[0]}", train_images)
    _write_idx(folder / f"train-labels-idx1-ubyte{endings[1]}", train_labels)
    _write_idx(folder / f"t10k-images-idx3-ubyte{endings[2]}", test_images)
    _write_idx(folder / f"t10k-labels-idx1-ubyte{endings[3]}", test_labels)
    return folder


@pytest.fixture(scope="session")
def idx_dir(tmp_path_factory):
    """Four generated IDX files, two raw and two `.gz`: 14 training and 6 test images per class.

    They are not the official files: read them with `check_md5=False`, and do not change them.
    """
    return _write_four(tmp_path_factory.mktemp("idx"), ("", "", ".gz", ".gz"))


@pytest.fixture(scope="session")
def gz_dir(tmp_path_factory):
    """The files of `idx_dir`, all four `.gz`, as a download site has them."""
    return _write_four(tmp_path_factory.mktemp("gz"), (".gz",) * 4)


@pytest.fixture
def datamodule(idx_dir):
    """`datamodule(**overrides)`: a FashionMNISTDataModule over `idx_dir`, small in every way."""
    from fashion_transfer.data import FashionMNISTDataModule

    def make(**overrides) -> FashionMNISTDataModule:
        small = {
            "dir": str(idx_dir),
            "images_per_class": 8,
            "val_per_class": 4,
            "image_size": 32,
            "batch_size": 16,
            "min_epoch_size": 1,
            "check_md5": False,
            "views": 2,
        }
        return FashionMNISTDataModule(**(small | overrides))

    return make


@pytest.fixture(scope="session")
def make_backbone():
    """`make_backbone(**overrides)`: a fresh ResNet18 with random weights, in float32, eager."""
    from fashion_transfer.features import Backbone

    def make(**overrides) -> Backbone:
        small = {"name": "resnet18", "weights": None, "precision": "float32", "compile": False}
        return Backbone(**(small | overrides))

    return make


@pytest.fixture(scope="session")
def imagenet_weights(tmp_path_factory) -> str:
    """A file of random weights of a ResNet18 with a classifier of 1,000 classes."""
    import torch
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = torchvision.models.resnet18(num_classes=1000)
        torch.nn.init.normal_(network.fc.weight, std=0.3)  # or all were equally likely
    path = tmp_path_factory.mktemp("weights") / "imagenet.pth"
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.fixture(scope="session")
def backbone(make_backbone):
    """One ResNet18 with random weights for all tests; they are frozen, so do not change them."""
    return make_backbone()


@pytest.fixture(scope="module")
def backbones_drawn_once():
    """Makes a backbone with random weights once, and copies it from then on."""
    from drawn_once import drawn_once

    with drawn_once():
        yield


@pytest.fixture(scope="session")
def real_data():
    """The folder of the official files; skips where they are not. Mark with `real_data`."""
    from fashion_transfer.data.idx_files import find_files
    from fashion_transfer.errors import FashionTransferError

    try:
        return find_files(ROOT / "data", download=False)
    except FashionTransferError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def real_weights():
    """A file of ResNet50 ImageNet weights beside the checkout. Mark with `real_weights`."""
    path = ROOT.parent / "shared" / "weights" / "resnet50-imagenet-vq.pth"
    if not path.is_file():
        pytest.skip(f"no ImageNet weights at {path}")
    return path


@pytest.fixture(scope="session")
def _cutout_net_of_user(_cache_of_user):
    from fashion_transfer.data.cutout_net import net_path, why_missing

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FASHION_TRANSFER_CACHE")
        if _cache_of_user is not None:
            patch.setenv("FASHION_TRANSFER_CACHE", _cache_of_user)
        if reason := why_missing():
            pytest.skip(reason)
        return net_path()


@pytest.fixture
def cutout_net(_cutout_net_of_user):
    """The path of the real cut-out net in the cache of this test. Mark with `real_net`."""
    from fashion_transfer.data.cutout_net import net_path

    net_path().parent.mkdir(parents=True)
    net_path().symlink_to(_cutout_net_of_user)
    return net_path()


class LocalSite:
    """A download site on 127.0.0.1 that can misbehave.

    Attributes:
        url: of its root, with a slash at the end.
        files: content by name.
        cut: names of files whose connection breaks halfway through.
        cut_once: likewise, the next time alone.
        requests: "METHOD NAME" of every request so far.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.cut_once: set[str] = set()
        self.requests: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self._answer(with_body=False)

            def do_GET(self):
                self._answer(with_body=True)

            def _answer(self, with_body):
                name = self.path.lstrip("/")
                site.requests.append(f"{self.command} {name}")
                content = site.files.get(name)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if with_body and name in site.cut | site.cut_once:
                    site.cut_once.discard(name)
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                elif with_body:
                    self.wfile.write(content)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        # The default half-second poll would be what most of these tests wait for.
        poll = {"poll_interval": 0.01}
        threading.Thread(target=self.server.serve_forever, kwargs=poll, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def site():
    """A `LocalSite`, empty."""
    local = LocalSite()
    yield local
    local.close()


@pytest.fixture
def closed_url():
    """A URL on this machine at which nothing listens, with a slash at the end."""
    # Bound but not listening: no other program can take the port meanwhile.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture
def silent_url():
    """A URL on this machine that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture
def nonsense_url():
    """A URL on this machine whose server answers every request with something that is no HTTP."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                connection.recv(4096)
                connection.sendall(b"this is no HTTP\r\n\r\n")

    threading.Thread(target=answer, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def read_only_dir():
    """A folder, and `read_only_dir.protect()`: from then on nothing in it can be written.

    Root may write anywhere, so root is made an ordinary user for the rest of the test.
    """

    class ReadOnlyDir:
        path = Path(tempfile.mkdtemp())  # pytest's own folders can be entered by their owner only

        def protect(self):
            for path in [self.path, *self.path.rglob("*")]:
                path.chmod(0o555 if path.is_dir() else 0o444)
            if user == 0:
                os.seteuid(65534)

    user = os.geteuid()
    folder = ReadOnlyDir()
    yield folder
    os.seteuid(user)
    for path in [folder.path, *folder.path.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder.path)
