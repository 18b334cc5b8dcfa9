"""Repeats the test numbers of a checkpoint, from the checkpoint alone."""

import logging
import time
from pathlib import Path

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from fashion_transfer.commands.runs import newest_checkpoint, write_metrics
from fashion_transfer.commands.train import describe, test
from fashion_transfer.data import FashionMNISTDataModule
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import load_classifier
from fashion_transfer.reporting import print_metrics

log = logging.getLogger(__name__)


def evaluate(cfg: DictConfig) -> None:
    """One evaluation as `conf/evaluate.yaml` describes it.

    Raises:
        FashionTransferError: no checkpoint, or its weights or the data are missing.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    path = cfg.ckpt_path or newest_checkpoint(Path(cfg.paths.logs))
    log.info("evaluating %s", path)
    start = time.perf_counter()
    classifier = load_classifier(path, **cfg.model.backbone)
    trainer: L.Trainer = instantiate(cfg.trainer)
    datamodule: FashionMNISTDataModule = instantiate(cfg.data, image_size=classifier.image_size)
    precision = classifier.backbone.settle(trainer.strategy.root_device)
    if cfg.store:
        store = FeatureStore(cfg.paths.cache)
        datamodule.extractor = Extractor(classifier.backbone, store, trainer.strategy.root_device)
    metrics = test(trainer, classifier, datamodule, None)
    metrics["seconds/evaluate"] = round(time.perf_counter() - start, 3)
    metrics |= {"checkpoint": str(path)} | describe(classifier, precision)
    write_metrics(folder, metrics)
    print_metrics(metrics, title=f"evaluation {folder}")
