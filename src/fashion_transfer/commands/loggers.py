"""The loggers of a run: built, given its hyperparameters and results, and closed when it ends."""

import logging
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import read_checkpoint
from fashion_transfer.reporting.hparams import columns_summary, end_summary, start_summary
from fashion_transfer.runs.hyperparameters import METRICS, Value, summary_metrics
from fashion_transfer.runs.record import RunPruned

log = logging.getLogger(__name__)

PACKAGES = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}
"""What a logger needs that is not installed with the project."""

PREFIX = "summary/"
"""Of the tags of a run's results: `val/accuracy` alone is the curve, whose end is the last epoch's
and not the best one's."""


def build_loggers(cfg: DictConfig) -> list[Logger]:
    """Builds the loggers that `logger` describes.

    Raises:
        FashionTransferError: the package of one of them is not installed.
    """
    loggers = []
    for name, entry in (cfg.get("logger") or {}).items():
        if entry is None:
            continue
        target = str(entry.get("_target_")).rpartition(".")[2]
        package = PACKAGES.get(target)
        if package is not None and find_spec(package) is None:
            raise FashionTransferError(
                f'logger={name} needs the package {package}: pip install -e ".[{package}]"'
            )
        if package == "mlflow":  # it would report its use
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        options = {}
        if target == "TensorBoardLogger" and cfg.get("ckpt_path"):
            # What was logged after the checkpoint was saved will be logged again.
            options["purge_step"] = read_checkpoint(cfg.ckpt_path)["global_step"]
        loggers.append(instantiate(entry, **options))
    return loggers


@contextmanager
def logged_run(
    loggers: Sequence[Logger],
    parameters: Mapping[str, Value],
    first: Collection[str] = (),
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Logs hyperparameters, and closes the loggers when the run has ended or failed.

    Gives a function that logs the metrics which the run ended with.

    Args:
        loggers: of the run.
        parameters: its hyperparameters (see `runs.hyperparameters`).
        first: those that TensorBoard shows first.
    """
    _log_start(loggers, parameters, first)
    try:
        yield lambda metrics: _log_results(loggers, metrics)
    except BaseException as error:
        _close(loggers, "success" if isinstance(error, RunPruned) else "failed")
        raise
    _close(loggers, "success")


@rank_zero_only
def _log_start(
    loggers: Sequence[Logger], parameters: Mapping[str, Value], first: Collection[str]
) -> None:
    for logger in loggers:
        logger.log_hyperparams(dict(parameters))
        if isinstance(logger, TensorBoardLogger):
            headings = {f"{PREFIX}{name}": name for name in METRICS}
            _add(logger, columns_summary(parameters, headings, first))
            _add(logger, start_summary(parameters))


@rank_zero_only
def _log_results(loggers: Sequence[Logger], metrics: Mapping[str, Any]) -> None:
    measured = summary_metrics(metrics).items()
    results = {f"{PREFIX}{name}": value for name, value in measured if not math.isnan(value)}
    for logger in loggers:
        if not isinstance(logger, CSVLogger):  # a file of curves; the run has its metrics.json
            logger.log_metrics(results)
        if isinstance(logger, TensorBoardLogger):
            _add(logger, end_summary())


@rank_zero_only
def _close(loggers: Sequence[Logger], status: str) -> None:
    for logger in loggers:
        try:
            logger.finalize(status)
            if isinstance(logger, WandbLogger):
                # Or the next job of a sweep would go on with this run.
                logger.experiment.finish(exit_code=int(status != "success"))
        except Exception as error:  # must not hide why the run failed, nor spoil a good one
            log.warning("%s could not be closed: %s", type(logger).__name__, error)


def _add(logger: TensorBoardLogger, summary: Any) -> None:
    logger.experiment._get_file_writer().add_summary(summary)
