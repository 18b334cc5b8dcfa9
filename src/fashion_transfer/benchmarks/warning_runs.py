"""How good the warnings of the default are: `evaluate.py` on every seed, beside the reference."""

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
    quoted,
)
from fashion_transfer.benchmarks.run_keys import evaluation_key
from fashion_transfer.files import write_text

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
    "out_of_distribution/warned": "out-of-distribution images: warned",
}
"""The metrics of `evaluate.py` that are reported, with what people read for them."""

EVALUATION = Path("evaluate")
"""Folder of the evaluation in that of the run."""


def measure_warnings(runs: Path, data: str, seeds: int) -> dict[str, Any]:
    """Evaluates the default on every seed, with that seed's plain run as the reference rule.

    An evaluation is not repeated while its checkpoints, configuration and source are the same.

    Args:
        runs: folder of the recipes' runs, `default` and `plain` among them.
        data: folder of the data set.
        seeds: their number.

    Returns:
        By name of the metric: `mean` over seeds, `runs`, and `reference` where there is one.

    Raises:
        FashionTransferError: an evaluation failed.
    """
    metrics = [_evaluate(runs, data, seed) for seed in range(seeds)]
    rows: dict[str, Any] = {}
    for name in DESCRIPTIONS:
        values = [of_seed[name] for of_seed in metrics]
        rows[name] = {"mean": statistics.mean(values), "runs": values}
        reference = f"reference/{name}"
        if all(reference in of_seed for of_seed in metrics):
            rows[name]["reference"] = statistics.mean(of_seed[reference] for of_seed in metrics)
    return rows


def _evaluate(runs: Path, data: str, seed: int) -> dict[str, Any]:
    run, plain = (runs / name / str(seed) for name in ("default", "plain"))
    folder = run / EVALUATION
    stamp, key = folder / "stamp.json", evaluation_key((run / BEST, plain / BEST))
    if not (stamp.is_file() and json.loads(stamp.read_text())["key"] == key):
        log_progress(f"evaluate.py: default, seed {seed}")
        shutil.rmtree(folder, ignore_errors=True)
        command = [sys.executable, "evaluate.py", f"ckpt_path={quoted(run / BEST)}"]
        command += [f"reference={quoted(plain / BEST)}", f"paths.data={quoted(data)}"]
        command += [f"hydra.run.dir={quoted(folder.resolve())}"]
        execute(command, run / "evaluate.txt")
        write_text(stamp, json.dumps({"key": key} | conditions()))
    metrics: dict[str, Any] = json.loads((folder / METRICS).read_text())
    return metrics
