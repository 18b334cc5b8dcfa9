"""Images per second through ResNet50 at 224 px: plain, ours, OpenVINO's, and the bound."""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.data.augmentation import render
from fashion_transfer.data.idx_files import find_files, load_pair
from fashion_transfer.features import Backbone
from fashion_transfer.features.weights import load_weights

BATCH = 32
"""Images per call; how many go through at once is each engine's own choice."""

GFLOP_PER_IMAGE = 8.18
"""Of ResNet50 at 224 px: 4.09 G multiply-adds (torchvision's documentation)."""

MATRIX = 2048


def backbone_rows(weights: str, data: str, repeats: int) -> list[Row]:
    """Measures the engines in turn on real images; the first row is the plain one.

    Args:
        weights: of ResNet50, name or path.
        data: folder of the Fashion-MNIST files.
        repeats: measurements per engine, whose median counts.
    """
    log_progress("backbone: eager float32 NCHW, ours, OpenVINO, matrix multiply")
    images = load_pair(find_files(data), train=False).images[:BATCH]
    grey = render(torch.from_numpy(images)[:, None], 224)
    backbone = Backbone(weights=weights)
    precision = backbone.to_device("cpu")
    network = _plain_network(weights)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    normalised = (grey.expand(-1, 3, -1, -1).contiguous() - mean) / std

    def plain() -> Tensor:
        with torch.no_grad():
            output: Tensor = network(normalised)
        return output

    factor = torch.rand(MATRIX, MATRIX).to(getattr(torch, precision))
    runs: dict[str, Callable[[], Any]] = {"plain": plain, "ours": lambda: backbone.extract(grey)}
    if openvino := _openvino(network, normalised, precision):
        runs["openvino"] = openvino
    runs["multiply"] = lambda: factor @ factor
    seconds = in_turn(runs, repeats)
    rate = {name: BATCH / value for name, value in seconds.items()}
    rate["multiply"] = 2 * MATRIX**3 / 1e9 / seconds["multiply"] / GFLOP_PER_IMAGE
    unit = "images/s"
    rows = [
        bench_row("backbone_plain", "backbone, eager float32 NCHW", rate["plain"], unit),
        bench_row(
            "backbone",
            f"backbone, {precision}",
            rate["ours"],
            unit,
            speedup=rate["ours"] / rate["plain"],
        ),
    ]
    if "openvino" in rate:
        rows.append(
            bench_row(
                "backbone_openvino",
                f"OpenVINO, {precision}; ratio: the backbone over it",
                rate["openvino"],
                unit,
                ratio=rate["ours"] / rate["openvino"],
            )
        )
    title = f"bound of the {precision} matrix multiply"
    return [*rows, bench_row("backbone_bound", title, rate["multiply"], unit)]


def in_turn(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Returns the median seconds of each call; they alternate, so that drift slows all alike."""
    for run in runs.values():  # compiles, warms up
        run()
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _, (name, run) in itertools.product(range(repeats), runs.items()):
        start = time.perf_counter()
        run()
        seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _plain_network(weights: str) -> torch.nn.Module:
    network: torch.nn.Module = torchvision.models.resnet50()
    state = load_weights("resnet50", weights).state
    assert state is not None
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    )
    network.fc = torch.nn.Identity()
    return network.eval()


def _openvino(network: torch.nn.Module, images: Tensor, precision: str) -> Callable[[], Any] | None:
    try:
        import openvino
    except ImportError:
        log_progress('no OpenVINO row: `pip install -e ".[bench]"` adds it')
        return None
    hints = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    model = openvino.convert_model(network, example_input=images, input=tuple(images.shape))
    config = {"INFERENCE_PRECISION_HINT": hints[precision], "PERFORMANCE_HINT": "THROUGHPUT"}
    config["NUM_STREAMS"] = "1"  # one batch at a time, as the other rows
    compiled = openvino.Core().compile_model(model, "CPU", config)
    array = images.numpy()
    return lambda: compiled(array)
