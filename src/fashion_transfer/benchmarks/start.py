"""Seconds from the start of a process to the backbone's second pass: package or torch.compile."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.errors import FashionTransferError

SIZES = (224, 64)
"""Pixels; the first is the default's."""

BY_KEY = """
import sys, time
import torch
from fashion_transfer.features.package import Package
from fashion_transfer.features.store import FeatureStore

way, weights, size, cache = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4]
sizes = {key["shape"][-1]: folder for folder, key, _ in FeatureStore(cache).entries()}
package = Package(sizes[size])
for _ in range(2):
    package(torch.rand(*package.shape))
print(time.time())
"""
NETWORK = """
import sys, time
import torch
from fashion_transfer.features import Backbone, FeatureStore

way, weights, size, cache = *sys.argv[1:3], int(sys.argv[3]), sys.argv[4]
backbone = Backbone(weights=weights, compile=True)
backbone.to_device("cpu")
if way == "network":
    backbone.use_packages(FeatureStore(cache))
for _ in range(2):
    backbone.extract(torch.rand(backbone.pass_size(size), 1, size, size))
print(time.time())
"""
PROCESSES = {"network": NETWORK, "key": BY_KEY, "compile": NETWORK}
"""What a process does, by the way in which it gets the backbone.

It builds the network, which then opens its package; it opens the package by the key of its folder,
as `make cache` lists it; or it builds the network, and torch compiles it.
"""


def start_rows(weights: str, scratch: Path, repeats: int) -> list[Row]:
    """Times new processes in turn, which open the backbone's package or compile it.

    All make two whole passes. The first of each, which builds the package and the kernels, does
    not count.

    Args:
        weights: of ResNet50, name or path.
        scratch: a folder for packages and kernels.
        repeats: processes of each, whose median counts.

    Raises:
        FashionTransferError: one failed.
    """
    rows = []
    for size in SIZES:
        seconds: dict[str, list[float]] = {way: [] for way in PROCESSES}
        for repeat in range(repeats + 1):
            log_progress(f"start, {size} px, {repeat} of {repeats}")
            for way, measured in seconds.items():
                taken = seconds_to_second_pass(way, weights, size, scratch)
                if repeat:
                    measured.append(taken)
        median = {way: statistics.median(measured) for way, measured in seconds.items()}
        ending = "" if size == SIZES[0] else f"_{size}"
        title = f"process start to second pass, {size} px"
        rows.append(
            bench_row(f"start_compile{ending}", f"{title}, torch.compile", median["compile"], "s")
        )
        rows += [
            bench_row(
                f"{name}{ending}",
                f"{title}, {what}; ratio: to torch.compile",
                median[way],
                "s",
                ratio=median[way] / median["compile"],
            )
            for name, way, what in (
                ("start", "key", "package by its key"),
                ("start_network", "network", "network with its package"),
            )
        ]
    return rows


def seconds_to_second_pass(way: str, weights: str, size: int, scratch: Path) -> float:
    """Returns the seconds from the start of a process to the end of its second pass.

    Args:
        way: of `PROCESSES`.
        weights: of ResNet50, name or path.
        size: of the images, pixels.
        scratch: a folder for packages and kernels.

    Raises:
        FashionTransferError: it failed.
    """
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(scratch / "start-kernels")}
    command = [
        sys.executable,
        "-c",
        PROCESSES[way],
        way,
        weights,
        str(size),
        str(scratch / "start"),
    ]
    start = time.time()
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ended.returncode:
        last = " ".join(ended.stderr.strip().splitlines()[-1:])
        raise FashionTransferError(f"the backbone could not be started by {way}: {last}")
    return float(ended.stdout.split()[-1]) - start
