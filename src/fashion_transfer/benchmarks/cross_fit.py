"""`make photos`: how good a classifier of photos is, on validation photos, cross-fitted.

A data set of photos may have no test split to look at. So its validation photos are halved by
content: one half chooses the checkpoint and calibrates, the other is measured, then the reverse.
Every photo is measured once per seed, by a classifier that neither trained nor calibrated on it.
With `--folds 5` it is 5-fold cross-validation on the training photos instead, to choose a recipe.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks.bootstrap import Values, bootstrap
from fashion_transfer.benchmarks.cross_validate import (
    cross_validate,
    photo_rows,
    print_folds,
    train_on_list,
    write_list,
)
from fashion_transfer.benchmarks.machine import BEST, conditions, log_progress
from fashion_transfer.confidence import metrics
from fashion_transfer.confidence.decision import MULTI_ITEM as MULTI_ITEM_REASON
from fashion_transfer.data import ImageFolderDataModule
from fashion_transfer.data.preparation import PhotoPreparation
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.evaluation import Evaluated, evaluate_set, evaluation_sets
from fashion_transfer.evaluation.sets import CONTROL, MULTI_ITEM, OOD, TEST
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.files import write_text
from fashion_transfer.models import load_classifier
from fashion_transfer.paths import quoted, user_path
from fashion_transfer.synthetic.families import FAMILIES

HALVES = (0, 1)
"""Values of the last bit of a photo's content key."""


