"""Trains a head, tests its best checkpoint, and writes the run folder."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from filelock import Timeout
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import DictConfig

from fashion_transfer.commands.build import ARGUMENT_NODES, build_datamodule, build_task, data_name
from fashion_transfer.commands.errors import config_keys, explain
from fashion_transfer.commands.provenance import provenance
from fashion_transfer.commands.trainer import build_trainer
from fashion_transfer.data import ClassificationDataModule
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import ClassificationTask, read_checkpoint
from fashion_transfer.models.left_out import left_out, warn_left_out
from fashion_transfer.reporting import print_metrics
from fashion_transfer.runs.folders import LAST, run_lock, write_metrics
from fashion_transfer.runs.record import (
    RECORD,
    RunRecord,
    new_record,
    read_metrics,
    read_record,
    recording,
)

log = logging.getLogger(__name__)

Metrics = dict[str, Any]


def train(cfg: DictConfig, callbacks: Iterable[Callback] = ()) -> float | None:
    """Runs the training that `conf/train.yaml` describes.

    In a folder with an unfinished run of the same configuration it continues that run; in one with
    a finished one it computes nothing.

    Args:
        cfg: the configuration.
        callbacks: of the trainer, beside those of the configuration.

    Returns:
        The metric that `monitor.metric` names, for sweepers that look for the best run.

    Raises:
        FashionTransferError: a mistake in the configuration, or missing data or weights.
        KeyboardInterrupt: the user stopped it; the best checkpoint so far stays.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with run_lock(folder):
            record = new_record(folder, cfg)
            metrics = _take_up(cfg, record)
            if not metrics:
                with recording(record, lambda error: explain(error) or repr(error)):
                    metrics = _train(cfg, folder, callbacks)
    except Timeout as error:
        raise FashionTransferError(f"{folder} is in use by another run: wait for it") from error
    name = cfg.monitor.metric
    if name is None:
        return None
    if name not in metrics:
        log.warning("monitor.metric=%s was not measured: a sweeper gets no value", name)
        return None
    return float(metrics[name])


def _take_up(cfg: DictConfig, record: RunRecord) -> Metrics:
    """Returns the metrics of a finished run; an unfinished one will go on from its last epoch."""
    folder = record.folder
    if cfg.ckpt_path is not None or not (folder / RECORD).is_file():
        return {}
    earlier = read_record(folder)
    if not record.same_run(earlier):
        raise FashionTransferError(
            f"{folder} holds a run with another configuration: choose another folder, or remove it"
        )
    if earlier.state == "finished" and (metrics := read_metrics(folder)):
        log.info("%s has finished already", folder)
        return metrics
    if (folder / LAST).is_file():
        log.info("continuing %s", folder)
        cfg.ckpt_path = str(folder / LAST)
    return {}


