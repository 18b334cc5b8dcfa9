"""How good warnings are: `evaluate.py` on every seed of a recipe, beside the reference."""

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.machine import (
    BEST,
    METRICS,
    conditions,
    execute,
    log_progress,
)
from fashion_transfer.benchmarks.run_keys import evaluation_key
from fashion_transfer.data.mnist import download_mnist, mnist_split
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.paths import quoted
from fashion_transfer.reporting.ood import is_in_ood_table

DESCRIPTIONS = {
    "multi_item/trained/warned": "several items, layouts trained on: warned",
    "multi_item/held_out/warned": "several items, layouts never trained on: warned",
    "multi_item/reason_multi_item": "several items: warned with this reason",
    "multi_item/worn_held_out/warned": "worn outfits, layouts never trained on: warned",
    "multi_item/worn_held_out/reason_multi_item": "worn outfits, the same: with this reason",
    "multi_item/auroc": "AUROC, several items against controls",
    "control/warned": "controls (one item, placed as in a composite): warned",
    "control/warned_over_single": "controls warned, over single test images",
    "test/warned": "single test images: warned",
    "test/selective_accuracy": "single test images: accuracy of those not warned",
    "test/ece": "single test images: expected calibration error",
    "test/ece_uncalibrated": "single test images: the same before calibration",
    "test/augrc": "single test images: AUGRC",
    "test/coverage_at_1_percent_risk": "single test images: coverage at 1 % risk",
    "test/coverage_at_3_percent_risk": "single test images: coverage at 3 % risk",
    "out_of_distribution/warned": "out-of-distribution images: warned",
}
"""The metrics of `evaluate.py` in the table of warnings, with what people read for them."""

EVALUATION = Path("evaluate")
"""Folder of the evaluation in that of the run."""


def measure_warnings(runs: Path, data: str, seeds: int, best: bool = False) -> dict[str, Any]:
    """Evaluates the default on every seed, with that seed's plain run as the reference rule.

    An evaluation is not repeated while its checkpoints, configuration and source are the same. The
    MNIST digits are downloaded where that is possible, and are left out otherwise.

    Args:
        runs: folder of the recipes' runs, `default` and `plain` among them.
        data: folder of the data set.
        seeds: their number.
        best: evaluate the runs of the recipe `best`, too.

    Returns:
        `warnings`, by name of the metric: `mean` over seeds, `runs`, `best` with that recipe's
        mean, and `reference` where there is one; and `ood`, the means of the metrics in the table
        of `reporting.ood`.

    Raises:
        FashionTransferError: an evaluation failed.
    """
    try:
        download_mnist(Path(data) / "mnist")
    except FashionTransferError as error:
        log_progress(f"without MNIST: {error}")
    metrics = [_evaluate(runs, "default", data, seed) for seed in range(seeds)]
    of_best = [_evaluate(runs, "best", data, seed) for seed in range(seeds) if best]
    rows: dict[str, Any] = {}
    for name in DESCRIPTIONS:
        values = [of_seed[name] for of_seed in metrics]
        rows[name] = {"mean": statistics.mean(values), "runs": values}
        if best:
            rows[name]["best"] = statistics.mean(of_seed[name] for of_seed in of_best)
        reference = f"reference/{name}"
        if all(reference in of_seed for of_seed in metrics):
            rows[name]["reference"] = statistics.mean(of_seed[reference] for of_seed in metrics)
    common = [n for n in metrics[0] if is_in_ood_table(n) and all(n in m for m in metrics)]
    ood = {name: statistics.mean(of_seed[name] for of_seed in metrics) for name in common}
    return {"warnings": rows, "ood": ood}


def _evaluate(runs: Path, recipe: str, data: str, seed: int) -> dict[str, Any]:
    run = runs / recipe / str(seed)
    folder = run / EVALUATION
    checkpoints = {"ckpt_path": run / BEST}
    if recipe == "default":  # the reference rule takes the same features
        checkpoints["reference"] = runs / "plain" / str(seed) / BEST
    stamp = folder / "stamp.json"
    key = evaluation_key(tuple(checkpoints.values()), _mnist(data))
    if not (stamp.is_file() and json.loads(stamp.read_text())["key"] == key):
        log_progress(f"evaluate.py: {recipe}, seed {seed}")
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "evaluate.py", f"paths.data={quoted(data)}"]
        command += [f"{name}={quoted(path)}" for name, path in checkpoints.items()]
        command += [f"hydra.run.dir={quoted(folder.resolve())}"]
        execute(command, run / "evaluate.txt")
        write_text(stamp, json.dumps({"key": key} | conditions()))
    metrics: dict[str, Any] = json.loads((folder / METRICS).read_text())
    return metrics


def _mnist(data: str) -> str:
    """Fingerprint of the MNIST digits; empty where they are not there."""
    digits = mnist_split(Path(data) / "mnist")
    return "" if digits is None else str(digits.fingerprint)
