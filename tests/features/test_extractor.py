"""The extractor: each feature computed once, whoever asks, whatever is killed in between."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features import extractor as module

KEY = {"pixels": "0123", "image_size": 32, "view": 0}
ROWS = 300
CHUNK = 32  # images a pass of the stand-in


def render(indices: np.ndarray, device=None) -> torch.Tensor:
    """An image that its number determines."""
    draws = [np.random.default_rng(int(i)).random((1, 32, 32), dtype=np.float32) for i in indices]
    return torch.from_numpy(np.stack(draws))


class StandIn:
    """A backbone whose features are cheap, and that counts the images it is given."""

    def __init__(self, pool=("layer4",), precision="float32", compiled=False, **identity):
        self.widths = {"layer3": 2, "layer4": 3}
        self.pool = pool
        self.identity = {"name": "stand-in", "weights": "some.pth", "fingerprint": "ab"}
        self.identity |= {"pool": list(pool), "mean": [0.0], "std": [1.0]} | identity
        self.versions = {"torchvision": "0"}
        self.precision = precision
        self.compiled = compiled
        self.given = 0
        self.scale = 1.0

    def settle(self, device):
        return self.precision

    def pass_size(self, image_size):
        return CHUNK

    def kept_widths(self, image_size):
        return {name: self.widths[name] for name in self.pool}

    def compiles(self, image_size):
        return self.compiled

    def try_compiling(self, image_size):
        return self.compiled

    def extract(self, images):
        self.given += len(images)
        rows = images.flatten(1)[:, :5] * self.scale
        return {name: rows[:, :width] + width for name, width in self.widths.items()}


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def extract(store, indices, backbone=None, key=KEY, rows=ROWS, show=render):
    """Features as a fresh run would get them, and how many it computed."""
    extractor = Extractor(backbone or StandIn(), store)
    indices = np.asarray(indices)
    features = extractor(key, rows, indices, show, "images").gather(indices)
    return features, extractor.computed


# Once and never again


def test_features_are_those_of_the_images_asked_for(store):
    indices = np.array([3, 5, 250])
    features, computed = extract(store, indices)
    expected = StandIn().extract(render(indices))["layer4"]
    assert torch.equal(features, expected.half().float())
    assert computed == 3


def test_nothing_is_computed_twice(store):
    backbone = StandIn()
    first, computed = extract(store, range(100), backbone)
    again, computed_again = extract(store, range(100), backbone)
    assert torch.equal(first, again)
    assert (computed, computed_again) == (100, 0)
    assert backbone.given == 100


def test_growing_computes_only_what_is_new(store):
    assert extract(store, range(0, 100, 2))[1] == 50
    features, computed = extract(store, range(0, 120))
    assert computed == 70
    expected = StandIn().extract(render(np.arange(120)))["layer4"]
    assert torch.equal(features, expected.half().float())
    assert extract(store, range(10, 20))[1] == 0


def test_computed_counts_over_all_calls(store):
    extractor = Extractor(StandIn(), store)
    for view in range(3):
        extractor(KEY | {"view": view}, ROWS, np.arange(10), render, "images")
    extractor(KEY, ROWS, np.arange(15), render, "images")
    assert extractor.computed == 35


def test_no_images_need_no_features(store):
    features = Extractor(StandIn(), store)(KEY, ROWS, np.arange(0), render_empty, "images")
    assert list(features.missing(np.arange(0))) == []


def render_empty(indices, device):
    assert len(indices) == 0
    return torch.zeros(0, 1, 32, 32)


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 8, CHUNK * 9 + 1])
def test_any_number_of_images_comes_whole(store, count):
    features, computed = extract(store, range(count))
    assert computed == count
    expected = StandIn().extract(render(np.arange(count)))["layer4"]
    assert torch.equal(features, expected.half().float())


def test_what_the_backbone_pools_beside_is_shared(store):
    both = StandIn(("layer3", "layer4"))
    features, computed = extract(store, range(20), both)
    assert computed == 20
    for name, columns in (("layer3", slice(0, 2)), ("layer4", slice(2, 5))):
        found, computed = extract(store, range(20), StandIn((name,)))
        assert computed == 0
        assert torch.equal(found, features[:, columns])
    assert extract(store, range(20), StandIn(("layer4", "layer3")))[1] == 0


def test_a_pass_keeps_every_stage(store):
    extract(store, range(20), StandIn(("layer4",)))
    features, computed = extract(store, range(20), StandIn(("layer3", "layer4")))
    assert computed == 0
    assert features.shape == (20, 5)


def test_a_stage_that_no_pass_kept_is_computed(store):
    extract(store, range(20))
    further = StandIn(("layer4", "layer2.0"))
    further.widths = {**further.widths, "layer2.0": 4}
    features, computed = extract(store, range(20), further)
    assert computed == 20
    assert features.shape == (20, 7)


# What a feature depends on


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 64},
        {"view": 1},
        {"pixels": "4567"},
        {"rotation": 10.0},
        {"view_seed": 1},
    ],
)
def test_other_pixels_are_other_features(store, change):
    extract(store, range(5))
    assert extract(store, range(5), key=KEY | change)[1] == 5
    assert extract(store, range(5))[1] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "cd"},
        {"name": "resnet50"},
        {"mean": [0.5]},
        {"std": [0.5]},
        {"precision": "bfloat16"},
        {"compiled": True},
    ],
)
def test_another_backbone_has_other_features(store, change):
    extract(store, range(5))
    assert extract(store, range(5), StandIn(**change))[1] == 5
    assert extract(store, range(5))[1] == 0


def test_versions_of_the_libraries_count(store, monkeypatch):
    extract(store, range(5))
    newer = StandIn()
    newer.versions = {"torchvision": "1"}
    assert extract(store, range(5), newer)[1] == 5
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert extract(store, range(5))[1] == 5


def test_the_name_of_the_weights_file_does_not_count(store):
    # Its fingerprint does: a file that was moved or renamed is the same weights.
    extract(store, range(5))
    assert extract(store, range(5), StandIn(weights="renamed.pth"))[1] == 0


def test_the_same_file_under_another_name_shares_features(store, make_backbone, tmp_path):
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = torchvision.models.resnet18().state_dict()
    torch.save(state, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    one, other = (make_backbone(weights=str(tmp_path / name)) for name in ("a.pth", "b.pth"))
    features, computed = extract(store, range(4), one)
    assert computed == 4
    again, computed = extract(store, range(4), other)
    assert computed == 0
    assert torch.equal(features, again)
    assert extract(store, range(4), make_backbone())[1] == 4


def test_a_feature_does_not_depend_on_what_it_was_computed_with(store, backbone, tmp_path):
    together, _ = extract(store, range(70), backbone)
    other = FeatureStore(tmp_path / "other")
    extract(other, range(0, 70, 3), backbone)
    extract(other, [69, 1, 2], backbone)
    in_parts, computed = extract(other, range(70), backbone)
    assert computed == 70 - 24 - 2
    assert torch.equal(in_parts, together)


def test_where_compiling_fails_features_are_kept_as_not_compiled(
    store, backbone, make_backbone, monkeypatch, caplog
):
    def fail(*args, **options):
        raise RuntimeError("no compiler\nand a long story")

    expected, _ = extract(store, range(5), backbone)
    monkeypatch.setattr(torch, "compile", fail)
    features, computed = extract(store, range(5), make_backbone(compile=True))
    assert computed == 0
    assert torch.equal(features, expected)
    assert "torch.compile failed (no compiler)" in caplog.text


# Refusing


@pytest.mark.parametrize("scale", [float("inf"), float("nan"), 1e7])
def test_features_that_float16_cannot_hold_are_an_error_and_not_kept(store, scale):
    bad = StandIn()
    bad.scale = scale
    with pytest.raises(FashionTransferError, match="layer3.*not finite.*precision=float32"):
        extract(store, range(5), bad)
    assert extract(store, range(5))[1] == 5


def test_a_store_that_cannot_be_written_is_an_error(read_only_dir):
    read_only_dir.protect()
    with pytest.raises(FashionTransferError, match="paths.cache=DIR"):
        extract(FeatureStore(read_only_dir.path), range(5))


def test_a_store_that_can_only_be_read_gives_what_it_has(read_only_dir):
    store = FeatureStore(read_only_dir.path)
    expected, _ = extract(store, range(5))
    read_only_dir.protect()
    features, computed = extract(store, range(5))
    assert torch.equal(features, expected)
    assert computed == 0
    with pytest.raises(FashionTransferError, match="paths.cache=DIR"):
        extract(store, range(6))


def test_a_disk_that_fills_up_is_an_error_and_what_was_finished_is_kept(store, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 1)
    real, written = os.pwrite, []

    def fills_up(descriptor, data, offset):
        written.append(len(data))
        if len(written) > 128 + 100:
            raise OSError(28, os.strerror(28))
        return real(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", fills_up)
        with pytest.raises(FashionTransferError, match="the disk is full"):
            extract(store, range(200))
    # A pass is the rows of a stage, then their checksums, then the next stage: of the second
    # pass, four checksums of the last stage were written.
    features, computed = extract(store, range(200))
    assert computed == 200 - CHUNK - (100 - 3 * CHUNK)
    expected = StandIn().extract(render(np.arange(200)))["layer4"]
    assert torch.equal(features, expected.half().float())


def test_a_flipped_byte_is_computed_again_with_a_warning(store, caplog):
    expected, _ = extract(store, range(50))
    ((folder, _, _),) = store.entries()
    content = bytearray((folder / "layer4.npy").read_bytes())
    content[-ROWS * 6 + 20 * 6] ^= 255
    (folder / "layer4.npy").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        features, computed = extract(store, range(50))
    assert computed == 1
    assert torch.equal(features, expected)
    assert "damaged" in caplog.text


def test_a_truncated_file_is_computed_again(store):
    expected, _ = extract(store, range(50))
    ((folder, _, _),) = store.entries()
    content = (folder / "layer4.npy").read_bytes()
    (folder / "layer4.npy").write_bytes(content[: len(content) // 2])
    features, computed = extract(store, range(50))
    assert computed == 50
    assert torch.equal(features, expected)


# Other processes

SLOW_RUN = """
import os, sys
import numpy as np
import torch

