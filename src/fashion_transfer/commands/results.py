"""`make results`: every recipe of the README's table, over seeds, as Markdown, JSON and a figure.

Each run is a `train.py` of its own, in a folder named after recipe and seed; what is finished is
not run again while neither the recipe, the weights nor the source has changed.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from fashion_transfer.commands.bench import processor, say
from fashion_transfer.commands.runs import BEST, METRICS, write_text
from fashion_transfer.data import FashionMNISTDataModule
from fashion_transfer.data.duplicates import SIMILAR, near_duplicates
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore, load_weights
from fashion_transfer.models import load_classifier
from fashion_transfer.reporting import draw_results, print_table, results_markdown


class Recipe(NamedTuple):
    """A row of the table.

    Attributes:
        title: what the reader sees.
        overrides: of `train.py`.
        seeds: how many.
        resnet: whether it takes the weights that the command was given.
    """

    title: str
    overrides: tuple[str, ...] = ()
    seeds: int = 3
    resnet: bool = True


SINGLE = ("data.composites=0", "data.controls=0")
PLAIN = (*SINGLE, "model/head=linear", "model.mixup=0")

RECIPES: dict[str, Recipe] = {
    "default": Recipe("default"),
    "single": Recipe("trained on single items alone", SINGLE),
    "plain": Recipe("the same, linear head, no mixup", PLAIN),
    "linear": Recipe("linear head", ("model/head=linear",)),
    "mlp": Recipe("512-unit head", ("model.head.hidden=512",)),
    "no_mixup": Recipe("no mixup", ("model.mixup=0",)),
    "last_stage": Recipe("last stage only", ("model.backbone.pool=[layer4]",)),
    "with_last": Recipe("last stage, too", ("model.backbone.pool=[layer2@2,layer3@2,layer4]",)),
    "whole_stages": Recipe("stages without a grid", ("model.backbone.pool=[layer2,layer3]",)),
    "finer": Recipe("4 x 4 grids", ("model.backbone.pool=[layer2@4,layer3@4]",)),
    "few_100": Recipe("100 images a class", ("data.images_per_class=100",)),
    "few_50": Recipe("50 images a class", ("data.images_per_class=50",)),
    "few_10": Recipe("10 images a class", ("data.images_per_class=10",)),
    "fast": Recipe("experiment=fast (64 px)", ("experiment=fast",)),
    "offline": Recipe("experiment=offline", ("experiment=offline",), resnet=False),
}
"""Frozen, from the store: minutes."""

SLOW: dict[str, Recipe] = {
    "finetune": Recipe("experiment=finetune (64 px)", ("experiment=finetune",)),
    "full": Recipe("5,900 images a class", ("experiment=full",)),
    "notebook": Recipe("experiment=notebook, the reference", ("experiment=notebook",), seeds=1),
} | {
    f"cost_{size}_{name}_{views}": Recipe(
        f"{size} px, {name}, {views} view{'s' * (views > 1)}",
        (f"data.image_size={size}", f"model.backbone.pool={pool}", f"data.views={views}"),
        seeds=1,
    )
    for size in (32, 64, 112)
    for name, pool in (
        ("last stage", "[layer4]"),
        ("two stages", "[layer2,layer3]"),
        ("grids", "[layer2@2,layer3@2]"),
    )
    for views in (1, 2)
}
"""What takes long, or fills the picture of accuracy over cost."""

SHOWN = ("test/accuracy", "test/macro_accuracy", "test/accuracy/shirt", "test/ece", "val/accuracy")


def main(arguments: list[str] | None = None) -> None:
    """Runs what is missing, then writes `results.md`, `results.json` and `results.png`."""
    parser = argparse.ArgumentParser(prog="make results ARGS=…", description=__doc__)
    parser.add_argument("--weights", default="IMAGENET1K_V1", help="of ResNet50, name or path")
    parser.add_argument("--slow", action="store_true", help="the slow rows, too")
    parser.add_argument("--only", nargs="+", metavar="RECIPE", choices=[*RECIPES, *SLOW])
    parser.add_argument("--data", default="data", help="folder of the Fashion-MNIST files")
    parser.add_argument("--runs", type=Path, default=Path("logs") / "results")
    parser.add_argument("--output", type=Path, default=Path("results"))
    chosen = parser.parse_args(arguments)
    every = RECIPES | SLOW
    names = chosen.only or [*RECIPES, *(SLOW if chosen.slow else ())]
    try:
        sha256 = load_weights("resnet50", chosen.weights).sha256
        jobs = [(name, seed) for name in names for seed in range(every[name].seeds)]
        for done, (name, seed) in enumerate(jobs):
            say(f"{done + 1} of {len(jobs)}: {name}, seed {seed}")
            run(every[name], chosen.runs / name / str(seed), seed, chosen, sha256)
        # Rows of earlier calls stay in the table while they are still of this source.
        rows = [
            summarise(name, recipe, chosen.runs / name)
            for name, recipe in every.items()
            if all(
                finished(recipe, chosen.runs / name / str(seed), sha256)
                for seed in range(recipe.seeds)
            )
        ]
        about = {
            "commit": commit(),
            "weights": {"name": Path(chosen.weights).name, "sha256": sha256},
            "machine": {"processor": processor(), "cores": os.cpu_count()},
            "torch": torch.__version__,
        }
        best = chosen.runs / "default" / "0" / BEST
        there = {row["name"] for row in rows}
        if best.is_file() and "default" in there:
            about["near_duplicates"] = duplicates(chosen.runs / "default", chosen.data)
        if {"default", "plain"} <= there:
            about |= {"warnings": warnings(chosen), "meanings": WARNINGS}
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    write(rows, about, chosen.output)


WARNINGS = {
    "multi/trained/warned": "several items, layouts trained on: warned",
    "multi/held_out/warned": "several items, layouts never trained on: warned",
    "control/warned": "one item lying as it does in those: warned",
    "control/warned_over_single": "the same, over single test images",
    "multi/auroc": "AUROC, several items against one lying so",
    "multi/several_items": "several items: told so",
    "single/warned": "single test images: warned",
    "single/selective_accuracy": "single test images: accuracy of those not warned",
    "single/ece": "single test images: expected calibration error",
    "test/ece_uncalibrated": "the same before calibration",
    "unfamiliar/warned": "unfamiliar images: warned",
}
"""What `evaluate.py` says of the default, by metric; beside it the reference rule's."""


