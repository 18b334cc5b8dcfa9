"""The extractor: each feature is computed once, also by several runs and after a kill."""

import logging
import os
import threading
from contextlib import nullcontext
from unittest import mock

import numpy as np
import pytest
import torch

from fashion_transfer import progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore, package
from fashion_transfer.features import extractor as module
from fashion_transfer.progress import ProgressBar

KEY = {"split": "0123", "preparation": "none/1", "image_size": 32, "view": 0}
ROWS = 300
CHUNK = 32  # images per pass of the stand-in


def draw(rows: np.ndarray, device=None) -> torch.Tensor:
    """Images that their rows determine."""
    draws = [np.random.default_rng(int(i)).random((1, 32, 32), dtype=np.float32) for i in rows]
    return torch.from_numpy(np.stack(draws))


class StandIn:
    """A backbone, and its own engine, with cheap features, that counts the images it is given."""

    def __init__(self, pool=("layer4",), precision="float32", compiled=False, **identity):
        self.engine = self
        self.node_widths = {"layer3": 2, "layer4": 3}
        self.pool = pool
        self.identity = {"name": "stand-in", "weights": "some.pth", "fingerprint": "ab"}
        self.identity |= {"pool": list(pool), "mean": [0.0], "std": [1.0]} | identity
        self.versions = {"torchvision": "0"}
        self.precision = precision
        self.compiled = compiled
        self.auto = None
        self.given = 0
        self.scale = 1.0

    def use_packages(self, store):
        pass

    def pays(self, *images):
        return True

    def to_device(self, device):
        return self.precision

    def pass_size(self, image_size):
        return CHUNK

    def cached_widths(self, image_size):
        return {node: self.node_widths[node] for node in self.pool}

    def compiles(self, image_size):
        return self.compiled

    def try_compiling(self, image_size, channels):
        return self.compiled

    def extract(self, images):
        self.given += len(images)
        pixels = images.flatten(1)[:, :5] * self.scale
        return {node: pixels[:, :width] + width for node, width in self.node_widths.items()}


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def extract(store, rows, backbone=None, key=KEY):
    """Features as a fresh run would get them, and how many it computed."""
    extractor = Extractor(backbone or StandIn(), store)
    rows = np.asarray(rows)
    features = extractor(key, ROWS, rows, draw, "images").gather(rows)
    return features, extractor.computed


# Once


def test_extractor_gives_features_of_the_requested_rows(store):
    rows = np.array([3, 5, 250])
    features, computed = extract(store, rows)
    expected = StandIn().extract(draw(rows))["layer4"]
    assert torch.equal(features, expected.half().float())
    assert computed == 3


def test_second_run_computes_nothing(store):
    backbone = StandIn()
    first, computed = extract(store, range(100), backbone)
    again, computed_again = extract(store, range(100), backbone)
    assert torch.equal(first, again)
    assert (computed, computed_again) == (100, 0)
    assert backbone.given == 100


def test_larger_subset_computes_only_new_rows(store):
    assert extract(store, range(0, 100, 2))[1] == 50
    features, computed = extract(store, range(0, 120))
    assert computed == 70
    expected = StandIn().extract(draw(np.arange(120)))["layer4"]
    assert torch.equal(features, expected.half().float())
    assert extract(store, range(10, 20))[1] == 0


def test_computed_counts_over_all_calls(store):
    extractor = Extractor(StandIn(), store)
    for view in range(3):
        extractor(KEY | {"view": view}, ROWS, np.arange(10), draw, "images")
    extractor(KEY, ROWS, np.arange(15), draw, "images")
    assert extractor.computed == 35


def test_no_rows_need_no_features(store):
    features = Extractor(StandIn(), store)(KEY, ROWS, np.arange(0), draw_nothing, "images")
    assert list(features.missing(np.arange(0))) == []


def draw_nothing(rows, device):
    assert len(rows) == 0
    return torch.zeros(0, 1, 32, 32)


@pytest.mark.parametrize("count", [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK * 8, CHUNK * 9 + 1])
def test_extractor_takes_any_number_of_rows(store, count):
    features, computed = extract(store, range(count))
    assert computed == count
    expected = StandIn().extract(draw(np.arange(count)))["layer4"]
    assert torch.equal(features, expected.half().float())


def test_nodes_are_shared_between_pools(store):
    both = StandIn(("layer3", "layer4"))
    features, computed = extract(store, range(20), both)
    assert computed == 20
    for name, columns in (("layer3", slice(0, 2)), ("layer4", slice(2, 5))):
        features_alone, computed = extract(store, range(20), StandIn((name,)))
        assert computed == 0
        assert torch.equal(features_alone, features[:, columns])
    assert extract(store, range(20), StandIn(("layer4", "layer3")))[1] == 0


