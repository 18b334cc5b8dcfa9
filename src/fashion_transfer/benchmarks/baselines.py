"""Baselines of the table of results: classical classifiers on the images of the default.

    python -m fashion_transfer.benchmarks.baselines NAME [OVERRIDE…]

`hog_svm` is an RBF-SVM on histograms of oriented gradients of the pixels, which no pretrained
network has seen. `knn` and `logistic` are nearest neighbours and multinomial logistic regression on
the default's cached features, standardised. Overrides are those of `train.py`; a baseline heeds
`data`, `model.backbone`, `paths` and `seed`, and has no composites.

Hyperparameters are chosen by accuracy on the validation images. Every candidate, and so the chosen
one, is trained on the training images alone. Test images decide nothing.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fashion_transfer.benchmarks.candidates import (
    BASELINES,
    Array,
    Baseline,
    Candidate,
    Estimator,
)
from fashion_transfer.benchmarks.machine import METRICS
from fashion_transfer.confidence.metrics import ece
from fashion_transfer.data import ClassificationDataModule, ImageDataset
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.files import write_text
from fashion_transfer.models.heads import Standardise
from fashion_transfer.models.outputs import class_keys
from fashion_transfer.paths import user_path
from fashion_transfer.progress import progress_bar
from fashion_transfer.reporting import print_metrics

CHUNK = 500
"""Images read between two steps of the progress bar."""

Metrics = dict[str, Any]

log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures one baseline, prints its metrics and, where a folder is named, writes them there."""
    parser = argparse.ArgumentParser(prog="python -m fashion_transfer.benchmarks.baselines")
    parser.add_argument("baseline", choices=BASELINES)
    parser.add_argument("overrides", nargs="*", help="of train.py, as data.images_per_class=10")
    parser.add_argument("--folder", type=user_path, help=f"where to write {METRICS}")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with initialize_config_dir(str(Path("conf").resolve()), version_base="1.3"):
            cfg = compose("train", ["data.synthetic=null", *chosen.overrides])
        metrics = measure_baseline(chosen.baseline, cfg)
    except (FashionTransferError, HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: {str(error).splitlines()[0]}")
    if chosen.folder:
        write_text(chosen.folder / METRICS, json.dumps(metrics, indent=2) + "\n")
    print_metrics(metrics, title=" ".join((chosen.baseline, *chosen.overrides)))


def measure_baseline(name: str, cfg: DictConfig) -> Metrics:
    """Returns the metrics of a baseline, as a run of `train.py` names them, and its settings.

    Args:
        name: in `BASELINES`.
        cfg: the configuration of `train.py`, without composites.

    Raises:
        FashionTransferError: missing data, weights or packages, or unsuitable images.
    """
    baseline = BASELINES[name]
    start = time.perf_counter()
    datamodule = instantiate(cfg.data)
    metrics = {} if baseline.pixels else _give_features(cfg, datamodule)
    datamodule.prepare_data()
    datamodule.setup()
    splits = _splits(datamodule)
    labels = {split: dataset.split.labels for split, dataset in splits.items()}
    seen = {split: _read(baseline, split, dataset) for split, dataset in splits.items()}
    if not baseline.pixels:
        seen = _standardised(seen)
    prepared = time.perf_counter()
    candidate, estimator, accuracy = _choose(name, seen, labels)
    fitted = time.perf_counter()
    metrics |= {f"chosen/{setting}": value for setting, value in candidate.settings.items()}
    metrics |= {"val/accuracy": accuracy}
    inputs = baseline.representations[candidate.representation](seen["test"])
    metrics |= _test_metrics(estimator, inputs, labels["test"], datamodule.class_names)
    metrics["seconds/features"] = round(prepared - start, 3)
    metrics["seconds/fit"] = round(fitted - prepared, 3)
    metrics["seconds/test"] = round(time.perf_counter() - fitted, 3)
    return metrics


def _give_features(cfg: DictConfig, datamodule: ClassificationDataModule) -> Metrics:
    """Has a data module give cached features; returns what weights they are of."""
    backbone = instantiate(cfg.model.backbone, _convert_="all")
    datamodule.extractor = Extractor(backbone, FeatureStore(cfg.paths.cache))
    return {"weights/name": backbone.weights_name, "weights/sha256": backbone.fingerprint}


def _splits(datamodule: ClassificationDataModule) -> dict[str, ImageDataset]:
    splits = {"train": datamodule.train_set, "val": datamodule.val_set, "test": datamodule.test_set}
    for name, dataset in splits.items():
        if not dataset:
            raise FashionTransferError(f"this data set has no {name} split, which a baseline needs")
    return {name: dataset for name, dataset in splits.items() if dataset is not None}


def _read(baseline: Baseline, name: str, dataset: ImageDataset) -> Array:
    """What a baseline sees of the images of a split: pixels, (N, h, w), or features, (N, D)."""
    parts: list[Array] = []
    with progress_bar(f"reading {name}", len(dataset)) as progress:
        for start in range(0, len(dataset), CHUNK):
            positions = range(start, min(start + CHUNK, len(dataset)))
            if baseline.pixels:
                images = dataset.split.read(dataset.split.rows[positions])
                if len({image.shape for image in images} | {(1, 28, 28)}) > 1:
                    raise FashionTransferError(
                        f"hog_svm needs grey images of 28 x 28 pixels, got {images[0].shape} in "
                        f"the {dataset.split.name}: choose another baseline"
                    )
                parts.append(np.concatenate(images))
            else:
                features = dataset.__getitems__(positions).features
                assert features is not None
                parts.append(features.numpy())
            progress.advance(len(positions))
    return np.concatenate(parts)


def _standardised(features: dict[str, Array]) -> dict[str, Array]:
    """Standardises features by the statistics of the training images, as the classifier does."""
    standardise = Standardise(features["train"].shape[1])
    standardise.fit([torch.from_numpy(features["train"])])
    return {name: standardise(torch.from_numpy(x)).numpy() for name, x in features.items()}


def _choose(
    name: str, seen: dict[str, Array], labels: dict[str, Array]
) -> tuple[Candidate, Estimator, float]:
    """Returns the candidate with the best validation accuracy, that trained, and that accuracy."""
    baseline = BASELINES[name]
    counts = np.bincount(labels["train"])
    candidates = list(baseline.candidates(len(labels["train"]), int(counts[counts > 0].min())))
    inputs: dict[str, list[Array]] = {}
    best: tuple[Candidate, Estimator, float] | None = None
    with progress_bar(f"{name}: candidates", len(candidates)) as progress:
        for candidate in candidates:
            represent = candidate.representation
            if represent not in inputs:
                function = baseline.representations[represent]
                inputs[represent] = [function(seen[split]) for split in ("train", "val")]
            training, validation = inputs[represent]
            estimator = candidate.build()
            estimator.fit(training, labels["train"])
            accuracy = float((estimator.predict(validation) == labels["val"]).mean())
            log.info("%s: validation accuracy %.2f %%", candidate.settings, 100 * accuracy)
            if best is None or accuracy > best[2]:
                best = candidate, estimator, accuracy
            progress.advance(1)
    assert best is not None
    return best


def _test_metrics(
    estimator: Estimator, inputs: Array, labels: Array, class_names: Sequence[str]
) -> Metrics:
    metrics = {}
    if hasattr(estimator, "predict_proba"):  # an SVM gives no probabilities
        probabilities = torch.from_numpy(estimator.predict_proba(inputs))
        metrics["test/ece"] = ece(probabilities, torch.from_numpy(labels))
        predicted = probabilities.argmax(dim=1).numpy()  # every class has training images
    else:
        predicted = estimator.predict(inputs)
    correct = predicted == labels
    metrics["test/accuracy"] = float(correct.mean())
    per_class = {
        f"test/accuracy/{key}": float(correct[labels == label].mean())
        for label, key in enumerate(class_keys(class_names))
        if (labels == label).any()
    }
    metrics["test/macro_accuracy"] = float(np.mean(list(per_class.values())))
    return metrics | per_class


if __name__ == "__main__":
    main()
