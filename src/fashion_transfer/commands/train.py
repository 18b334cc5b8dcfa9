"""Trains a head, tests its best checkpoint, and writes the run folder."""

import gc
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from filelock import Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from omegaconf import DictConfig
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fashion_transfer import ranks
from fashion_transfer.commands.arguments import resume_command
from fashion_transfer.commands.build import ARGUMENT_NODES, build_datamodule, build_task, data_name
from fashion_transfer.commands.checkpoints import best_checkpoint, keep_best
from fashion_transfer.commands.errors import config_keys, explain
from fashion_transfer.commands.external import external_rank
from fashion_transfer.commands.launch import processes, run_ranks
from fashion_transfer.commands.loggers import logged_run
from fashion_transfer.commands.provenance import provenance
from fashion_transfer.commands.resuming import check_continued, interruptible, take_up
from fashion_transfer.commands.schema import check_config
from fashion_transfer.commands.trainer import build_trainer
from fashion_transfer.data import ClassificationDataModule
from fashion_transfer.data.calibration import calibration_images
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features.precision import INT8
from fashion_transfer.features.quantisation import CALIBRATION_IMAGES
from fashion_transfer.files import remove_temporary
from fashion_transfer.models import ClassificationTask, read_checkpoint
from fashion_transfer.models.left_out import left_out
from fashion_transfer.reporting import print_metrics
from fashion_transfer.runs.folders import run_lock, write_metrics
from fashion_transfer.runs.hyperparameters import hyperparameters, overridden
from fashion_transfer.runs.record import (
    RunRecord,
    new_record,
    read_metrics,
    recording,
)

log = logging.getLogger(__name__)

Metrics = dict[str, Any]


def train(cfg: DictConfig, callbacks: Sequence[Callback] = ()) -> float | None:
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
    gc.collect()  # the trainer of a sweep's job before, with its data: they are in reference cycles
    folder = Path(HydraConfig.get().runtime.output_dir)
    if external_rank():
        logging.disable()
        _check(cfg)
        train_rank(cfg)
        return None
    try:
        with run_lock(folder):
            remove_temporary(folder.rglob(".*"))
            record = new_record(folder, cfg)
            metrics = take_up(cfg, record)
            if not metrics:
                with recording(record, lambda error: explain(error) or repr(error)):
                    metrics = _start(cfg, record, callbacks)
    except Timeout as error:
        raise FashionTransferError(f"{folder} is in use by another run: wait for it") from error
    name = cfg.monitor.metric
    if name is None:
        return None
    if name not in metrics:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            log.warning("monitor.metric=%s was not measured: a sweeper gets no value", name)
        return None
    return float(metrics[name])


def train_rank(cfg: DictConfig) -> None:
    """Trains as one of several processes (see `commands.launch`); rank 0 writes the run folder."""
    _train(cfg, new_record(Path(HydraConfig.get().runtime.output_dir), cfg), ())


def _start(cfg: DictConfig, record: RunRecord, callbacks: Sequence[Callback]) -> Metrics:
    _check(cfg)
    count = processes(cfg, callbacks)
    if count == 1:
        return _train(cfg, record, callbacks)
    run_ranks(cfg, count)
    return read_metrics(record.folder)


def _train(cfg: DictConfig, record: RunRecord, callbacks: Sequence[Callback]) -> Metrics:
    seconds: dict[str, float] = {}
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    with _timed(seconds, "setup"):
        trainer = build_trainer(cfg, callbacks)
        if trainer.world_size > 1:
            trainer.strategy.setup_environment()  # the ranks share the work on features, too
            cfg.ckpt_path = ranks.broadcast(cfg.ckpt_path)
        with ranks.first():  # it may download weights
            datamodule = build_datamodule(cfg)
            datamodule.read_ahead()  # while the backbone is built
            task = build_task(cfg, datamodule)
    with _timed(seconds, "features"):
        precision = _prepare_data(cfg, task, datamodule, trainer)
    if reason := _without_validation(datamodule, trainer):
        _go_without_validation(task, trainer, reason)
    with _logged(record, datamodule, trainer) as log_results:
        with _timed(seconds, "fit"), config_keys(cfg, *ARGUMENT_NODES):
            _fit(task, datamodule, trainer, cfg.ckpt_path)
        best = keep_best(trainer, record.folder)
        metrics = _validation_metrics(trainer, best)
        if not math.isfinite(metrics.get("val/loss", 0.0)):
            raise FashionTransferError(
                f"training has diverged, val/loss is {metrics['val/loss']} at best: give a lower "
                f"rate than model.optimizer.lr={cfg.model.optimizer.get('lr')}"
            )
        metrics |= _calibration(task)
        if cfg.test and datamodule.test_set and trainer.limit_test_batches:
            with _timed(seconds, "test"):
                metrics |= _test(task, datamodule, trainer, best)
        metrics |= {f"seconds/{name}": round(value, 3) for name, value in seconds.items()}
        metrics |= provenance(task.classifier, precision)
        log_results(metrics)
        if trainer.is_global_zero:
            write_metrics(record.folder, metrics)
    if HydraConfig.get().mode == RunMode.RUN and trainer.is_global_zero:  # a sweep has a line each
        print_metrics(metrics, title=f"run {record.folder}")
        for file in sorted(record.folder.glob("*-profile*.txt")):  # of debug=profiler
            log.info("where the time went: %s", file)
    return metrics