torch.set_num_threads(1)
from fashion_transfer.features import Backbone, Extractor, FeatureStore
from fashion_transfer.features import extractor as module

module.BLOCK = 1  # a write after each pass
backbone = Backbone("resnet18", weights=None, precision="float32", compile=False)
real, rows = os.pwrite, 0


def render(indices, device):
    draws = [np.random.default_rng(int(i)).random((1, 32, 32), dtype=np.float32) for i in indices]
    return torch.from_numpy(np.stack(draws))


def pause():
    print("paused", file=sys.stderr, flush=True)
    sys.stdin.readline()


def pwrite(descriptor, data, offset):
    global rows
    rows += len(data) > 4  # less is a checksum
    if rows == 128 * 4 + 40 and len(data) > 4:  # the second pass, the first of four stages
        real(descriptor, data[: len(data) // 2], offset)
        pause()
    return real(descriptor, data, offset)


os.pwrite = pwrite
extractor = Extractor(backbone, FeatureStore(sys.argv[1]))
key = {"pixels": "0123", "image_size": 32, "view": 0}
extractor(key, 300, np.arange(200), render, "images")
print("computed", extractor.computed, file=sys.stderr)
"""


@pytest.fixture
def slow_run(store):
    """Another process that computes 200 features and pauses in the 40th row of its second pass."""
    command = [sys.executable, "-c", SLOW_RUN, str(store.directory.parent)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    output = []
    for line in process.stderr:
        output.append(line)
        if line == "paused\n":
            break
    else:
        pytest.fail("".join(output))
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def uninterrupted(backbone, tmp_path):
    return extract(FeatureStore(tmp_path / "uninterrupted"), range(200), backbone)[0]


def test_a_run_killed_in_the_middle_of_a_row_is_continued(store, backbone, slow_run, uninterrupted):
    slow_run.kill()  # SIGKILL: nothing is tidied up
    slow_run.wait()
    features, computed = extract(store, range(200), backbone)
    assert computed == 200 - 128
    assert torch.equal(features, uninterrupted)


def test_two_runs_at_once_compute_each_feature_once(
    store, backbone, slow_run, uninterrupted, caplog
):
    class GoOn(logging.Handler):
        def emit(self, record):
            if "waiting" in record.getMessage():
                slow_run.stdin.write("\n")
                slow_run.stdin.flush()

    logger = logging.getLogger("fashion_transfer.features.store")
    handler = GoOn()
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger=logger.name):
            features, computed = extract(store, range(200), backbone)
    finally:
        logger.removeHandler(handler)
    assert "another run computes these features" in caplog.text
    _, output = slow_run.communicate(timeout=60)
    assert "computed 200" in output
    assert computed == 0
    assert torch.equal(features, uninterrupted)
