"""Trains a head, tests its best checkpoint, and writes the run folder."""

import contextlib
import logging
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import torch
import torchvision
from filelock import Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from fashion_transfer.commands.runs import interruptible, run_lock, write_metrics
from fashion_transfer.data import FashionMNISTDataModule
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import Classifier, read_checkpoint
from fashion_transfer.reporting import print_metrics

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> float | None:
    """One training run as `conf/train.yaml` describes it.

    Returns:
        The metric that `optimized_metric` names, for sweepers that look for the best run.

    Raises:
        FashionTransferError: a mistake in the configuration, or missing data or weights.
        KeyboardInterrupt: the user stopped it; the best checkpoint so far is kept.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with run_lock(folder):
            metrics = _train(cfg, folder)
    except Timeout as error:
        raise FashionTransferError(f"{folder} is in use by another run: wait for it") from error
    name = cfg.optimized_metric
    if name is None:
        return None
    if name not in metrics:
        log.warning("optimized_metric=%s was not measured: a sweeper gets no value", name)
        return None
    return float(metrics[name])


def _train(cfg: DictConfig, folder: Path) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    # Says what is wrong with a checkpoint before anything is built.
    if cfg.ckpt_path is not None and "optimizer_states" not in read_checkpoint(cfg.ckpt_path):
        raise FashionTransferError(
            f"ckpt_path={cfg.ckpt_path} holds no optimizer, so training cannot continue from it: "
            "give the last.ckpt beside it"
        )
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise FashionTransferError(f"seed is {cfg.seed!r}: it must be a whole number from 0")
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    with _phase(seconds, "setup"):
        datamodule: FashionMNISTDataModule = instantiate(cfg.data)
        classifier: Classifier = instantiate(
            cfg.model, classes=datamodule.classes, several=datamodule.composites > 0
        )
        wanted = dict(cfg.callbacks or {})
        if not cfg.trainer.get("enable_progress_bar", True):
            wanted.pop("progress", None)
        callbacks = [instantiate(c) for c in wanted.values() if c is not None]
        loggers = [instantiate(c) for c in (cfg.logger or {}).values() if c is not None]
        trainer: L.Trainer = instantiate(cfg.trainer, callbacks=callbacks, logger=loggers)
    with _phase(seconds, "features"):
        device = trainer.strategy.root_device
        precision = classifier.backbone.settle(device)
        if cfg.store:
            store = FeatureStore(cfg.paths.cache)
            datamodule.extractor = Extractor(classifier.backbone, store, device)
        datamodule.prepare_data()
        datamodule.setup("fit")
        if cfg.test:
            datamodule.setup("test")
    if not (datamodule.val_set and trainer.limit_val_batches):
        _keep_the_last_epoch(callbacks)
        if classifier.auto is not None:
            raise FashionTransferError(
                "model.threshold=auto is found in validation, and this run has none: give "
                "data.val_per_class, or a number such as 0.8"
            )
    with _phase(seconds, "fit"):
        _fit(trainer, classifier, datamodule, cfg.ckpt_path)

    best = getattr(trainer.checkpoint_callback, "best_model_path", "") or None
    metrics = _validation_metrics(trainer, best)
    if cfg.test:
        with _phase(seconds, "test"):
            metrics |= test(trainer, classifier, datamodule, best)
    metrics |= {f"seconds/{name}": round(value, 3) for name, value in seconds.items()}
    metrics |= describe(classifier, precision)
    _log_hyperparameters(loggers, cfg, metrics)
    write_metrics(folder, metrics)
    print_metrics(metrics, title=f"run {folder}")
    return metrics


def test(
    trainer: L.Trainer, classifier: Classifier, datamodule: FashionMNISTDataModule, path: str | None
) -> dict[str, Any]:
    """Test metrics by name; of a checkpoint if `path` names one, else of the classifier as is."""
    with interruptible(trainer):
        results = trainer.test(
            classifier, datamodule=datamodule, ckpt_path=path, verbose=False, weights_only=True
        )
    return dict(results[0])


def describe(classifier: Classifier, precision: str) -> dict[str, Any]:
    """What numbers must be read with: weights, precision, whether it was compiled, versions."""
    return {
        "weights/name": classifier.backbone.weights_name,
        "weights/sha256": classifier.backbone.fingerprint,
        "backbone/name": classifier.backbone.name,
        "backbone/precision": precision,
        "backbone/compiled": classifier.backbone.compiles(classifier.image_size),
        "versions/python": platform.python_version(),
        "versions/torch": torch.__version__,
        "versions/torchvision": torchvision.__version__,
        "versions/lightning": L.__version__,
        "versions/hydra": hydra.__version__,
    }


def _fit(
    trainer: L.Trainer,
    classifier: Classifier,
    datamodule: FashionMNISTDataModule,
    path: str | None,
) -> None:
    def hint() -> str:
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not best:
            return "no epoch had finished"
        return (
            f"the best checkpoint so far is {best}; `python train.py ckpt_path=last` continues "
            "from the last finished epoch"
        )

    with interruptible(trainer, hint):
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=path, weights_only=True)


def _keep_the_last_epoch(callbacks: list[Any]) -> None:
    """Has a checkpoint that would be chosen by validation take the last epoch instead."""
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint) and (callback.monitor or "").startswith("val/"):
            log.warning(
                "without validation there is no %s to choose by: %s.ckpt will be the last epoch's",
                callback.monitor,
                callback.filename,
            )
            callback.monitor = None


def _validation_metrics(trainer: L.Trainer, best: str | None) -> dict[str, Any]:
    """Validation metrics, of the epoch that the best checkpoint was taken at."""
    # From the checkpoint: a run that goes on after its last epoch validates nothing any more.
    if best is not None and Path(best).is_file():
        return dict(read_checkpoint(best).get("metrics", {}))
    found = trainer.callback_metrics.items()
    return {name: float(value) for name, value in found if name.startswith("val/")}


def _log_hyperparameters(loggers: list[Any], cfg: DictConfig, metrics: dict[str, Any]) -> None:
    """Fills TensorBoard's HPARAMS tab, where sweeps are compared, with what the user chose."""
    chosen = (override.lstrip("+~").partition("=") for override in HydraConfig.get().overrides.task)
    parameters = {"seed": str(cfg.seed)} | {key: value for key, _, value in chosen}
    results = {k: v for k, v in metrics.items() if k in ("val/accuracy", "test/accuracy")}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(parameters, results)
            logger.finalize("success")


@contextlib.contextmanager
def _phase(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
