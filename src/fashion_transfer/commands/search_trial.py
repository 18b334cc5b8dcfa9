"""Runs one trial of a search as train.py would: an ordinary run, in a folder of its own."""

import copy
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from hydra import compose
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from fashion_transfer.commands.errors import explain, is_disk_error
from fashion_transfer.commands.hydra_files import LogFile
from fashion_transfer.commands.train import train
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.record import RunPruned
from fashion_transfer.search.space import Value, override_text

log = logging.getLogger(__name__)

TRIAL = ("test=false", "trainer.enable_progress_bar=false")
"""Overrides of every trial, for keys that the user did not set."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: with a value, pruned (for a reason), or failed with an error."""

    status: Literal["finished", "pruned", "failed"]
    value: float | None = None
    message: str = ""
    is_mistake: bool = False


def run(
    fixed: list[str],
    values: dict[str, Value],
    folder: Path,
    callbacks: Sequence[Callback] = (),
    settings: Sequence[str] = TRIAL,
) -> Outcome:
    """Runs one training in its run folder, as train.py would, and returns how it ended.

    Args:
        fixed: overrides.
        values: of further keys.
        folder: of the run; what is there already is continued.
        callbacks: of the trainer.
        settings: overrides for keys that are set by none of these.

    Raises:
        OSError, FashionTransferError: the disk cannot be written.
        KeyboardInterrupt: the user stopped it.
    """

    def task(cfg: DictConfig) -> Outcome | Exception:
        try:
            value = train(cfg, callbacks)
        except RunPruned as pruned:
            return Outcome("pruned", message=str(pruned))
        except Exception as error:
            if is_disk_error(error):
                return error  # and no outcome: the trial can go on once there is room
            log.debug("", exc_info=True)
            mistake = isinstance(error, FashionTransferError)
            return Outcome("failed", None, explain(error) or repr(error), mistake)
        return Outcome("finished", value)

    cfg = compose_trial(fixed, values, folder, settings)
    context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
    with _log_file(folder / "train.log"):
        job = run_job(task, cfg, "hydra.run.dir", None, context, configure_logging=False)
    if isinstance(outcome := job.return_value, Exception):
        raise outcome
    assert isinstance(outcome, Outcome)
    return outcome


def compose_trial(
    fixed: list[str],
    values: dict[str, Value],
    folder: Path,
    settings: Sequence[str] = TRIAL,
) -> DictConfig:
    """Returns the configuration of a training, with Hydra's own; arguments as of `run`."""
    given = [*fixed, *(f"{key}={override_text(value)}" for key, value in values.items())]
    settings = [setting for setting in settings if key_of(setting) not in map(key_of, given)]
    cfg = copy.deepcopy(_composed(GlobalHydra.instance().hydra, (*fixed, *settings)))
    for key, value in values.items():
        OmegaConf.update(cfg, key, value)
    with open_dict(cfg), read_write(cfg.hydra):
        cfg.hydra.run.dir = str(folder)
        cfg.hydra.job.name = "train"
        cfg.hydra.overrides.task = [*given, *settings]
        if TRIAL[0] in settings:
            cfg.hydra.mode = RunMode.MULTIRUN  # as in a sweep: no tables, no costly figures
    return cfg


@lru_cache(maxsize=1)  # composing takes half a second, a quarter of a short trial
def _composed(hydra: Hydra, overrides: tuple[str, ...]) -> DictConfig:
    """The configuration that all trials of a search share; do not change it."""
    return compose("train", list(overrides), return_hydra_config=True)


@contextmanager
def task_config(fixed: list[str], values: dict[str, Value], folder: Path) -> Iterator[DictConfig]:
    """Yields the configuration of a trial as the trial has it, with Hydra's own in place."""
    before = HydraConfig.instance().cfg
    cfg = compose_trial(fixed, values, folder)
    with read_write(cfg.hydra):
        cfg.hydra.runtime.output_dir = str(folder)
    HydraConfig.instance().set_config(cfg)
    try:
        yield OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    finally:
        HydraConfig.instance().cfg = before


@contextmanager
def _log_file(file: Path) -> Iterator[None]:
    """Has what is logged go into a file, too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = LogFile(file, encoding="utf-8", errors="surrogateescape")
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def key_of(override: str) -> str:
    """Returns the key that an override sets."""
    return override.lstrip("+~").partition("=")[0]
