"""Evaluates a checkpoint: test metrics, and what its warnings are worth on other images."""

import logging
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fashion_transfer.commands.build import build_datamodule, data_name
from fashion_transfer.commands.data_checks import can_check, check_data
from fashion_transfer.commands.errors import config_keys
from fashion_transfer.commands.evaluation_report import write_report
from fashion_transfer.commands.inference import (
    checkpoint_path,
    choose_device,
    describe,
    load,
    move,
)
from fashion_transfer.commands.provenance import provenance
from fashion_transfer.commands.schema import check_config
from fashion_transfer.confidence import Calibrator
from fashion_transfer.data import ClassificationDataModule, ImageDataset, Split
from fashion_transfer.data.mnist import mnist_split
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.evaluation import (
    Evaluated,
    evaluate_set,
    evaluation_sets,
    reference_rule,
    summarise,
    warning_metrics,
)
from fashion_transfer.evaluation.sets import TEST
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.files import write_text
from fashion_transfer.models import Classifier, load_classifier, single_item_metrics
from fashion_transfer.models.checkpoint import FROM_CHECKPOINT
from fashion_transfer.progress import ProgressBar, progress_bar
from fashion_transfer.reporting import print_metrics
from fashion_transfer.reporting.ood import is_in_ood_table, ood_markdown, print_ood
from fashion_transfer.runs.folders import write_metrics

log = logging.getLogger(__name__)

REFERENCE_THRESHOLD = 0.8
"""The confidence under which the reference notebook warns."""


def evaluate(cfg: DictConfig) -> None:
    """Runs the evaluation that `conf/evaluate.yaml` describes.

    Raises:
        FashionTransferError: no checkpoint, or its weights or the data are missing, or a mistake
            in the configuration.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    start = time.perf_counter()
    _check(cfg)
    str(folder).encode()  # as TensorBoard will, after all is computed: raises for any other bytes
    device = choose_device(cfg.device)
    path = checkpoint_path(cfg)
    classifier = load(cfg, path)
    log.info("evaluating %s", describe(path, classifier))
    reference = _load_reference(cfg, classifier) if cfg.reference else None
    datamodule = build_datamodule(cfg, image_size=classifier.image_size)
    _check_data(classifier, datamodule, path)
    precision = move(classifier, device)
    if cfg.store:
        store = FeatureStore(cfg.paths.cache)
        datamodule.extractor = Extractor(classifier.backbone, store, device)
    with config_keys(cfg, "data"):
        datamodule.prepare_data()
        datamodule.setup("test")
        sets = evaluation_sets(datamodule, cfg.images_per_set, _mnist(cfg))
    total = sum(map(len, sets.values())) * (1 if reference is None else 2)
    with progress_bar("evaluating", total) as progress:
        evaluated = _evaluate_sets(classifier, datamodule, sets, progress)
        metrics = summarise(classifier, evaluated)
        by_reference = None
        if reference is not None:
            move(reference, device)
            outputs = _evaluate_sets(reference, datamodule, sets, progress)
            by_reference = {
                name: reference_rule(of_set, REFERENCE_THRESHOLD)
                for name, of_set in outputs.items()
            }
            metrics |= _reference_metrics(reference, by_reference)
    if cfg.images_per_set:
        write_report(evaluated, by_reference, classifier, sets, folder)
        write_text(folder / "out_of_distribution.md", ood_markdown(metrics))
        print_ood(metrics)
    if cfg.data_checks and cfg.store and can_check(datamodule):
        metrics |= check_data(classifier, datamodule, folder)
    everything = {
        **metrics,
        "seconds/evaluate": round(time.perf_counter() - start, 3),
        "checkpoint": str(path),
        **provenance(classifier, precision),
    }
    write_metrics(folder, everything)
    # The metrics of each synthetic set are in the tables already.
    in_table = {f"{p}{name}/warned" for name in sets if name != TEST for p in ("", "reference/")}
    shown = {
        name: value
        for name, value in everything.items()
        if name not in in_table and not is_in_ood_table(name)
    }
    print_metrics(shown, title=f"evaluation {folder}")


def _check(cfg: DictConfig) -> None:
    check_config(cfg, "evaluate")
    if cfg.data.image_size != FROM_CHECKPOINT:
        raise FashionTransferError(
            f"data.image_size must be {FROM_CHECKPOINT} in an evaluation, got "
            f"{cfg.data.image_size!r}: train another classifier for another size"
        )


def _mnist(cfg: DictConfig) -> Split | None:
    """Reads the MNIST digits, if they are wanted and there."""
    digits = mnist_split(cfg.mnist) if cfg.mnist and cfg.images_per_set else None
    if cfg.mnist and cfg.images_per_set and digits is None:
        log.info(
            "without MNIST, which is not in %s: `python -m fashion_transfer.data.mnist %s` gets it",
            *(cfg.mnist, shlex.quote(str(cfg.mnist))),
        )
    return digits


def _check_data(classifier: Classifier, datamodule: ClassificationDataModule, path: Path) -> None:
    """Checks that a data set is the one that a classifier was trained on."""
    trained_on = _describe(classifier.class_names, classifier.preparation.name)
    given = _describe(datamodule.class_names, datamodule.preparation)
    if trained_on != given:
        raise FashionTransferError(
            f"{path} was trained on {trained_on}, and data={data_name()} has {given}: name the "
            "data set it was trained on by data=NAME"
        )


def _describe(class_names: Sequence[str], preparation: str) -> str:
    return f"{len(class_names)} classes ({', '.join(class_names)}) with preparation {preparation}"


def _load_reference(cfg: DictConfig, classifier: Classifier) -> Classifier:
    """Loads the classifier that the reference rule is measured with."""
    options = cfg.model.backbone
    with config_keys(cfg, "model.backbone"):
        reference = load_classifier(cfg.reference, cache=cfg.paths.cache, **options)
    if _comparable(reference) != _comparable(classifier):
        raise FashionTransferError(
            f"reference={cfg.reference} was trained on another backbone, image size or data set: "
            "train one like the checkpoint, with data.synthetic=null"
        )
    if reference.multi_item:
        raise FashionTransferError(
            f"reference={cfg.reference} was trained on composites, which the reference rule knows "
            "nothing of: train one like it with data.synthetic=null"
        )
    return reference


def _comparable(classifier: Classifier) -> tuple[Any, ...]:
    """Returns what a classifier must share with its reference."""
    return classifier.image_size, classifier.class_names, classifier.backbone.identity


def _evaluate_sets(
    classifier: Classifier,
    datamodule: ClassificationDataModule,
    sets: Mapping[str, ImageDataset],
    progress: ProgressBar,
) -> dict[str, Evaluated]:
    """Sends the images of every set through a classifier, once."""
    return {
        name: evaluate_set(classifier, progress.track(datamodule.dataloader(dataset)))
        for name, dataset in sets.items()
    }


def _reference_metrics(
    reference: Classifier, evaluated: Mapping[str, Evaluated]
) -> dict[str, float]:
    # The rule knows neither temperature nor OOD limit: a calibrator that was never fitted.
    calibrator = Calibrator(len(reference.class_names))
    test = single_item_metrics(
        evaluated[TEST].outputs, reference.class_names, calibrator, REFERENCE_THRESHOLD
    )
    metrics = {f"test/{name}": value for name, value in test.items()}
    metrics |= warning_metrics(evaluated)
    return {f"reference/{name}": value for name, value in metrics.items()}
