"""Training on lists of photos, and k-fold cross-validation, which chooses a recipe.

Its folds are of the training photos alone: no photo of validation or test is read.
"""

import hashlib
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks.machine import METRICS, QUIET, execute, log_progress
from fashion_transfer.data import Split
from fashion_transfer.data.folder_listing import Listing, list_photos
from fashion_transfer.data.photo_index import index_photos
from fashion_transfer.data.photo_splits import readable_photos, split_photos
from fashion_transfer.data.photos import Photos
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.files import write_csv
from fashion_transfer.paths import quoted

NAMES = ("accuracy", "macro_accuracy", "loss")
"""The metrics of a fold, `val/NAME` in its run."""


def cross_validate(
    folder: str, runs: Path, overrides: Sequence[str], seeds: int, folds: int
) -> dict[str, Any]:
    """Returns `folds`, `seeds`, `photos` (their number), and `metrics` by name.

    A metric is the mean over the folds, weighted by their photos, at the last epoch: no fold
    chooses a checkpoint. It has the `mean` and the `spread` (standard deviation) over seeds; the
    accuracy has a binomial `standard_error`, too, of that many photos.

    Args:
        folder: of the photos, or the CSV file that lists them.
        runs: where the runs go; the lists of the folds go beside it, for all recipes to share.
        overrides: of `train.py`, `data` among them.
        seeds: their number.
        folds: k, from 2; a photo is in the fold `content key modulo k`.

    Raises:
        FashionTransferError: a run failed, or there are too few photos for that many folds.
    """
    if folds < 2:
        raise ArgumentError("folds", f"must be from 2, got {folds}")
    class_names, train = training_photos(Path(folder))
    sizes = np.bincount(train.rows % folds, minlength=folds)
    if not sizes.all():
        raise FashionTransferError(
            f"{folder} has {len(train)} training photos, too few for {folds} folds: ask for fewer"
        )
    # The index of photos goes by the path of the list: equal lists are at one path.
    content = hashlib.sha256(train.rows.tobytes()).hexdigest()[:12]
    lists = [runs.parent / f"folds_{content}" / f"{fold}_of_{folds}.csv" for fold in range(folds)]
    for fold, path in enumerate(lists):
        splits = np.where(train.rows % folds == fold, "validation", "train")
        write_list(path, photo_rows(train, class_names, splits))
    of_seeds = []
    for seed in range(seeds):
        of_folds = []
        for fold, path in enumerate(lists):
            log_progress(f"seed {seed}, fold {fold}")
            run = runs / f"seed{seed}_fold{fold}of{folds}"
            train_on_list(path, run, [*overrides, "monitor.metric=null"], seed)
            of_folds.append(json.loads((run / METRICS).read_text("utf-8")))
        of_seeds.append(of_folds)
    metrics = summarise_folds(of_seeds, sizes.tolist())
    return {"folds": folds, "seeds": seeds, "photos": len(train), "metrics": metrics}


def summarise_folds(
    of_seeds: Sequence[Sequence[Mapping[str, float]]], sizes: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Returns `mean` and `spread` of each metric, see `cross_validate`.

    Args:
        of_seeds: for each seed the `val/…` metrics of each fold.
        sizes: photos of each fold.
    """
    summary = {}
    for name in NAMES:
        values = [
            float(np.average([of_fold[f"val/{name}"] for of_fold in of_folds], weights=sizes))
            for of_folds in of_seeds
        ]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        summary[name] = {"mean": statistics.mean(values), "spread": spread}
    accuracy = summary["accuracy"]["mean"]
    summary["accuracy"]["standard_error"] = math.sqrt(accuracy * (1 - accuracy) / sum(sizes))
    return summary


def training_photos(source: Path) -> tuple[tuple[str, ...], Split]:
    """Returns the class names and the training photos of a folder or a CSV file.

    The others are not opened, unless content decides which those are.

    Raises:
        FashionTransferError: the photos are not there, or not as described.
    """
    class_names, photos = list_photos(source)
    photos = [photo for photo in photos if photo.split in ("train", None)]
    # An index of its own, or it would replace that of all photos.
    entries = index_photos([photo.path for photo in photos], source / "train")
    readable = readable_photos(photos, entries)
    return class_names, split_photos(Listing(class_names, readable), entries)["train"]


def photo_rows(
    split: Split, class_names: Sequence[str], splits: Iterable[str]
) -> list[tuple[str, str, str]]:
    """Returns path, label and name of the split for each photo.

    Args:
        split: of photos.
        class_names: by label.
        splits: names of the splits, one for each photo.
    """
    photos = split.images
    assert isinstance(photos, Photos)
    return [
        (str(photos.path(key).resolve()), class_names[label], str(name))
        for key, label, name in zip(split.rows, split.labels, splits, strict=True)
    ]


def write_list(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Writes a CSV file that is a data set: path, label and split of each photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, ("path", "label", "split"), rows)


def train_on_list(listed: Path, run: Path, overrides: Sequence[str], seed: int) -> None:
    """Trains on the photos of a CSV file, in a process of its own; tests nothing.

    Args:
        listed: the file.
        run: its run folder.
        overrides: of `train.py`, `data` among them.
        seed: of the run.

    Raises:
        FashionTransferError: the run failed.
    """
    run.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "train.py", *overrides, f"data.dir={quoted(listed.resolve())}"]
    command += [f"seed={seed}", "test=false", "logger=none", *QUIET]
    command += [f"hydra.run.dir={quoted(run.resolve())}"]
    execute(command, run / "output.txt")


def print_folds(name: str, row: Mapping[str, Any]) -> None:
    """Prints what `cross_validate` returns, as one row of a table."""
    metrics = row["metrics"]
    accuracy = metrics["accuracy"]
    cells = {
        "recipe": name,
        "photos": str(row["photos"]),
        "folds": str(row["folds"]),
        "accuracy": f"{accuracy['mean']:.4f}",
        "± seeds": f"{accuracy['spread']:.4f}",
        "± photos": f"{accuracy['standard_error']:.4f}",
        "macro": f"{metrics['macro_accuracy']['mean']:.4f}",
        "loss": f"{metrics['loss']['mean']:.4f}",
    }
    table = Table()
    # Numbers are never cut: the recipe's name gives way.
    table.add_column("recipe", overflow="fold")
    for heading in list(cells)[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_row(*cells.values())
    Console().print(table)
