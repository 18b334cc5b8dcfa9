"""`make bench`: what a run costs, beside what it would cost without the store and the fast path.

Every row is measured in the same run, on real images, as a median over repeats taken in turn, so
that a machine whose speed drifts slows all alike. Ratios travel; absolute times do not.
"""

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchvision
from rich.console import Console
from rich.table import Table

from fashion_transfer.commands.runs import METRICS, write_text
from fashion_transfer.data.sources import find_files, load_split
from fashion_transfer.data.views import render
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Backbone
from fashion_transfer.features.weights import load_weights

PASSES_OF_PLAIN_LOOP = 70_000
"""10 epochs of 5,000 training and 1,000 validation images, and 10,000 test images."""

BATCH = 32
"""Images of the backbone rows; what each makes of them is its own affair."""

GFLOP_PER_IMAGE = 8.18
"""Of ResNet50 at 224 px: 4.09 G multiply-adds (torchvision's documentation)."""

SWEEP = [
    "model.optimizer.lr=0.0001,0.0003,0.0005,0.001,0.003",
    "model.optimizer.weight_decay=1,3",
    "model.label_smoothing=0,0.1",
]
EAGER = ["model.backbone.precision=float32", "model.backbone.compile=false"]
GROWTH = (100, 500, 2000, 5900)

# A process counts as its own peak what its parent took when it was started, and this one takes
# gigabytes: so a small one starts the command, and says last what that took.
WATCH = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
if status:
    sys.exit(status)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
"""

ROWS = ("backbone", "job", "sweep", "fast", "fidelity", "growth")

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints one table, and writes it as JSON."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="of ResNet50, name or path")
    parser.add_argument("--data", default="data", help="folder of the Fashion-MNIST files")
    parser.add_argument("--repeats", type=int, default=5, help="of each backbone row")
    parser.add_argument("--only", nargs="+", choices=ROWS)
    parser.add_argument("--output", type=Path, default=Path("logs") / "bench" / "bench.json")
    chosen = parser.parse_args(arguments)
    wanted = chosen.only or ROWS
    override = f"model.backbone.weights={chosen.weights}"
    try:
        with tempfile.TemporaryDirectory(prefix="fashion-transfer-bench-") as scratch:
            bench = Bench(Path(scratch), [override, f"paths.data={chosen.data}"])
            rows = backbone_rows(chosen.weights, chosen.data, chosen.repeats)
            eager = rows[0]["value"]
            if "job" in wanted or "sweep" in wanted:
                rows += bench.job_rows(PASSES_OF_PLAIN_LOOP / eager)
            if "sweep" in wanted:
                rows += bench.sweep_rows()
            if "fast" in wanted or "fidelity" in wanted:
                rows += bench.fast_rows()
            if "fidelity" in wanted:
                rows += bench.fidelity_rows()
            if "growth" in wanted:
                rows += bench.growth_rows()
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    write(rows, chosen.output)


def backbone_rows(weights: str, data: str, repeats: int) -> list[Row]:
    """Images a second through ResNet50 at 224 px: plain, ours, OpenVINO's, and the bound."""
    say("backbone: eager float32 NCHW, ours, OpenVINO, matrix multiply")
    images = load_split(find_files(data), train=False).images[:BATCH]
    grey = render(torch.from_numpy(images), 224)
    ours = Backbone(weights=weights)
    precision = ours.settle("cpu")
    plain_network = torchvision.models.resnet50()
    state = load_weights("resnet50", weights).state
    assert state is not None
    plain_network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    )
    plain_network.fc = torch.nn.Identity()
    plain_network.eval()
    colour = grey.expand(-1, 3, -1, -1).contiguous()
    mean = torch.tensor(ours.mean).view(1, 3, 1, 1)
    std = torch.tensor(ours.std).view(1, 3, 1, 1)
    normalised = (colour - mean) / std

    def plain() -> torch.Tensor:
        with torch.no_grad():
            return plain_network(normalised)

    runs: dict[str, Callable[[], Any]] = {"plain": plain, "ours": lambda: ours.extract(grey)}
    openvino = _openvino(plain_network, normalised, precision)
    if openvino is not None:
        runs["openvino"] = openvino
    dtype = getattr(torch, precision)
    factor = torch.rand(2048, 2048).to(dtype)
    runs["multiply"] = lambda: factor @ factor
    seconds = _in_turn(runs, repeats)
    rate = {name: BATCH / value for name, value in seconds.items()}
    rate["multiply"] = 2 * 2048**3 / 1e9 / seconds["multiply"] / GFLOP_PER_IMAGE
    base = rate["plain"]
    rows = [
        row("backbone, eager float32 NCHW", base, "images/s"),
        row(f"backbone, ours, {precision}", rate["ours"], "images/s", rate["ours"] / base),
    ]
    if openvino is not None:
        rows.append(row(f"backbone, OpenVINO, {precision}", rate["openvino"], "images/s"))
        rows[-1]["ours/this"] = rate["ours"] / rate["openvino"]
    rows.append(row(f"bound of the {precision} matrix multiply", rate["multiply"], "images/s"))
    return rows


