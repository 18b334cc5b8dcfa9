"""The extractor with a second process on the same store."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch

from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features.engine import MAX_PASS_SIZE

KEY = {"split": "0123", "preparation": "none/1", "image_size": 32, "view": 0}


def draw(rows: np.ndarray, device=None) -> torch.Tensor:
    """Images that their rows determine."""
    draws = [np.random.default_rng(int(i)).random((1, 32, 32), dtype=np.float32) for i in rows]
    return torch.from_numpy(np.stack(draws))


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def extract(store, backbone):
    """Features as a fresh run would get them, and how many it computed."""
    extractor, rows = Extractor(backbone, store), np.arange(200)
    features = extractor(KEY, 300, rows, draw, "images").gather(rows)
    return features, extractor.computed


SLOW_RUN = """
import os, sys
import numpy as np
import torch

torch.set_num_threads(1)
from fashion_transfer.features import Backbone, Extractor, FeatureStore
from fashion_transfer.features import extractor as module

module.PASSES_PER_WRITE = 1  # a write after each pass
backbone = Backbone("resnet18", weights=None, precision="float32", compile=False)
real, written = os.pwrite, 0


def draw(rows, device):
    draws = [np.random.default_rng(int(i)).random((1, 32, 32), dtype=np.float32) for i in rows]
    return torch.from_numpy(np.stack(draws))


def pause():
    print("paused", file=sys.stderr, flush=True)
    sys.stdin.readline()


def pwrite(descriptor, data, offset):
    global written
    written += len(data) > 4  # less is a checksum
    if written == 128 * 4 + 40 and len(data) > 4:  # the second pass, the first of four nodes
        real(descriptor, data[: len(data) // 2], offset)
        pause()
    return real(descriptor, data, offset)


os.pwrite = pwrite
extractor = Extractor(backbone, FeatureStore(sys.argv[1]))
key = {"split": "0123", "preparation": "none/1", "image_size": 32, "view": 0}
extractor(key, 300, np.arange(200), draw, "images")
print("computed", extractor.computed, file=sys.stderr)
"""


@pytest.fixture
def slow_run(store, monkeypatch):
    """Another process that computes 200 features and pauses in the 40th row of its second pass."""
    monkeypatch.setitem(MAX_PASS_SIZE, "cpu", 128)  # as there: it is part of the store's key
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
    return extract(FeatureStore(tmp_path / "uninterrupted"), backbone)[0]


@pytest.mark.slow
def test_run_killed_in_the_middle_of_a_row_is_continued(store, backbone, slow_run, uninterrupted):
    slow_run.kill()  # SIGKILL: nothing is cleaned up
    slow_run.wait()
    features, computed = extract(store, backbone)
    assert computed == 200 - 128
    assert torch.equal(features, uninterrupted)


@pytest.mark.slow
def test_concurrent_runs_compute_each_feature_once(
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
            features, computed = extract(store, backbone)
    finally:
        logger.removeHandler(handler)
    assert "another run computes these features" in caplog.text
    _, output = slow_run.communicate(timeout=60)
    assert "computed 200" in output
    assert computed == 0
    assert torch.equal(features, uninterrupted)
