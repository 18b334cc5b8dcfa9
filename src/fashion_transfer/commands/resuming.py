"""What a run does with an earlier start in its folder, and how it ends by Ctrl-C."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fashion_transfer.commands.external import external_rank
from fashion_transfer.commands.schema.targets import check_optimization
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import read_checkpoint
from fashion_transfer.models.optimization import check_states
from fashion_transfer.runs.folders import LAST, METRICS
from fashion_transfer.runs.record import RECORD, RunRecord, read_metrics, read_record

log = logging.getLogger(__name__)


def take_up(cfg: DictConfig, record: RunRecord) -> dict[str, Any]:
    """Returns the metrics of a finished run; an unfinished one will go on from its last epoch.

    Args:
        cfg: the configuration; its `ckpt_path` is set where there is an epoch to go on from.
        record: of the run that starts now.

    Raises:
        FashionTransferError: the folder has what another configuration left.
    """
    folder = record.folder
    if cfg.ckpt_path is not None or not (folder / RECORD).is_file():
        return {}
    earlier = read_record(folder)
    if not any((folder / left).is_file() for left in (LAST, METRICS)):
        return {}
    if not record.same_run(earlier):
        raise FashionTransferError(
            f"{folder} holds a run with another configuration: choose another folder, or remove it"
        )
    if earlier.state == "finished" and (metrics := read_metrics(folder)):
        if external_rank() is not None:  # the other processes wait for this one
            raise FashionTransferError(f"{folder} has finished already: choose another folder")
        log.info("%s has finished already", folder)
        return metrics
    if (folder / LAST).is_file():
        log.info("continuing %s", folder)
        cfg.ckpt_path = str(folder / LAST)
    return {}


def check_continued(cfg: DictConfig) -> None:
    """Checks that training can continue from the checkpoint that `ckpt_path` names.

    Raises:
        FashionTransferError: it cannot be read, or is of another optimizer or schedule.
    """
    checkpoint = read_checkpoint(cfg.ckpt_path)
    if "optimizer_states" not in checkpoint:
        raise FashionTransferError(
            f"ckpt_path={cfg.ckpt_path} holds no optimizer, so training cannot continue from it: "
            "give the last.ckpt beside it"
        )
    model: Any = OmegaConf.to_container(cfg.model, resolve=True)
    check_states(checkpoint, *check_optimization(model))


@contextmanager
def interruptible(hint: Callable[[], str] = str) -> Iterator[None]:
    """Lets Ctrl-C be a KeyboardInterrupt, with a hint for the user: Lightning ends the process."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt(hint()) from None
        # A cluster takes the machine away, and will start the job again: it has not succeeded.
        if end.code is None:
            end.code = 128 + signal.SIGTERM
        raise