class Bench:
    """Times whole commands, process start included, on a feature store of its own.

    Args:
        scratch: an empty folder for stores and runs.
        overrides: of every command.
    """

    def __init__(self, scratch: Path, overrides: list[str]) -> None:
        self.scratch = scratch
        self.overrides = overrides

    def job_rows(self, plain: float) -> list[Row]:
        """The default job cold and warm beside the plain loop, and what it takes."""
        cold, memory, _ = self.train("default")
        warm = [self.train("default") for _ in range(3)]
        seconds = statistics.median(second for second, _, _ in warm)
        stored = _disk(self.scratch / "default" / "features")
        return [
            row("plain loop: 70,000 eager float32 NCHW passes, scaled", plain, "s"),
            row("default job, cold", cold, "s", plain / cold),
            row("default job, warm", seconds, "s", plain / seconds),
            row("peak memory, cold", memory, "GiB"),
            row("peak memory, warm", max(used for _, used, _ in warm), "GiB"),
            row("features on disk", stored / 2**20, "MiB"),
        ]

    def sweep_rows(self) -> list[Row]:
        """20 heads by one `-m` command, on the features of the default job."""
        seconds, _, _ = self.train("default", "-m", "test=false", *SWEEP)
        return [row("sweep of 20 heads, warm", seconds, "s")]

    def fast_rows(self) -> list[Row]:
        """`experiment=fast` from nothing to test metrics, everything included."""
        seconds, memory, _ = self.train("fast", "experiment=fast")
        return [
            row("experiment=fast, cold", seconds, "s"),
            row("peak memory, experiment=fast, cold", memory, "GiB"),
        ]

    def fidelity_rows(self) -> list[Row]:
        """Test accuracy on features of the fast path and of eager float32, both trained on them.

        At 64 px, where the eager passes take minutes; the path differs in precision, in passes
        and in what the store keeps (float16), as it does at 224 px.
        """
        seeds = ("-m", "experiment=fast", "seed=0,1,2")
        _, _, ours = self.train("fast", *seeds)
        _, _, eager = self.train("fast", *seeds, *EAGER)
        mean = [100 * statistics.mean(run["test/accuracy"] for run in m) for m in (ours, eager)]
        return [
            row("test accuracy at 64 px, fast path, mean of 3 seeds", mean[0], "%"),
            row("test accuracy at 64 px, eager float32, the same seeds", mean[1], "%"),
        ]

    def growth_rows(self) -> list[Row]:
        """Cold and warm at 64 px for more and more images a class.

        The store grows along, as a user's would: the cold time of a size is the sum of the steps up
        to it, less the warm time that each step before it paid as well.
        """
        rows, spent, last_warm = [], 0.0, 0.0
        for size in GROWTH:
            arguments = ["experiment=fast", f"data.images_per_class={size}"]
            grown, _, _ = self.train("growth", *arguments)
            warm, _, _ = self.train("growth", *arguments)
            spent += grown - last_warm
            last_warm = warm
            rows += [
                row(f"64 px, {size} images a class, cold", spent, "s"),
                row(f"64 px, {size} images a class, warm", warm, "s"),
            ]
        return rows

    def train(self, store: str, *arguments: str) -> tuple[float, float, list[dict[str, Any]]]:
        """Wall seconds, peak resident GiB and every run's metrics of one `train.py`."""
        flags = [argument for argument in arguments if argument == "-m"]  # must come first
        given = [argument for argument in arguments if argument != "-m"]
        command = [sys.executable, "train.py", *flags, *self.overrides, *given]
        command += [f"paths.logs={self.scratch / 'logs'}", "trainer.enable_progress_bar=false"]
        command.append("callbacks.progress=null")
        say(f"train.py {' '.join(arguments) or '(default)'}")
        environment = os.environ | {"FASHION_TRANSFER_CACHE": str(self.scratch / store)}
        with tempfile.TemporaryFile("w+") as output:
            start = time.perf_counter()
            watched = [sys.executable, "-c", WATCH, *command]
            status = subprocess.run(watched, stdout=output, stderr=output, env=environment)
            seconds = time.perf_counter() - start
            output.seek(0)
            last = output.read().strip().splitlines()[-1]
            if status.returncode:
                raise FashionTransferError(f"{' '.join(command)} failed: {last}")
        found = [json.loads(f.read_text()) for f in self.scratch.glob(f"logs/**/{METRICS}")]
        shutil.rmtree(self.scratch / "logs", ignore_errors=True)
        scale = 2**30 if platform.system() == "Darwin" else 2**20  # macOS counts bytes, Linux KiB
        return seconds, int(last) / scale, found


