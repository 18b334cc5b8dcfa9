"""Whole commands, timed from the start of the process to its end."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.machine import METRICS, QUIET, log_progress
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.openvino_engine import import_nncf, import_openvino

PASSES_OF_PLAIN_LOOP = 70_000
"""10 epochs of 5,000 training and 1,000 validation images, and 10,000 test images."""

SWEEP = (
    "model.optimizer.lr=0.0001,0.0003,0.0005,0.001,0.003",
    "model.optimizer.weight_decay=1,3",
    "model.label_smoothing=0,0.1",
)
EAGER = ("model.backbone.precision=float32", "model.backbone.compile=false")
GROWTH = (100, 500, 2000, 5900)
WARM_RUNS = 3

# A process counts as its own peak the memory that its parent had when it was started, and this
# one has gigabytes: so a small one starts the command, and prints last what that used.
WATCH = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
if status:
    sys.exit(status)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
"""


class JobTimer:
    """Times `train.py` on feature stores of its own.

    Args:
        scratch: an empty folder for stores and runs.
        overrides: of every command.
    """

    def __init__(self, scratch: Path, overrides: list[str]) -> None:
        self.scratch = scratch
        self.overrides = overrides

    def default_rows(self, plain_rate: float) -> list[Row]:
        """The default job cold and warm beside the plain loop, its memory and its disk space.

        Args:
            plain_rate: of an eager float32 NCHW pass, images per second.
        """
        plain = PASSES_OF_PLAIN_LOOP / plain_rate
        cold, memory, _ = self.train("default")
        warm = [self.train("default") for _ in range(WARM_RUNS)]
        seconds = statistics.median(second for second, _, _ in warm)
        warm_memory = max(used for _, used, _ in warm)
        stored = _disk_space(self.scratch / "default" / "features") / 2**20
        title = f"plain loop: {PASSES_OF_PLAIN_LOOP:,} eager float32 NCHW passes, scaled"
        return [
            bench_row("plain_loop", title, plain, "s"),
            bench_row("cold", "default job, cold", cold, "s", speedup=plain / cold),
            bench_row("warm", "default job, warm", seconds, "s", speedup=plain / seconds),
            bench_row("memory", "peak memory, cold", memory, "GiB"),
            bench_row("memory_warm", "peak memory, warm", warm_memory, "GiB"),
            bench_row("disk", "features on disk", stored, "MiB"),
        ]

    def sweep_rows(self) -> list[Row]:
        """20 heads by one `-m` command, on the features of the default job."""
        seconds, _, _ = self.train("default", "-m", "test=false", *SWEEP)
        return [bench_row("sweep", "sweep of 20 heads, warm", seconds, "s")]

    def fast_rows(self) -> list[Row]:
        """`experiment=fast` from nothing to test metrics, everything included."""
        seconds, memory, _ = self.train("fast", "experiment=fast")
        return [
            bench_row("fast", "experiment=fast, cold", seconds, "s"),
            bench_row("memory_fast", "peak memory, experiment=fast, cold", memory, "GiB"),
        ]

    def fidelity_rows(self) -> list[Row]:
        """Test accuracy on features of the fast path and of eager float32, a head trained on each.

        At 64 px, where the eager passes take minutes; the path differs in precision, in passes
        and in the numbers stored (float16), as it does at 224 px.
        """
        seeds = ("-m", "experiment=fast", "seed=0,1,2")
        _, _, fast = self.train("fast", *seeds)
        _, _, eager = self.train("fast", *seeds, *EAGER)
        means = [100 * statistics.mean(r["test/accuracy"] for r in runs) for runs in (fast, eager)]
        title = "test accuracy at 64 px, {}, mean of 3 seeds"
        return [
            bench_row("fidelity_fast", title.format("fast path"), means[0], "%"),
            bench_row("fidelity_eager", title.format("eager float32"), means[1], "%"),
        ]

    def int8_rows(self) -> list[Row]:
        """Test accuracy at 64 px of heads on int8 features, and on those of the default precision.

        None without OpenVINO and NNCF.
        """
        try:
            import_openvino(), import_nncf()
        except FashionTransferError:
            log_progress('no row of int8: `pip install -e ".[bench]"` adds it')
            return []
        rows, means = [], {}
        for precision in ("int8", "auto"):
            chosen = f"model.backbone.precision={precision}"
            _, _, runs = self.train("fast", "-m", "experiment=fast", "seed=0,1,2", chosen)
            mean = 100 * statistics.mean(metrics["test/accuracy"] for metrics in runs)
            means[precision] = mean
            title = f"test accuracy at 64 px, precision {precision}, mean of 3 seeds"
            rows.append(bench_row(f"accuracy_{precision}", title, mean, "%"))
        lost = means["auto"] - means["int8"]
        return [*rows, bench_row("int8_lost", "test accuracy lost by int8, 64 px", lost, "points")]

    def growth_rows(self) -> list[Row]:
        """Cold and warm at 64 px for more and more images per class.

        The store grows along, as a user's would: the cold time of a size is the sum of the steps up
        to it, less the warm time that each step before it included as well.
        """
        rows, spent, last_warm = [], 0.0, 0.0
        for size in GROWTH:
            arguments = ["experiment=fast", f"data.images_per_class={size}"]
            grown, _, _ = self.train("growth", *arguments)
            warm, _, _ = self.train("growth", *arguments)
            spent += grown - last_warm
            last_warm = warm
            title = f"64 px, {size} images per class"
            rows += [
                bench_row(f"growth_{size}_cold", f"{title}, cold", spent, "s"),
                bench_row(f"growth_{size}_warm", f"{title}, warm", warm, "s"),
            ]
        return rows

    def train(self, store: str, *arguments: str) -> tuple[float, float, list[dict[str, Any]]]:
        """Runs `train.py` and returns wall seconds, peak resident GiB and every run's metrics.

        Raises:
            FashionTransferError: it failed.
        """
        flags = [argument for argument in arguments if argument == "-m"]  # must come first
        given = [argument for argument in arguments if argument != "-m"]
        command = [sys.executable, "train.py", *flags, *self.overrides, *given]
        command += [f"paths.logs={self.scratch / 'logs'}", *QUIET, "callbacks.progress=null"]
        log_progress(f"train.py {' '.join(arguments) or '(default)'}")
        environment = os.environ | {"FASHION_TRANSFER_CACHE": str(self.scratch / store)}
        with tempfile.TemporaryFile("w+") as output:
            start = time.perf_counter()
            watched = [sys.executable, "-c", WATCH, *command]
            status = subprocess.run(watched, stdout=output, stderr=output, env=environment)
            seconds = time.perf_counter() - start
            output.seek(0)
            last = (output.read().strip().splitlines() or [""])[-1]
            if status.returncode:
                raise FashionTransferError(f"{' '.join(command)} failed: {last}")
        metrics = [json.loads(f.read_text()) for f in self.scratch.glob(f"logs/**/{METRICS}")]
        shutil.rmtree(self.scratch / "logs", ignore_errors=True)
        scale = 2**30 if platform.system() == "Darwin" else 2**20  # macOS counts bytes, Linux KiB
        return seconds, int(last) / scale, metrics


def _disk_space(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
