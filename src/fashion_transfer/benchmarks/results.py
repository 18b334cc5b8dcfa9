"""`make results`: every recipe of the table over its seeds, as Markdown, JSON and a figure.

Each run is a `train.py` of its own, in a folder named after recipe and seed. A finished run is not
repeated while nothing has changed that can change its numbers (see `run_keys`). Rows that are not
run again stay as they are, with the commit and the machine that they were measured with.
"""

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.duplicates import duplicate_metrics
from fashion_transfer.benchmarks.machine import (
    BEST,
    METRICS,
    QUIET,
    conditions,
    execute,
    log_progress,
)
from fashion_transfer.benchmarks.readme import update_readme
from fashion_transfer.benchmarks.recipes import (
    RECIPES,
    SLOW,
    Recipe,
    cost_points,
    is_curve_recipe,
    learning_curves,
)
from fashion_transfer.benchmarks.run_keys import run_key
from fashion_transfer.benchmarks.warning_runs import DESCRIPTIONS, measure_warnings
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.licences import weights_licence
from fashion_transfer.features.weights import load_weights
from fashion_transfer.files import write_text
from fashion_transfer.paths import quoted, user_path
from fashion_transfer.reporting import (
    curves_figure,
    print_results,
    results_figure,
    results_markdown,
    save_figure,
)

REPORTED = ("test/accuracy", "test/macro_accuracy", "test/ece", "val/accuracy")
"""Metrics of a row, beside the accuracy of every class."""

PER_CLASS = "test/accuracy/"

CHOSEN = "chosen/"
"""Beginning of the names of hyperparameters that a baseline has chosen on the validation images."""


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, then writes tables and figures (see `write`)."""
    parser = argparse.ArgumentParser(prog="make results ARGS=…", description=__doc__)
    parser.add_argument(
        "--weights", type=expanduser, default="IMAGENET1K_V1", help="of ResNet50, name or path"
    )
    parser.add_argument("--slow", action="store_true", help="the slow rows, too")
    parser.add_argument("--only", nargs="+", metavar="RECIPE", choices=[*RECIPES, *SLOW])
    parser.add_argument("--data", default="data", help="folder of the Fashion-MNIST files")
    parser.add_argument("--runs", type=user_path, default=Path("logs") / "results")
    parser.add_argument("--output", type=user_path, default=Path("results"))
    parser.add_argument(
        "--readme", type=user_path, help="a file whose tables are to be written anew"
    )
    chosen = parser.parse_args(arguments)
    recipes = RECIPES | SLOW
    names = chosen.only or [*RECIPES, *(SLOW if chosen.slow else ())]
    try:
        weights = load_weights("resnet50", chosen.weights)
        jobs = [(name, seed) for name in names for seed in range(recipes[name].seeds)]
        for number, (name, seed) in enumerate(jobs):
            log_progress(f"{number + 1} of {len(jobs)}: {name}, seed {seed}")
            folder = chosen.runs / name / str(seed)
            run(recipes[name], folder, seed, chosen.weights, weights.sha256, chosen.data)
        earlier = read_results(chosen.output)
        rows, measured = [], set()
        for name, recipe in recipes.items():
            if is_current(recipe, chosen.runs / name, weights.sha256):
                key = run_key(recipe, weights.sha256)
                rows.append(summarise(name, recipe, chosen.runs / name, key))
                measured.add(name)
            elif name in earlier["rows"]:  # with the commit and machine it was measured with
                rows.append(earlier["rows"][name])
        about = conditions() | {
            "weights": {
                "name": weights.name,
                "sha256": weights.sha256,
                "licence": weights_licence(weights.name, weights.sha256),
            }
        }
        about = earlier["metrics"] | about | _default_metrics(chosen.runs, chosen.data, measured)
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    write(rows, about, chosen.output)
    if chosen.readme:
        update_readme(chosen.readme, {"about": about, "rows": rows})
        print(f"updated: {chosen.readme}")


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns `rows` by name and the `metrics` of the default of a `results.json`, if it is there.

    Args:
        folder: of the file.
    """
    path = folder / "results.json"
    results = json.loads(path.read_text()) if path.is_file() else {"rows": [], "about": {}}
    names = ("near_duplicates", "warnings", "descriptions", "ood")
    return {
        "rows": {row["name"]: row for row in results["rows"]},
        "metrics": {name: results["about"][name] for name in names if name in results["about"]},
    }


