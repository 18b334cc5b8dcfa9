"""Repeats the test numbers of a checkpoint, from the checkpoint alone."""

import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from fashion_transfer.commands import report
from fashion_transfer.commands.runs import newest_checkpoint, write_metrics
from fashion_transfer.commands.train import describe, test
from fashion_transfer.data import FashionMNISTDataModule
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import Classifier, load_classifier
from fashion_transfer.reporting import print_metrics

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> None:
    """One evaluation as `conf/evaluate.yaml` describes it.

    Raises:
        FashionTransferError: no checkpoint, or its weights or the data are missing.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    if not isinstance(cfg.kinds, int) or cfg.kinds < 0:
        raise FashionTransferError(f"kinds is {cfg.kinds!r}: it must be a whole number from 0")
    path = cfg.ckpt_path or newest_checkpoint(Path(cfg.paths.logs))
    log.info("evaluating %s", path)
    start = time.perf_counter()
    classifier = load_classifier(path, **cfg.policy, **cfg.model.backbone)
    trainer: L.Trainer = instantiate(cfg.trainer)
    datamodule: FashionMNISTDataModule = instantiate(cfg.data, image_size=classifier.image_size)
    precision = classifier.backbone.settle(trainer.strategy.root_device)
    if cfg.store:
        store = FeatureStore(cfg.paths.cache)
        datamodule.extractor = Extractor(classifier.backbone, store, trainer.strategy.root_device)
    metrics = test(trainer, classifier, datamodule, None)
    if cfg.kinds:
        metrics |= _report(cfg, trainer, classifier, datamodule, folder)
    metrics["seconds/evaluate"] = round(time.perf_counter() - start, 3)
    metrics |= {"checkpoint": str(path)} | describe(classifier, precision)
    write_metrics(folder, metrics)
    shown = {name: value for name, value in metrics.items() if not _of_one_kind(name)}
    print_metrics(shown, title=f"evaluation {folder}")


def _report(
    cfg: DictConfig,
    trainer: L.Trainer,
    classifier: Classifier,
    datamodule: FashionMNISTDataModule,
    folder: Path,
) -> dict[str, Any]:
    """What warnings are worth on images of every kind, and beside it what the reference rule's."""
    kinds = datamodule.kinds(cfg.kinds)
    found = report.measure(classifier, datamodule, kinds)
    told: dict[str, Any] = dict(report.numbers(found))
    reference = None
    if cfg.reference:
        plain = load_classifier(cfg.reference, **cfg.model.backbone)
        if (plain.image_size, plain.backbone.identity) != (
            classifier.image_size,
            classifier.backbone.identity,
        ):
            raise FashionTransferError(
                f"reference={cfg.reference} was trained on another backbone or image size: train "
                "one like the checkpoint, with data.composites=0 data.controls=0"
            )
        plain.backbone.settle(trainer.strategy.root_device)
        reference = report.plain_rule(report.measure(plain, datamodule, kinds))
        told |= {f"reference/{name}": value for name, value in report.numbers(reference).items()}
    report.write(found, reference, classifier, datamodule, kinds, folder)
    return told


def _of_one_kind(name: str) -> bool:
    """Whether a metric is in the table of warnings already."""
    parts = name.removeprefix("reference/").split("/")
    kinds = ("multi", "control", "unfamiliar")
    return len(parts) == 3 and parts[0] in kinds and parts[1] not in ("trained", "held_out")