def main(arguments: list[str] | None = None) -> None:
    """Trains for every seed and half, or fold; measures, and writes a row of `photos.json`."""
    parser = argparse.ArgumentParser(prog="make photos ARGS=…", description=__doc__)
    parser.add_argument("--dir", default="data/clothing", help="folder of the photos")
    parser.add_argument("--data", choices=("clothing", "folder"), default="clothing")
    parser.add_argument(
        "--weights", type=expanduser, help="of the backbone, name or path; left out: the recipe's"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folds", type=int, help="of a cross-validation on the training photos")
    parser.add_argument("--name", help="of the row in the file; left out: from data and folds")
    parser.add_argument(
        "--override", nargs="*", action="extend", default=[], help="further ones of train.py"
    )
    parser.add_argument("--images-per-set", type=int, default=100)
    parser.add_argument("--runs", type=user_path, default=Path("logs") / "photos")
    parser.add_argument("--output", type=user_path, default=Path("results") / "photos.json")
    chosen = parser.parse_args(arguments)
    folds, seeds = chosen.folds, chosen.seeds
    name = chosen.name or (chosen.data if folds is None else f"{chosen.data}_{folds}_folds")
    weights = [f"model.backbone.weights={quoted(chosen.weights)}"] if chosen.weights else []
    overrides = [f"data={chosen.data}", *weights, *chosen.override]
    row: dict[str, Any]
    try:
        if seeds < 1:
            raise ArgumentError("seeds", f"must be from 1, got {seeds}")
        if folds is not None:
            row = cross_validate(chosen.dir, chosen.runs / name, overrides, seeds, folds)
            print_folds(name, row)
        else:
            sizes = chosen.images_per_set
            measured = measure(chosen.dir, chosen.runs / name, overrides, seeds, sizes)
            print_row(measured)
            row = {"seeds": seeds, "metrics": measured}
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    write_row(name, row | {"overrides": chosen.override} | conditions(), chosen.output)


def measure(
    folder: str, runs: Path, overrides: Sequence[str], seeds: int, images_per_set: int
) -> dict[str, dict[str, float]]:
    """Returns each metric with its mean over seeds and its 95 % interval over the photos.

    Args:
        folder: of the photos, with training and validation photos.
        runs: where the runs go.
        overrides: of `train.py`, `data` among them.
        seeds: their number.
        images_per_set: size of each synthetic set, per half.

    Raises:
        FashionTransferError: a run failed, or there are too few validation photos.
    """
    datamodule = ImageFolderDataModule(folder)
    lists = [write_half(datamodule, half, runs / f"half{half}.csv") for half in HALVES]
    of_seeds = []
    for seed in range(seeds):
        halves = []
        for half, listed in zip(HALVES, lists, strict=True):
            log_progress(f"seed {seed}, half {half}")
            run = runs / f"seed{seed}_half{half}"
            train_on_list(listed, run, overrides, seed)
            halves.append(evaluate_half(run / BEST, listed, images_per_set))
        # A layout that one half has too few photos for is left out of the other, too.
        names = [name for name in halves[0] if name in halves[1]]
        of_seeds.append({name: merge([half[name] for half in halves]) for name in names})
    return summarise(of_seeds)


def write_half(datamodule: ImageFolderDataModule, half: int, path: Path) -> Path:
    """Writes the list of training photos, and of validation photos as validation and test.

    Args:
        datamodule: of the photos.
        half: whose photos are to be measured; the others calibrate.
        path: of the CSV file to write, which is returned.

    Raises:
        FashionTransferError: there are too few validation photos to halve.
    """
    train, val = datamodule.load_split("train"), datamodule.load_split("val")
    measured = np.empty(0, bool) if val is None else (val.rows & 1) == half
    if train is None or val is None or measured.all() or not measured.any():
        raise FashionTransferError(
            f"{datamodule.dir} has {len(measured) or 'no'} validation photos, too few to halve: "
            "add some"
        )
    names = np.where(measured, "test", "validation")
    rows = photo_rows(train, datamodule.class_names, ["train"] * len(train))
    write_list(path, [*rows, *photo_rows(val, datamodule.class_names, names)])
    return path


def evaluate_half(checkpoint: Path, listed: Path, images_per_set: int) -> dict[str, Values]:
    """Returns what was measured of each image of every evaluation set, by name of the set."""
    classifier = load_classifier(checkpoint, compile="auto")
    store = FeatureStore()
    datamodule = ImageFolderDataModule(str(listed), image_size=classifier.image_size)
    datamodule.extractor = Extractor(classifier.backbone, store)
    datamodule.setup("test")
    sets = evaluation_sets(datamodule, images_per_set)
    return {
        name: _values(evaluate_set(classifier, datamodule.dataloader(dataset)))
        for name, dataset in sets.items()
    }


def _values(evaluated: Evaluated) -> Values:
    # Not `metrics.confidence_and_correct`: the label of a collage is no class.
    confidence, predicted = evaluated.probabilities.max(dim=1)
    return {
        "confidence": confidence.numpy(),
        "correct": (predicted == evaluated.labels).numpy(),
        "warned": np.array([p.warning for p in evaluated.predictions]),
        "reason": np.array([p.reason == MULTI_ITEM_REASON for p in evaluated.predictions]),
    }


def merge(parts: Sequence[Values]) -> Values:
    """Both halves as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def summarise(of_seeds: Sequence[Mapping[str, Values]]) -> dict[str, dict[str, float]]:
    """Returns `mean`, `low` and `high` of each metric that has a value in every seed.

    Args:
        of_seeds: for each seed, by name of the evaluation set, what was measured of its images.
    """
    return bootstrap(of_seeds, _metrics)


def _metrics(sampled: Mapping[str, Values]) -> dict[str, float]:
    """Metrics of one seed on a resample of the images of each set."""
    test = sampled[TEST]
    accepted = ~test["warned"]
    confidence, correct = (torch.from_numpy(test[name]) for name in ("confidence", "correct"))
    warned = {name: float(of_set["warned"].mean()) for name, of_set in sampled.items()}
    measured = {
        "accuracy": float(test["correct"].mean()),
        "not_warned": float(accepted.mean()),
        "selective_accuracy": metrics.selective_accuracy(correct, torch.from_numpy(accepted)),
        "ece": metrics.calibration_error(confidence, correct),
    }
    family = FAMILIES[PhotoPreparation.name]
    layouts = {"trained": family.trained, "held_out": family.held_out}
    for prefix in (MULTI_ITEM, CONTROL):
        for group, names in layouts.items():
            rates = [warned[f"{prefix}/{n}"] for n in names if f"{prefix}/{n}" in warned]
            if rates:
                measured[f"{prefix}/{group}/warned"] = float(np.mean(rates))
    for prefix in (MULTI_ITEM, CONTROL, OOD):
        of_prefix = [name for name in sampled if name.startswith(f"{prefix}/")]
        if of_prefix:
            measured[f"{prefix}/warned"] = float(np.mean([warned[name] for name in of_prefix]))
    if f"{CONTROL}/warned" in measured:
        measured["control/warned_over_single"] = measured["control/warned"] - warned[TEST]
        reasons = [s["reason"].mean() for n, s in sampled.items() if n.startswith(f"{MULTI_ITEM}/")]
        measured["multi_item/reason_multi_item"] = float(np.mean(reasons))
    return measured


def print_row(row: Mapping[str, Mapping[str, float]]) -> None:
    """Prints every metric with its interval."""
    table = Table()
    for heading in ("metric", "mean", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "metric" else "right")
    for name, value in row.items():
        interval = f"{value['low']:.3f} to {value['high']:.3f}"
        table.add_row(name, f"{value['mean']:.4f}", interval)
    Console().print(table)


def write_row(name: str, row: Mapping[str, Any], path: Path) -> None:
    """Writes a row into a JSON file; other rows of the file stay in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    write_text(path, json.dumps(rows | {name: row}, indent=2) + "\n")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