def run(
    recipe: Recipe, folder: Path, seed: int, weights: str, weights_sha256: str, data: str
) -> None:
    """Runs `train.py`, or a baseline, unless a run of the same key has finished.

    Args:
        recipe: what to train.
        folder: of the run; its output goes to `output.txt` there.
        seed: of the run.
        weights: of ResNet50, name or path.
        weights_sha256: of their file.
        data: folder of the data set.

    Raises:
        FashionTransferError: the run failed.
    """
    key = run_key(recipe, weights_sha256)
    if _stamp(folder).get("key") == key:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, *recipe.program, *recipe.overrides, f"seed={seed}"]
    if recipe.resnet:
        command.append(f"model.backbone.weights={quoted(weights)}")
    command.append(f"paths.data={quoted(data)}")
    if recipe.baseline:
        command += ["--folder", str(folder.resolve())]
    else:
        command += [f"hydra.run.dir={quoted(folder.resolve())}", *QUIET]
    seconds = execute(command, folder / "output.txt")
    stamp = {"key": key, "seconds": round(seconds, 1)} | conditions()
    write_text(folder / "stamp.json", json.dumps(stamp))


def is_current(recipe: Recipe, folder: Path, weights_sha256: str) -> bool:
    """Whether every seed of a recipe has a finished run that this source would repeat exactly."""
    key = run_key(recipe, weights_sha256)
    return all(_stamp(folder / str(seed)).get("key") == key for seed in range(recipe.seeds))


def summarise(name: str, recipe: Recipe, folder: Path, key: str) -> dict[str, Any]:
    """Returns a row of the table: each metric's mean, standard deviation and runs, and seconds."""
    runs = [folder / str(seed) for seed in range(recipe.seeds)]
    metrics = [json.loads((run / METRICS).read_text()) for run in runs]
    stamps = [_stamp(run) for run in runs]
    first = metrics[0]
    row: dict[str, Any] = {
        "name": name,
        "title": recipe.title,
        "seeds": recipe.seeds,
        "command": " ".join(("python", *recipe.program, *recipe.overrides)),
        "key": key,
    }
    if weights := first.get("weights/name"):  # a baseline of pixels has none
        row["weights"] = weights
        row["weights/licence"] = weights_licence(weights, first.get("weights/sha256", ""))
    if recipe.baseline:
        row["deterministic"] = recipe.seeds == 1
        row["chosen"] = [
            {n.removeprefix(CHOSEN): value for n, value in m.items() if n.startswith(CHOSEN)}
            for m in metrics
        ]
    row |= {name: stamps[0][name] for name in ("commit", "date", "machine", "torch")}
    for metric in [*REPORTED, *(name for name in first if name.startswith(PER_CLASS))]:
        values = [of_seed[metric] for of_seed in metrics if metric in of_seed]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            row[metric] = {"mean": statistics.mean(values), "spread": spread, "runs": values}
    row["seconds/features"] = max(m["seconds/features"] for m in metrics)
    row["seconds/fit"] = statistics.median(m["seconds/fit"] for m in metrics)
    row["seconds"] = [stamp["seconds"] for stamp in stamps]
    return row


def write(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], folder: Path) -> None:
    """Prints the table and writes the files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [row for row in rows if not is_curve_recipe(row["name"])]
    curves = learning_curves(rows)
    write_text(folder / "results.md", results_markdown(listed, about, curves))
    results = json.dumps({"about": about, "rows": rows}, indent=2)
    write_text(folder / "results.json", results + "\n")
    others = ("cost_", "few_")  # they have a panel and a figure of their own
    compared = [row for row in listed if not row["name"].startswith(others)]
    save_figure(results_figure(compared, cost_points(rows)), folder / "results.png")
    save_figure(curves_figure(curves), folder / "images_per_class.png")
    print_results(rows)
    print(f"written: {folder}/results.md, results.json, results.png and images_per_class.png")


def _default_metrics(runs: Path, data: str, present: set[str]) -> dict[str, Any]:
    """What is measured on the default's runs beside their own metrics."""
    metrics: dict[str, Any] = {}
    if "default" not in present:
        return metrics
    seeds = RECIPES["default"].seeds
    checkpoints = [runs / "default" / str(seed) / BEST for seed in range(seeds)]
    if checkpoints[0].is_file():
        metrics["near_duplicates"] = duplicate_metrics(checkpoints, data)
    if "plain" in present:
        metrics |= measure_warnings(runs, data, seeds, best="best" in present)
        metrics["descriptions"] = DESCRIPTIONS
    return metrics


def _stamp(folder: Path) -> dict[str, Any]:
    path = folder / "stamp.json"
    stamp: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return stamp


if __name__ == "__main__":
    main()
