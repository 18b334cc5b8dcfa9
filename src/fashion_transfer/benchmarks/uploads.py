"""`make uploads`: what a Fashion-MNIST classifier makes of pictures that people really upload.

The default is trained on three seeds, as for `make results`, whose finished runs are used. It is
shown the validation photos of the clothing data set, which it never trained on: as they are; as
product pictures, which are the items cut out and put on plain grounds; and as pairs of these.
Photos are halved by name: one half is for development, the other is reported.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks.bootstrap import Values, bootstrap
from fashion_transfer.benchmarks.cross_fit import write_row
from fashion_transfer.benchmarks.machine import BEST, conditions, log_progress
from fashion_transfer.benchmarks.phone_photos import HALVES, PhonePhoto, phone_photos, with_class
from fashion_transfer.benchmarks.product_pictures import GROUNDS, Mask
from fashion_transfer.benchmarks.recipes import RECIPES
from fashion_transfer.benchmarks.results import run
from fashion_transfer.benchmarks.saved_test_images import compare_saved
from fashion_transfer.benchmarks.upload_sets import (
    OOD,
    PAIRS,
    PHOTOS,
    PRODUCTS,
    UploadSet,
    as_values,
    half_sets,
    predict,
    upload_metrics,
)
from fashion_transfer.confidence import Prediction
from fashion_transfer.data import ClassificationDataModule, FashionMNISTDataModule, cutout
from fashion_transfer.data.cutout_net import why_missing
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features.weights import load_weights
from fashion_transfer.files import write_text
from fashion_transfer.models import Classifier, load_classifier
from fashion_transfer.paths import user_path
from fashion_transfer.reporting import (
    evaluation_sets_sheet,
    replace_between_markers,
    save_figure,
)
from fashion_transfer.reporting.tables import markdown_table

DESCRIPTIONS = {
    f"{PHOTOS}/accuracy": "phone photos: correct",
    f"{PHOTOS}/not_warned": "not warned",
    f"{PHOTOS}/selective_accuracy": "correct among those",
    f"{OOD}/warned": "hats, shorts, skirts: warned",
    f"{PRODUCTS}/accuracy": "product pictures: correct",
    f"{PRODUCTS}/not_warned": "not warned",
    f"{PRODUCTS}/selective_accuracy": "correct among those",
    **{f"{PRODUCTS}/{g.replace(' ', '_')}/accuracy": f"correct on {g}" for g in GROUNDS},
    f"{PAIRS}/warned": "pairs of product pictures: warned",
    f"{PAIRS}/reason_multi_item": "reason several items",
}
"""The metrics of a half, with what people read for them."""

TEST_IMAGES = "test_images"

SAVED = {
    f"{TEST_IMAGES}/equal": "test images as PNG: pixels equal",
    f"{TEST_IMAGES}/same": "same label and warning",
}

Metrics = dict[str, dict[str, float]]


def main(arguments: list[str] | None = None, mask: Mask = cutout.mask) -> None:
    """Trains what is missing, measures, prints one table and writes a row of `uploads.json`.

    Args:
        arguments: of the command line.
        mask: cuts the items out for product pictures.
    """
    parser = argparse.ArgumentParser(prog="make uploads ARGS=…", description=__doc__)
    parser.add_argument(
        "--dir", type=user_path, default=Path("data") / "clothing", help="of the photos"
    )
    parser.add_argument(
        "--weights", type=expanduser, default="IMAGENET1K_V1", help="of ResNet50, name or path"
    )
    parser.add_argument("--data", default="data", help="folder of the Fashion-MNIST files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--checkpoints",
        type=user_path,
        nargs="+",
        help="one per seed, instead of training the default",
    )
    parser.add_argument(
        "--test-images", type=int, default=1000, help="saved as PNG, the first N; 0: none"
    )
    parser.add_argument("--name", default="default", help="of the row in the file")
    parser.add_argument("--runs", type=user_path, default=Path("logs") / "results")
    parser.add_argument("--output", type=user_path, default=Path("results") / "uploads.json")
    parser.add_argument(
        "--sheet",
        type=user_path,
        default=Path("logs") / "uploads" / "development.png",
        help="examples of the development half with what the classifier saw",
    )
    parser.add_argument(
        "--page", type=user_path, help="whose table is written anew, as docs/predict.md"
    )
    chosen = parser.parse_args(arguments)
    try:
        if chosen.seeds < 1:
            raise ArgumentError("seeds", f"must be from 1, got {chosen.seeds}")
        if chosen.test_images < 0:
            raise ArgumentError("test-images", f"must be from 0, got {chosen.test_images}")
        if mask is cutout.mask and (missing := why_missing()):
            raise FashionTransferError(missing)
        photos = phone_photos(chosen.dir)
        checkpoints = chosen.checkpoints or _train(
            chosen.runs, chosen.seeds, chosen.weights, chosen.data
        )
        classifiers = [load_classifier(path, compile="auto") for path in checkpoints]
        for classifier in classifiers:
            classifier.backbone.to_device("cpu")
        metrics, examples = measure_photos(photos, classifiers, mask)
        if chosen.test_images:
            metrics |= measure_saved(
                classifiers,
                checkpoints,
                lambda size: FashionMNISTDataModule(chosen.data, image_size=size),
                chosen.test_images,
            )
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    chosen.sheet.parent.mkdir(parents=True, exist_ok=True)
    save_figure(evaluation_sets_sheet(examples), chosen.sheet)
    print_metrics(metrics)
    row = {
        "seeds": len(checkpoints),
        "photos": {half: _sizes(photos, half) for half in HALVES},
        "test_images": chosen.test_images,
        "checkpoints": [hashlib.sha256(path.read_bytes()).hexdigest() for path in checkpoints],
        "metrics": metrics,
    }
    write_row(chosen.name, row | conditions(), chosen.output)
    if chosen.page:
        text = chosen.page.read_text(encoding="utf-8")
        write_text(chosen.page, replace_between_markers(text, "uploads", uploads_markdown(metrics)))
    print(f"written: {chosen.output} and {chosen.sheet}")


def _train(runs: Path, seeds: int, weights: str, data: str) -> list[Path]:
    """Returns the checkpoints of the default; finished runs are not repeated."""
    sha256 = load_weights("resnet50", weights).sha256
    for seed in range(seeds):
        log_progress(f"default, seed {seed}")
        run(RECIPES["default"], runs / "default" / str(seed), seed, weights, sha256, data)
    return [runs / "default" / str(seed) / BEST for seed in range(seeds)]


def measure_photos(
    photos: Sequence[PhonePhoto], classifiers: Sequence[Classifier], mask: Mask
) -> tuple[Metrics, dict[str, tuple[list[Any], list[Prediction]]]]:
    """Returns the metrics of both halves, and pictures of the development half with predictions.

    Every metric, `HALF/SET/NAME`, has its `mean` over the classifiers, and `low` and `high` of its
    95 % interval over the photos, product pictures of one photo together.

    Args:
        photos: of both halves.
        classifiers: of one preparation, one per seed. The first one's predictions are shown.
        mask: cuts the items out for product pictures.

    Raises:
        FashionTransferError: the classifiers are of photos, or no item can be cut out.
    """
    backbones = {str(classifier.backbone.identity) for classifier in classifiers}
    if len(backbones) > 1:
        raise FashionTransferError("the checkpoints are of different backbones: name those of one")
    preparations = {classifier.preparation.name for classifier in classifiers}
    if preparations != {"fashion_mnist"}:
        raise FashionTransferError(
            f"the checkpoints have the preparation {' and '.join(sorted(preparations))}: name "
            "those of classifiers of Fashion-MNIST"
        )
    metrics: Metrics = {}
    examples: dict[str, tuple[list[Any], list[Prediction]]] = {}
    for half in HALVES:
        log_progress(f"{half}: preparing")
        of_half = [photo for photo in photos if photo.half == half]
        sets = half_sets(of_half, classifiers[0].preparation, mask)
        of_seeds: list[dict[str, Values]] = [{} for _ in classifiers]
        for name, of_set in sets.items():
            log_progress(f"{half}: {name}")
            predictions = predict(classifiers, of_set)
            for values, of_seed in zip(of_seeds, predictions, strict=True):
                values[name] = as_values(name, of_set, of_seed)
            if half == HALVES[0]:
                examples |= _examples(name, of_set, predictions[0])
        summary = bootstrap(of_seeds, upload_metrics) if sets else {}
        metrics |= {f"{half}/{name}": value for name, value in summary.items()}
    return metrics, examples


def _examples(
    name: str, of_set: UploadSet, predictions: Sequence[Prediction]
) -> dict[str, tuple[list[Any], list[Prediction]]]:
    """Two rows of a set: some pictures, and below them what the classifier saw."""
    of_examples = [predictions[position] for position in of_set.examples]
    seen = [of_set.prepared[position].pixels for position in of_set.examples]
    return {
        name: (list(of_set.examples.values()), of_examples),
        f"{name}/what the classifier saw": (seen, of_examples),
    }


def measure_saved(
    classifiers: Sequence[Classifier],
    checkpoints: Sequence[Path],
    make_datamodule: Callable[[int], ClassificationDataModule],
    count: int,
) -> Metrics:
    """Returns the fractions of test images whose PNG files are treated as `evaluate.py` does.

    Args:
        classifiers: one per seed.
        checkpoints: of each its file.
        make_datamodule: gives Fashion-MNIST for an image size.
        count: the first N test images.

    Raises:
        FashionTransferError: a command failed, or the data are missing.
    """
    of_seeds = []
    for seed, (classifier, path) in enumerate(zip(classifiers, checkpoints, strict=True)):
        log_progress(f"{count} test images as PNG: seed {seed}")
        datamodule = make_datamodule(classifier.image_size)
        with tempfile.TemporaryDirectory(prefix="fashion-transfer-uploads-") as scratch:
            values = compare_saved(classifier, path, datamodule, count, Path(scratch))
        of_seeds.append({TEST_IMAGES: values})
    return bootstrap(of_seeds, _saved_metrics)


def _saved_metrics(sampled: Mapping[str, Values]) -> dict[str, float]:
    values = sampled[TEST_IMAGES]
    return {f"{TEST_IMAGES}/{name}": float(value.mean()) for name, value in values.items()}


def print_metrics(metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Prints one table: every metric of both halves with its 95 % interval."""
    table = Table(title="make uploads: mean (95 % interval)", title_justify="left")
    for heading in ("what", *HALVES):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for name, description in DESCRIPTIONS.items():
        table.add_row(description, *(_cell(metrics.get(f"{half}/{name}")) for half in HALVES))
    for name, description in SAVED.items():
        table.add_row(description, "", _cell(metrics.get(name)))
    Console().print(table)


def uploads_markdown(metrics: Mapping[str, Mapping[str, float]]) -> str:
    """Returns the metrics of the reported half as a Markdown table."""
    reported = ((text, metrics.get(f"{HALVES[1]}/{name}")) for name, text in DESCRIPTIONS.items())
    saved = ((text, metrics.get(name)) for name, text in SAVED.items())
    rows = [(text, _cell(value)) for text, value in (*reported, *saved) if value is not None]
    return markdown_table(("pictures", "fraction (95 % interval)"), rows)


def _cell(value: Mapping[str, float] | None) -> str:
    return "" if value is None else f"{value['mean']:.3f} ({value['low']:.2f}–{value['high']:.2f})"


def _sizes(photos: Sequence[PhonePhoto], half: str) -> list[int]:
    """Photos of an item with a class, and the others."""
    of_half = [photo for photo in photos if photo.half == half]
    known = len(with_class(of_half))
    return [known, len(of_half) - known]


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