def test_pass_caches_every_node(store):
    extract(store, range(20), StandIn(("layer4",)))
    features, computed = extract(store, range(20), StandIn(("layer3", "layer4")))
    assert computed == 0
    assert features.shape == (20, 5)


def test_node_that_no_pass_cached_is_computed(store):
    extract(store, range(20))
    further = StandIn(("layer4", "layer2.0"))
    further.node_widths = {**further.node_widths, "layer2.0": 4}
    features, computed = extract(store, range(20), further)
    assert computed == 20
    assert features.shape == (20, 7)


# What a feature depends on


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 64},
        {"view": 1},
        {"split": "4567"},
        {"rotation": 10.0},
        {"view_seed": 1},
    ],
)
def test_another_key_has_other_features(store, change):
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


def test_another_version_of_a_library_has_other_features(store, monkeypatch):
    extract(store, range(5))
    newer = StandIn()
    newer.versions = {"torchvision": "1"}
    assert extract(store, range(5), newer)[1] == 5
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert extract(store, range(5))[1] == 5


def test_renamed_weights_share_features(store):
    # Its fingerprint does: a file that was moved or renamed is the same weights.
    extract(store, range(5))
    assert extract(store, range(5), StandIn(weights="renamed.pth"))[1] == 0


def test_copied_file_of_weights_shares_features(store, make_backbone, tmp_path):
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


def test_feature_does_not_depend_on_the_rows_beside_it(store, backbone, tmp_path):
    together, _ = extract(store, range(70), backbone)
    other = FeatureStore(tmp_path / "other")
    extract(other, range(0, 70, 3), backbone)
    extract(other, [69, 1, 2], backbone)
    in_parts, computed = extract(other, range(70), backbone)
    assert computed == 70 - 24 - 2
    assert torch.equal(in_parts, together)


def test_failed_compilation_caches_features_as_not_compiled(
    store, backbone, make_backbone, monkeypatch, caplog
):
    def fail(*args, **options):
        raise RuntimeError("no compiler\nand a long story")

    expected, _ = extract(store, range(5), backbone)
    monkeypatch.setattr(torch, "compile", fail)
    monkeypatch.setattr(package, "_compile", fail)
    features, computed = extract(store, range(5), make_backbone(compile=True))
    assert computed == 0
    assert torch.equal(features, expected)
    assert "the backbone runs without a package (no compiler)" in caplog.text
    assert "torch.compile failed (no compiler)" in caplog.text


# Errors and damage


@pytest.mark.parametrize("scale", [float("inf"), float("nan"), 1e7])
def test_features_that_float16_cannot_hold_are_an_error_and_not_cached(store, scale):
    bad = StandIn()
    bad.scale = scale
    with pytest.raises(FashionTransferError, match="layer3.*not finite.*precision float32"):
        extract(store, range(5), bad)
    assert extract(store, range(5))[1] == 5


def test_extractor_without_a_writable_store_is_an_error(read_only_dir):
    read_only_dir.protect()
    with pytest.raises(FashionTransferError, match="FASHION_TRANSFER_CACHE=DIR"):
        extract(FeatureStore(read_only_dir.path), range(5))


def test_read_only_store_gives_cached_features(read_only_dir):
    store = FeatureStore(read_only_dir.path)
    expected, _ = extract(store, range(5))
    read_only_dir.protect()
    features, computed = extract(store, range(5))
    assert torch.equal(features, expected)
    assert computed == 0
    with pytest.raises(FashionTransferError, match="FASHION_TRANSFER_CACHE=DIR"):
        extract(store, range(6))


def test_disk_that_fills_up_is_an_error_and_earlier_passes_are_cached(store, monkeypatch):
    monkeypatch.setattr(module, "PASSES_PER_WRITE", 1)
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
    # A pass is the rows of a node, then their checksums, then the next node: of the second
    # pass, four checksums of the last node were written.
    features, computed = extract(store, range(200))
    assert computed == 200 - CHUNK - (100 - 3 * CHUNK)
    expected = StandIn().extract(draw(np.arange(200)))["layer4"]
    assert torch.equal(features, expected.half().float())


def test_flipped_byte_is_computed_again_with_a_warning(store, caplog):
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


