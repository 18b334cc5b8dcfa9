"""Images per second through ResNet50 at 224 px: plain, ours, OpenVINO's, and the bound."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor

from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.data.augmentation import render
from fashion_transfer.data.idx_files import find_files, load_pair
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Backbone, FeatureStore
from fashion_transfer.features.openvino_engine import import_nncf, import_openvino
from fashion_transfer.features.quantisation import CALIBRATION_IMAGES
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


def openvino_rows(weights: str, data: str, repeats: int, size: int = 224) -> list[Row]:
    """Compares the backbone as it runs with OpenVINO at its best, and int8 with both.

    Args:
        weights: of ResNet50, name or path.
        data: folder of the Fashion-MNIST files.
        repeats: measurements per engine, whose median counts.
        size: of the images, pixels.

    Returns:
        No row without OpenVINO, and none of int8 without NNCF.
    """
    log_progress(f"OpenVINO at {size} px: one image, a whole pass, two streams, int8")
    images = torch.from_numpy(load_pair(find_files(data), train=True).images)[:, None]
    backbone, of_one = (Backbone(weights=weights, compile=True) for _ in range(2))
    of_one.engine.single = True  # or one image would pay for a whole pass
    precision = backbone.to_device("cpu")
    of_one.to_device("cpu")
    whole = backbone.pass_size(size)  # 16 at 224 px
    grey = render(images[:whole], size)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbone.mean, backbone.std))
    normalised = (grey.expand(-1, 3, -1, -1).contiguous() - mean) / std
    network = _plain_network(weights)
    counts, runs = dict[str, int](), dict[str, Callable[[], Any]]()
    with tempfile.TemporaryDirectory(prefix="fashion-transfer-bench-") as cache:
        for count in (1, whole):
            name = f"openvino_{count}"
            if (run := _openvino(network, normalised[:count], precision)) is None:
                return []
            counts |= {name: count, f"ours_{count}": count}
            # One image as a prediction asks for it; a whole pass as an extraction.
            ours = of_one.engine.run if count == 1 else backbone.engine.extract
            runs |= {name: run, f"ours_{count}": partial(ours, grey[:count])}
        for each in (backbone, of_one):
            each.use_packages(FeatureStore(cache))
        runs["openvino_streams"] = _openvino_streams(network, normalised, precision)
        counts["openvino_streams"] = whole
        if int8 := _int8(weights, render(images[:CALIBRATION_IMAGES], size), cache):
            runs["int8"], counts["int8"] = partial(int8.extract, grey), whole
        seconds = in_turn(runs, repeats)
    rates = {name: counts[name] / value for name, value in seconds.items()}
    best = {
        who: max(rate for name, rate in rates.items() if name.startswith(who))
        for who in ("ours", "openvino")
    }
    names = {"ours": "backbone", "openvino": "OpenVINO", "int8": "OpenVINO"}
    at, unit = f"{size} px, {precision}", "images/s"
    rows = [
        bench_row(f"{name}_{size}", f"{names[name.split('_')[0]]}, {at}: {name}", rate, unit)
        for name, rate in rates.items()
        if name != "int8"
    ]
    title = f"backbone at its best, {at}; ratio: over OpenVINO at its best"
    rows.append(
        bench_row(f"best_{size}", title, best["ours"], unit, ratio=best["ours"] / best["openvino"])
    )
    if "int8" in rates:
        title = f"int8 of OpenVINO, {size} px; ratio: over the backbone in {precision}"
        ratio = rates["int8"] / rates[f"ours_{whole}"]
        rows.append(bench_row(f"int8_{size}", title, rates["int8"], unit, ratio=ratio))
    return rows


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
        import_openvino()
    except FashionTransferError:
        log_progress('no OpenVINO row: `pip install -e ".[bench]"` adds it')
        return None
    compiled, array = _compiled(network, images, precision, streams=1), images.numpy()
    return lambda: compiled(array)


def _openvino_streams(
    network: torch.nn.Module, images: Tensor, precision: str
) -> Callable[[], None]:
    """Two halves of a batch at once, each on half of the cores."""
    halves = images.chunk(2)
    compiled = _compiled(network, halves[0], precision, streams=2)
    queue = import_openvino().AsyncInferQueue(compiled, 2)

    def run() -> None:
        for half in halves:
            queue.start_async(half.numpy())
        queue.wait_all()

    return run


def _int8(weights: str, images: Tensor, cache: str) -> Backbone | None:
    try:
        import_nncf()
    except FashionTransferError:
        log_progress('no row of int8: `pip install -e ".[bench]"` adds it')
        return None
    backbone = Backbone(weights=weights, precision="int8")
    backbone.to_device("cpu")
    backbone.calibrate(images, cache)
    return backbone


def _compiled(network: torch.nn.Module, images: Tensor, precision: str, streams: int) -> Any:
    openvino = import_openvino()
    hints = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    model = openvino.convert_model(network, example_input=images, input=tuple(images.shape))
    config = {"INFERENCE_PRECISION_HINT": hints[precision], "PERFORMANCE_HINT": "THROUGHPUT"}
    config["NUM_STREAMS"] = str(streams)  # 1: one batch at a time, as the other rows
    return openvino.Core().compile_model(model, "CPU", config)
