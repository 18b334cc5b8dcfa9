"""Fashion-MNIST's test images by `evaluate.py`'s way, and saved as PNG by `predict.py`."""

import csv
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from fashion_transfer.benchmarks.bootstrap import Values
from fashion_transfer.benchmarks.machine import execute
from fashion_transfer.confidence import Prediction
from fashion_transfer.data import ClassificationDataModule, read_image
from fashion_transfer.evaluation import evaluate_set
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import Classifier
from fashion_transfer.paths import quoted

PREDICTIONS = "predictions.csv"


def compare_saved(
    classifier: Classifier,
    checkpoint: Path,
    datamodule: ClassificationDataModule,
    count: int,
    scratch: Path,
) -> Values:
    """Returns whether pixels are `equal`, and predictions the `same`, per test image: bool, (N,).

    Pixels are those after preparation. Predictions are the same if label and warning are: those on
    cached features, as `evaluate.py` gives them, and those of `predict.py` on the files.

    Args:
        classifier: of the checkpoint, compiled as in an evaluation.
        checkpoint: its file, for `predict.py`.
        datamodule: of Fashion-MNIST, for the image size of the classifier.
        count: the first N test images.
        scratch: an empty folder for the files and the run.

    Raises:
        FashionTransferError: a command failed, or the data are missing.
    """
    datamodule.extractor = Extractor(classifier.backbone, FeatureStore())
    datamodule.prepare_data()
    datamodule.setup("test")
    dataset = datamodule.test_set
    assert dataset is not None
    rows = dataset.split.rows[:count]
    images = dataset.split.read(rows)
    files = save_as_png((image[0] for image in images), scratch / "images")
    equal = [
        np.array_equal(dataset.preparation(image), classifier.preparation(read_image(file)))
        for image, file in zip(images, files, strict=True)
    ]
    by_evaluation = evaluate_set(classifier, datamodule.dataloader(dataset)).predictions
    run = scratch / "predict"
    command = [sys.executable, "predict.py", str(files[0].parent)]
    command += [f"ckpt_path={quoted(checkpoint.resolve())}", "device=cpu"]
    command += [f"hydra.run.dir={quoted(run.resolve())}"]
    execute(command, scratch / "predict.txt")
    with (run / PREDICTIONS).open(newline="", encoding="utf-8") as table:
        by_file = {Path(row["path"]).name: row for row in csv.DictReader(table)}
    same = [
        _same(by_file[file.name], prediction)
        for file, prediction in zip(files, by_evaluation[: len(files)], strict=True)
    ]
    return {"equal": np.array(equal), "same": np.array(same)}


def save_as_png(images: Iterable[np.ndarray], folder: Path) -> list[Path]:
    """Writes grey images, uint8, (h, w), as PNG files, and returns their paths.

    Args:
        images: in the order of the files' names.
        folder: for the files; it is made.
    """
    folder.mkdir(parents=True)
    files = []
    for number, image in enumerate(images):
        files.append(folder / f"{number:05d}.png")
        Image.fromarray(image).save(files[-1])
    return files


def _same(row: dict[str, str], prediction: Prediction) -> bool:
    return (row["label"], row["warning"]) == (prediction.label, str(prediction.warning).lower())