def _train(cfg: DictConfig, folder: Path, callbacks: Iterable[Callback]) -> Metrics:
    seconds: dict[str, float] = {}
    _check(cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    with _timed(seconds, "setup"):
        datamodule = build_datamodule(cfg)
        task = build_task(cfg, datamodule)
        trainer = build_trainer(cfg, callbacks)
    with _timed(seconds, "features"):
        precision = _prepare_data(cfg, task, datamodule, trainer)
    if not (datamodule.val_set and trainer.limit_val_batches):
        _go_without_validation(task, trainer)
    with _timed(seconds, "fit"), config_keys(cfg, *ARGUMENT_NODES):
        _fit(task, datamodule, trainer, cfg.ckpt_path)
    best = _best_checkpoint(trainer)
    metrics = _validation_metrics(trainer, best)
    metrics |= _calibration(task)
    if cfg.test and datamodule.test_set:
        with _timed(seconds, "test"):
            metrics |= _test(task, datamodule, trainer, best)
    metrics |= {f"seconds/{name}": round(value, 3) for name, value in seconds.items()}
    metrics |= provenance(task.classifier, precision)
    _log_hyperparameters(trainer, cfg, metrics)
    write_metrics(folder, metrics)
    print_metrics(metrics, title=f"run {folder}")
    return metrics


def _check(cfg: DictConfig) -> None:
    """Checks what can be checked before anything is built."""
    if cfg.ckpt_path is not None and "optimizer_states" not in read_checkpoint(cfg.ckpt_path):
        raise FashionTransferError(
            f"ckpt_path={cfg.ckpt_path} holds no optimizer, so training cannot continue from it: "
            "give the last.ckpt beside it"
        )
    if not isinstance(cfg.seed, int) or not 0 <= cfg.seed < 2**32:
        raise FashionTransferError(
            f"seed must be a whole number from 0 to {2**32 - 1}, got {cfg.seed!r}"
        )
    _check_monitor(cfg.monitor)


def _check_monitor(monitor: DictConfig) -> None:
    metric, mode = monitor.metric, monitor.mode
    if mode not in ("min", "max"):
        raise FashionTransferError(f"monitor.mode must be min or max, got {mode!r}")
    if metric is None:
        monitor.mode = "min"  # not that of `last`: Lightning refuses two equal callbacks
        return
    if metric.startswith("test/"):
        raise FashionTransferError(
            f"monitor.metric must not be of the test images, which choose nothing, got {metric}: "
            "use one of validation, such as val/accuracy"
        )
    for part, best in (("loss", "min"), ("accuracy", "max")):
        if metric.endswith(part) and mode != best:
            raise FashionTransferError(f"monitor.mode must be {best} for {metric}, got {mode}")


def _prepare_data(
    cfg: DictConfig,
    task: ClassificationTask,
    datamodule: ClassificationDataModule,
    trainer: L.Trainer,
) -> str:
    """Reads the data set and computes missing features; returns the backbone's precision."""
    device, backbone = trainer.strategy.root_device, task.classifier.backbone
    precision = backbone.to_device(device)
    if cfg.store:
        datamodule.extractor = Extractor(backbone, FeatureStore(cfg.paths.cache), device)
    with config_keys(cfg, "data"):
        datamodule.prepare_data()
        datamodule.setup("fit")
        if cfg.test:
            datamodule.setup("test")
            if not datamodule.test_set:
                log.warning(
                    "data=%s has no test images, so nothing is tested: there will be no metrics "
                    "test/…",
                    data_name(),
                )
    return precision


def _go_without_validation(task: ClassificationTask, trainer: L.Trainer) -> None:
    """Has the best checkpoint be that of the last epoch."""
    warn_left_out(task.classifier, task.auto_threshold)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and (callback.monitor or "").startswith("val/"):
            log.warning(
                "without validation there is no %s to choose by: %s.ckpt will be the last epoch's",
                callback.monitor,
                callback.filename,
            )
            callback.monitor = None


def _fit(
    task: ClassificationTask,
    datamodule: ClassificationDataModule,
    trainer: L.Trainer,
    path: str | None,
) -> None:
    def hint() -> str:
        best = _best_checkpoint(trainer)
        if best is None:
            return "no epoch had finished"
        return (
            f"the best checkpoint so far is {best}; `python train.py ckpt_path=last` continues "
            "from the last finished epoch"
        )

    with _interruptible(trainer, hint):
        trainer.fit(task, datamodule=datamodule, ckpt_path=path, weights_only=True)


def _test(
    task: ClassificationTask,
    datamodule: ClassificationDataModule,
    trainer: L.Trainer,
    path: str | None,
) -> Metrics:
    """Returns test metrics: of a checkpoint if there is one, else of the task as it is."""
    with _interruptible(trainer):
        results = trainer.test(
            task, datamodule=datamodule, ckpt_path=path, verbose=False, weights_only=True
        )
    return dict(results[0])


def _best_checkpoint(trainer: L.Trainer) -> str | None:
    return getattr(trainer.checkpoint_callback, "best_model_path", "") or None


def _validation_metrics(trainer: L.Trainer, best: str | None) -> Metrics:
    """Returns validation metrics, of the epoch of the best checkpoint."""
    # From the checkpoint: a run that is continued after its last epoch validates nothing any more.
    if best is not None and Path(best).is_file():
        return dict(read_checkpoint(best).get("metrics", {}))
    logged = trainer.callback_metrics.items()
    return {name: float(value) for name, value in logged if name.startswith("val/")}


def _calibration(task: ClassificationTask) -> Metrics:
    """Returns the number of validation images, and what they were too few for, if there is any."""
    names = left_out(task.classifier, task.auto_threshold)
    images = {"calibration/images": task.classifier.calibrator.num_images}
    return images | ({"calibration/left_out": ", ".join(names)} if names else {})


def _log_hyperparameters(trainer: L.Trainer, cfg: DictConfig, metrics: Metrics) -> None:
    """Fills TensorBoard's HPARAMS tab, where sweeps are compared, with the user's overrides."""
    overrides = (o.lstrip("+~").partition("=") for o in HydraConfig.get().overrides.task)
    parameters = {"seed": str(cfg.seed)} | {key: value for key, _, value in overrides}
    names = dict.fromkeys((cfg.monitor.metric, "val/accuracy", "test/accuracy"))
    results = {name: metrics[name] for name in names if name in metrics}
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(parameters, results)
            logger.finalize("success")


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


@contextmanager
def _interruptible(trainer: L.Trainer, hint: Callable[[], str] = str) -> Iterator[None]:
    """Lets Ctrl-C be a KeyboardInterrupt, with a hint for the user: Lightning ends the process."""
    try:
        yield
    except SystemExit:
        if not trainer.interrupted:
            raise
        raise KeyboardInterrupt(hint()) from None