def warnings(chosen: argparse.Namespace) -> dict[str, Any]:
    """`evaluate.py` on every seed of the default, with that seed's plain run as its reference."""
    found: list[dict[str, Any]] = []
    for seed in range(RECIPES["default"].seeds):
        ours, plain = (chosen.runs / name / str(seed) for name in ("default", "plain"))
        folder = ours / "evaluate"
        if not (folder / METRICS).is_file():
            say(f"evaluate.py: default, seed {seed}")
            command = [sys.executable, "evaluate.py", f"ckpt_path='{ours / BEST}'"]
            command += [f"reference='{plain / BEST}'", f"paths.data='{chosen.data}'"]
            command += [f"hydra.run.dir='{folder.resolve()}'", "trainer.enable_progress_bar=false"]
            execute(command, ours / "evaluate.txt")
        found.append(json.loads((folder / METRICS).read_text()))
    rows = {}
    for metric in WARNINGS:
        other = f"reference/{metric}"
        rows[metric] = {"runs": [m[metric] for m in found]}
        rows[metric]["mean"] = statistics.mean(rows[metric]["runs"])
        if other in found[0]:
            rows[metric]["reference"] = statistics.mean(m[other] for m in found)
    return rows


def execute(command: list[str], output: Path) -> None:
    """A command of ours, what it says in a file; its last line is the error if it fails."""
    with output.open("w") as file:
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    if status:
        last = output.read_text().strip().splitlines()[-1:]
        raise FashionTransferError(f"{' '.join(command)} failed: {' '.join(last)}")


