"""Times `runs.py` on generated runs, beside checkpoints and logs as real ones leave them."""

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from fashion_transfer.runs.folders import write_metrics
from fashion_transfer.runs.record import RunRecord, write_record

ROOT = Path(__file__).resolve().parents[3]

SETTINGS = 150
"""Values of the configuration of a run, about as many as a real one has."""

TARGET = 3.0
"""Seconds that a table of 1,000 runs may take."""

REPEATS = 5


def main() -> None:
    """Prints the seconds that each form of the table takes, the fastest of `REPEATS`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="number of runs; default 1000")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        logs = Path(scratch) / "logs"
        generate(logs, chosen.runs)
        for arguments in ([], ["--seeds"], ["--output", f"{scratch}/runs.html"]):
            seconds = min(_seconds(["--logs", str(logs), *arguments]) for _ in range(REPEATS))
            shown = " ".join(arguments).replace(f"{scratch}/", "")
            print(f"runs.py {shown}: {seconds:.2f} s for {chosen.runs:,} runs (at most {TARGET})")


def generate(logs: Path, runs: int) -> None:
    """Writes the folders of runs: sweeps of 50, over images per class, learning rate and seed.

    Args:
        logs: folder of all runs; it is created.
        runs: their number.
    """
    for number in range(runs):
        sweep, job = divmod(number, 50)
        folder = logs / "train" / "multiruns" / f"2026-01-01_00-00-00_{sweep:08x}" / str(job)
        for name in ("checkpoints", "csv", "tensorboard", ".hydra"):
            (folder / name).mkdir(parents=True)
        for name in ("checkpoints/best.ckpt", "tensorboard/events", "train.log", ".lock"):
            (folder / name).touch()
        overrides = {
            "data.images_per_class": (100, 200, 500, 1000, 2000)[job % 5],
            "model.optimizer.lr": 0.001 * (1 + sweep),
            "seed": job // 5,
        }
        constant = {f"model.group_{n // 10}.key_{n}": n / 7 for n in range(SETTINGS)}
        write_record(_record(folder, number, constant, overrides))
        write_metrics(folder, _metrics(number))


def _record(
    folder: Path, number: int, constant: dict[str, float], overrides: dict[str, float]
) -> RunRecord:
    texts = [f"{key}={value}" for key, value in overrides.items()]
    return RunRecord(
        folder,
        status="finished",
        overrides=texts,
        choices={"data": "fashion_mnist", "debug": None},
        config={"monitor.metric": "val/loss"} | constant | overrides,
        command=" ".join(["python train.py", *texts]),
        commit="0123456789ab",
        started=datetime.fromtimestamp(1.75e9 + number, timezone.utc).isoformat(),
        ended="2026-01-02T00:00:00+00:00",
    )


def _metrics(number: int) -> dict[str, object]:
    names = ["val/loss", "val/accuracy", "test/accuracy", "test/ece", "test/warned", "seconds/fit"]
    names += [f"test/accuracy/class_{label}" for label in range(10)]
    values = {name: (number * (place + 7) % 997) / 997 for place, name in enumerate(names)}
    return values | {"weights/name": "IMAGENET1K_V1", "weights/sha256": "0" * 64}


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    command = [sys.executable, str(ROOT / "runs.py"), *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