def test_truncated_file_is_computed_again(store):
    expected, _ = extract(store, range(50))
    ((folder, _, _),) = store.entries()
    content = (folder / "layer4.npy").read_bytes()
    (folder / "layer4.npy").write_bytes(content[: len(content) // 2])
    features, computed = extract(store, range(50))
    assert computed == 50
    assert torch.equal(features, expected)


def test_run_over_the_limit_of_bytes_is_an_error(store, monkeypatch):
    # A pass gives two nodes of 2 and 3 numbers, and a checksum for each.
    monkeypatch.setattr(module, "MAX_BYTES", 18 * 250)
    extractor = Extractor(StandIn(), store)
    extractor(KEY, ROWS, np.arange(200), draw)
    assert extractor.announced == 18 * 200
    with pytest.raises(FashionTransferError, match="over the limit .* smaller image size"):
        extractor(KEY | {"view": 1}, ROWS, np.arange(200), draw)


def plan(extractor, requests):
    with extractor.plan(requests):
        pass


def test_space_for_all_that_is_to_come_is_checked_before_anything_is_computed(store, monkeypatch):
    backbone = StandIn()
    requests = [(KEY | {"view": v}, ROWS, np.arange(200), draw, "images") for v in range(3)]
    extractor = Extractor(backbone, store)
    extractor(*requests[0])
    monkeypatch.setattr(module, "MAX_BYTES", 18 * 599)
    with pytest.raises(FashionTransferError, match="over the limit .* smaller image size"):
        plan(extractor, requests)
    monkeypatch.setattr(module, "MAX_BYTES", 18 * 600)
    plan(extractor, requests)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: mock.Mock(free=18 * 399))
    with pytest.raises(FashionTransferError, match="need .* GB are free: .*make cache"):
        plan(extractor, requests)
    assert backbone.given == 200


def test_a_plan_draws_each_missing_image_once_and_prefetches_most(store):
    drawn, prefetched = [], []

    def of_view(view):
        def counted(rows, device):
            if len(rows) > 1:  # a single one only shows what the images are like
                drawn.extend((view, row) for row in rows.tolist())
                prefetched.append(threading.current_thread() is not threading.main_thread())
            return draw(rows)

        return counted

    requests = [(KEY | {"view": v}, ROWS, np.arange(2 * CHUNK), of_view(v)) for v in range(3)]
    extractor = Extractor(StandIn(), store)
    first = (*requests[1][:2], np.arange(10), requests[1][3])  # of the second, some are cached
    extractor(*first)
    drawn.clear(), prefetched.clear()
    with extractor.plan([(*request, "images") for request in requests]):
        for request in requests:
            extractor(*request)
    missing = [(v, row) for v in range(3) for row in range(10 * (v == 1), 2 * CHUNK)]
    assert sorted(drawn) == missing
    assert prefetched == [False, True, True, True, True, True]


def test_a_plan_of_cached_images_draws_one_of_them_alone(store):
    drawn = []

    def of_view(view):
        def counted(rows, device):
            drawn.extend((view, row) for row in rows.tolist())
            return draw(rows)

        return counted

    keys = [KEY | {"view": view} for view in range(3)]
    requests = [(key, ROWS, np.arange(50), of_view(key["view"]), "images") for key in keys]
    for expected in (1 + 3 * 50, 1):  # one shows how many channels there are
        extractor = Extractor(StandIn(), store)
        with extractor.plan(requests):
            for request in requests:
                extractor(*request)
        assert len(drawn) == expected
        drawn.clear()


def test_calls_of_a_plan_share_one_progress_bar(store, monkeypatch):
    bars = []

    def record(*arguments):
        bars.append(ProgressBar(*arguments))
        return nullcontext(bars[-1])

    monkeypatch.setattr(module, "progress_bar", record)
    requests = [(KEY | {"view": v}, ROWS, np.arange(50), draw, f"view {v}") for v in range(3)]
    extractor = Extractor(StandIn(), store)
    extractor(*requests[0])
    with extractor.plan(requests):
        for request in requests:
            extractor(*request)
    alone, shared = bars
    assert (alone.title, alone.total, alone.done) == ("view 0", 50, 50)
    assert (shared.title, shared.total, shared.done) == ("view 2", 100, 100)


def test_a_large_run_stores_only_the_nodes_that_it_needs(store, monkeypatch):
    monkeypatch.setattr(module, "ALL_NODES_BYTES", 18 * 100 - 1)
    request = (KEY, ROWS, np.arange(100), draw, "images")
    extractor = Extractor(StandIn(), store)
    with extractor.plan([request]):
        features = extractor(*request).gather(np.arange(100))
    assert torch.equal(features, StandIn().extract(draw(np.arange(100)))["layer4"].half().float())
    ((folder, _, _),) = store.entries()
    assert not (folder / "layer3.npy").exists()
    assert extractor.announced == 10 * 100
    # Another pool computes its node, and leaves the first one as it is.
    _, computed = extract(store, range(100), StandIn(pool=("layer3", "layer4")))
    assert computed == 100
    assert extract(store, range(100))[1] == 0


# Progress


def test_extractor_logs_progress_without_a_terminal(store, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_EVERY", 0.0)
    monkeypatch.setattr(module, "PASSES_PER_WRITE", 1)
    with caplog.at_level(logging.INFO):
        Extractor(StandIn(), store)(KEY, ROWS, np.arange(2 * CHUNK), draw, "test images")
    assert "computing the features of 64 test images" in caplog.text
    assert "test images: 32 of 64, " in caplog.text