def run(recipe: Recipe, folder: Path, seed: int, chosen: argparse.Namespace, sha256: str) -> None:
    """One `train.py`, unless it has been done; its output goes to a file beside its run."""
    if finished(recipe, folder, sha256):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    command = [sys.executable, "train.py", *recipe.overrides, f"seed={seed}"]
    if recipe.resnet:
        command.append(f"model.backbone.weights='{chosen.weights}'")
    command += [f"paths.data='{chosen.data}'", f"hydra.run.dir='{folder.resolve()}'"]
    command += ["trainer.enable_progress_bar=false"]
    start = time.perf_counter()
    execute(command, folder / "output.txt")
    stamp = {"key": key(recipe, sha256), "seconds": round(time.perf_counter() - start, 1)}
    write_text(folder / "stamp.json", json.dumps(stamp))


def finished(recipe: Recipe, folder: Path, sha256: str) -> bool:
    """Whether a run is there that this source would repeat exactly."""
    stamp = folder / "stamp.json"
    return stamp.is_file() and json.loads(stamp.read_text())["key"] == key(recipe, sha256)


def key(recipe: Recipe, sha256: str) -> str:
    """What determines a run: recipe, weights, the configuration and the source that trains.

    Experiments count where the recipe names one.
    """
    digest = hashlib.sha256(json.dumps([recipe.overrides, sha256]).encode())
    package = Path(__file__).parents[1]
    parts = [package / name for name in ("data", "features", "models")]
    files = [file for part in parts for file in part.rglob("*.py")]
    files += Path("conf").rglob("*.yaml")
    if not any(override.startswith("experiment=") for override in recipe.overrides):
        files = [file for file in files if file.parent.name != "experiment"]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def summarise(name: str, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """A row: mean and standard deviation over seeds of each metric in `SHOWN`, and seconds."""
    runs = [folder / str(seed) for seed in range(recipe.seeds)]
    metrics = [json.loads((run / METRICS).read_text()) for run in runs]
    row: dict[str, Any] = {"name": name, "title": recipe.title, "seeds": recipe.seeds}
    row["command"] = " ".join(("python train.py", *recipe.overrides))
    row["weights"] = metrics[0]["weights/name"]
    for metric in SHOWN:
        values = [m[metric] for m in metrics if metric in m]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            row[metric] = {"mean": statistics.mean(values), "spread": spread, "runs": values}
    row["seconds/features"] = max(m["seconds/features"] for m in metrics)
    row["seconds/fit"] = statistics.median(m["seconds/fit"] for m in metrics)
    row["seconds"] = [json.loads((run / "stamp.json").read_text())["seconds"] for run in runs]
    return row


def duplicates(folder: Path, data: str) -> dict[str, Any]:
    """Test images that nearly equal one of the subset, and accuracy with and without them."""
    found: dict[str, Any] = {"correlation": SIMILAR}
    with_them, without = [], []
    for path in sorted(folder.glob(f"*/{BEST}")):
        classifier = load_classifier(path, compile="auto")
        extractor = Extractor(classifier.backbone, FeatureStore())
        size, classes = classifier.image_size, len(classifier.classes)
        module = FashionMNISTDataModule(data, image_size=size, views=1, extractor=extractor)
        module.setup()
        assert module.train_set is not None
        assert module.test_set is not None
        subset = module.train_set.split.images[module.train_set.indices]
        same, _ = near_duplicates(module.test_set.split.images, subset)
        with torch.no_grad():
            right = torch.cat(
                [
                    classifier.logits(batch)[:, :classes].argmax(dim=1) == batch["labels"]
                    for batch in module.test_dataloader()
                ]
            )
        found["test_images"] = int(same.sum())
        with_them.append(right.float().mean().item())
        without.append(right[torch.from_numpy(~same)].float().mean().item())
    return found | {
        "accuracy": statistics.mean(with_them),
        "accuracy_without": statistics.mean(without),
    }


def write(rows: list[dict[str, Any]], about: Mapping[str, Any], folder: Path) -> None:
    """Prints the table and writes the three files, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "results.md", results_markdown(rows, about))
    found = json.dumps({"about": about, "rows": rows}, indent=2)
    write_text(folder / "results.json", found + "\n")
    draw_results(rows, folder / "results.png")
    print_table(rows)
    print(f"written: {folder}/results.md, results.json and results.png")


def commit() -> str:
    """The commit of the source, `+` after it if files differ from it; `unknown` outside git."""
    asked = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
    answer = subprocess.run(asked, capture_output=True, text=True)
    return answer.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
