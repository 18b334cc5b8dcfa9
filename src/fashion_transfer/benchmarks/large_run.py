"""Memory and disk of a large run: `python -m fashion_transfer.benchmarks.large_run --dir FOLDER`.

All 5,900 images per class of Fashion-MNIST under ten views at 64 px are 590,000 features. Their
rows are drawn here, and written as the extractor writes them: only the size of the store matters.
Then `train.py` takes a few hundred steps with one process and with two, while the anonymous memory
of all its processes is watched.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks.ddp_job import TRAINERS
from fashion_transfer.benchmarks.machine import QUIET, log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore, FeatureTable
from fashion_transfer.files import write_text
from fashion_transfer.paths import user_path
from fashion_transfer.progress import progress_bar

ROOT = Path(__file__).resolve().parents[3]
LARGE = ("experiment=fast", "data.images_per_class=all", "data.views=10")
STEPS = 300
MAX_MEMORY = 4 * 2**30
MAX_DISK = 8e9
BLOCK = 1024


class GeneratedExtractor(Extractor):
    """Writes rows of random numbers where the backbone's features are missing."""

    def _fill(
        self, table: FeatureTable, rows: np.ndarray, inputs: Any, image_size: int, title: str
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        with progress_bar(title, len(rows)) as progress:
            for block in np.split(rows, range(BLOCK, len(rows), BLOCK)):
                widths = self._stored(table).items()
                features = {
                    node: torch.rand(len(block), width, generator=generator)
                    for node, width in widths
                }
                table.write(block, features)
                progress.advance(len(block))


def fill(cfg: DictConfig) -> tuple[int, float]:
    """Fills the store of a configuration; returns the bytes on disk, and the seconds it took."""
    start = time.perf_counter()
    datamodule = instantiate(cfg.data)
    store = FeatureStore(cfg.paths.cache)
    datamodule.extractor = GeneratedExtractor(
        instantiate(cfg.model.backbone, _convert_="all"), store
    )
    datamodule.prepare_data()
    datamodule.setup()
    return sum(size for _, _, size in store.entries()), time.perf_counter() - start


def anonymous_memory(root: int) -> int:
    """Returns the anonymous memory of a process and all its descendants, bytes."""
    parents: dict[int, int] = {}
    memory: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "status").read_text().splitlines()
        except OSError:  # it has ended
            continue
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        parents[int(folder.name)] = int(fields["PPid"])
        memory[int(folder.name)] = int(fields.get("RssAnon", "0 kB").split()[0]) * 1024
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(memory.get(pid, 0) for pid in family)


def train(folder: Path, processes: int, overrides: list[str]) -> dict[str, float]:
    """Takes `STEPS` steps; returns peak anonymous memory, and seconds.

    Args:
        folder: of the run; it must be new.
        processes: a key of `TRAINERS`.
        overrides: of the run.

    Raises:
        FashionTransferError: the run failed.
    """
    command = [sys.executable, "train.py", *TRAINERS[processes], *QUIET, "callbacks.progress=null"]
    command += [*overrides, f"hydra.run.dir={folder}", "logger=none", "callbacks.rate=null"]
    command += ["trainer.max_epochs=1", f"++trainer.limit_train_batches={STEPS}"]
    log_progress(" ".join(command[1:]))
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous_memory(process.pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - start
    if process.returncode:
        raise FashionTransferError(f"{' '.join(command)} failed")
    metrics = json.loads((folder / "metrics.json").read_bytes())
    parts = {name: metrics[f"seconds/{name}"] for name in ("features", "fit")}
    return {"memory": peak, "seconds": seconds} | parts


def main(arguments: list[str] | None = None) -> None:
    """Fills a store, trains on it, prints a table and writes `large_run.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=user_path, required=True, help="folder for store and runs")
    parser.add_argument("--keep", action="store_true", help="leave the store where it is")
    parser.add_argument("overrides", nargs="*", help="of every run")
    chosen = parser.parse_args(arguments)
    scratch = chosen.dir.resolve()
    scratch.mkdir(parents=True, exist_ok=True)
    overrides = [*LARGE, *chosen.overrides, f"paths.cache={scratch / 'cache'}"]
    os.environ.setdefault("FASHION_TRANSFER_RUN", "large_run")
    try:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("train", overrides, return_hydra_config=False)
        stored, seconds = fill(cfg)
        values: dict[str, Any] = {"disk": stored, "fill": seconds}
        for processes in TRAINERS:
            values[str(processes)] = train(scratch / f"run-{processes}", processes, overrides)
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    finally:
        if not chosen.keep:
            shutil.rmtree(scratch / "cache", ignore_errors=True)
    table = Table("590,000 features at 64 px", "value", "at most")
    table.add_row("features on disk", f"{stored / 1e9:.2f} GB", f"{MAX_DISK / 1e9:.0f} GB")
    for processes in TRAINERS:
        used = values[str(processes)]
        title = f"{processes} process{'es' if processes > 1 else ''}"
        limit = f"{MAX_MEMORY / 2**30:.0f} GiB"
        table.add_row(f"{title}: anonymous memory", f"{used['memory'] / 2**30:.2f} GiB", limit)
        table.add_row(f"{title}: all features looked through", f"{used['features']:.1f} s", "")
        table.add_row(f"{title}: {STEPS} steps and a validation", f"{used['fit']:.1f} s", "")
    write_text(scratch / "large_run.json", json.dumps(values, indent=2) + "\n")
    Console().print(table)


if __name__ == "__main__":
    main()