def row(name: str, value: float, unit: str, ratio: float | None = None) -> Row:
    """One line of the table; `ratio` is how many times faster than the plain way."""
    return {"name": name, "value": value, "unit": unit} | ({"faster": ratio} if ratio else {})


def write(rows: list[Row], path: Path) -> None:
    """Prints the table and writes it, with what it was measured on."""
    table = Table(title="make bench", title_justify="left")
    for heading in ("what", "value", "unit", "against plain"):
        table.add_column(heading, justify="left" if heading in ("what", "unit") else "right")
    for line in rows:
        against = f"{line['faster']:.1f}×" if "faster" in line else ""
        if "ours/this" in line:
            against = f"ours {line['ours/this']:.2f}× this"
        table.add_row(line["name"], f"{line['value']:,.2f}", line["unit"], against)
    Console().print(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"processor": processor(), "cores": os.cpu_count(), "torch": torch.__version__}
    write_text(path, json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")
    print(f"written: {path}")


def say(what: str) -> None:
    """What is being measured, on stderr: the table alone goes to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


def _in_turn(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    for run in runs.values():  # compiles, warms up
        run()
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _, (name, run) in itertools.product(range(repeats), runs.items()):
        start = time.perf_counter()
        run()
        seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _openvino(
    network: torch.nn.Module, images: torch.Tensor, precision: str
) -> Callable[[], Any] | None:
    try:
        import openvino
    except ImportError:
        say('no OpenVINO row: `pip install -e ".[bench]"` adds it')
        return None
    hints = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    model = openvino.convert_model(network, example_input=images, input=tuple(images.shape))
    config = {"INFERENCE_PRECISION_HINT": hints[precision], "PERFORMANCE_HINT": "THROUGHPUT"}
    config["NUM_STREAMS"] = "1"  # one batch at a time, as the other rows
    compiled = openvino.Core().compile_model(model, "CPU", config)
    array = images.numpy()
    return lambda: compiled(array)


def _disk(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def processor() -> str:
    """What this machine computes with, by name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