def _check(cfg: DictConfig) -> None:
    """Checks what can be checked before anything is built."""
    check_config(cfg)
    if cfg.ckpt_path is not None:
        check_continued(cfg)


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
        with ranks.first():
            datamodule.prepare_data()
        if backbone.engine.precision == INT8:
            with ranks.first():  # the others then find the network in the cache
                images = calibration_images(datamodule, CALIBRATION_IMAGES)
                backbone.calibrate(images, cfg.paths.cache)
        datamodule.setup(None if cfg.test else "fit")
        if cfg.test and not datamodule.test_set:
            log.warning(
                "data=%s has no test images, so nothing is tested: there will be no metrics test/…",
                data_name(),
            )
    return precision


def _without_validation(datamodule: ClassificationDataModule, trainer: L.Trainer) -> str:
    """Returns why no epoch is validated; nothing if some are."""
    every, epochs = trainer.check_val_every_n_epoch or 1, trainer.max_epochs or -1
    if not datamodule.val_set:
        return f"data={data_name()} has no validation images"
    if not trainer.limit_val_batches:
        return "trainer.limit_val_batches=0"
    if 0 < epochs < every:
        return f"trainer.check_val_every_n_epoch={every} is over trainer.max_epochs={epochs}"
    return ""


def _go_without_validation(task: ClassificationTask, trainer: L.Trainer, reason: str) -> None:
    """Has the best checkpoint be that of the last epoch.

    Raises:
        FashionTransferError: the schedule or a callback watches the validation.
    """
    plateau = getattr(task.scheduler, "func", None) is ReduceLROnPlateau
    if plateau or trainer.early_stopping_callbacks:
        watching = "model/scheduler=plateau" if plateau else "callbacks.early_stopping"
        raise FashionTransferError(
            f"{watching} watches the validation, and there is none, as {reason}: leave it out"
        )
    trainer.limit_val_batches, trainer.check_val_every_n_epoch = 0, 1
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and (callback.monitor or "").startswith("val/"):
            log.warning(
                "without validation there is no %s to choose by (%s): best.ckpt will be the last "
                "epoch's",
                callback.monitor,
                reason,
            )
            callback.monitor = None


def _fit(
    task: ClassificationTask,
    datamodule: ClassificationDataModule,
    trainer: L.Trainer,
    path: str | None,
) -> None:
    def hint() -> str:
        best = best_checkpoint(trainer)
        if best is None:
            return "no epoch had finished"
        return (
            f"the best checkpoint so far is {best}; `{resume_command(HydraConfig.get())}` "
            "continues from the last finished epoch"
        )

    with interruptible(hint):
        trainer.fit(task, datamodule=datamodule, ckpt_path=path, weights_only=True)


def _test(
    task: ClassificationTask,
    datamodule: ClassificationDataModule,
    trainer: L.Trainer,
    path: Path | None,
) -> Metrics:
    """Returns test metrics: of a checkpoint if there is one, else of the task as it is."""
    with interruptible():
        results = trainer.test(
            task, datamodule=datamodule, ckpt_path=path, verbose=False, weights_only=True
        )
    return dict(results[0])


def _validation_metrics(trainer: L.Trainer, best: Path | None) -> Metrics:
    """Returns validation metrics, of the epoch of the best checkpoint."""
    # From the checkpoint: a run that is continued after its last epoch validates nothing any more.
    if best is not None:
        return dict(read_checkpoint(best).get("metrics", {}))
    logged = trainer.callback_metrics.items()
    return {name: float(value) for name, value in logged if name.startswith("val/")}


def _calibration(task: ClassificationTask) -> Metrics:
    """Returns the number of validation images, and what they were too few for, if there is any."""
    names = left_out(task.classifier, task.auto_threshold)
    images = {"calibration/images": task.classifier.calibrator.num_images}
    return images | ({"calibration/left_out": ", ".join(names)} if names else {})


def _logged(
    record: RunRecord, datamodule: ClassificationDataModule, trainer: L.Trainer
) -> AbstractContextManager[Callable[[Metrics], None]]:
    """Has the loggers open inside, see `logged_run`."""
    assert datamodule.train_set is not None
    parameters = hyperparameters(
        record.config, record.choices, len(datamodule.train_set), len(datamodule.class_names)
    )
    return logged_run(trainer.loggers, parameters, overridden(record.overrides))


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
