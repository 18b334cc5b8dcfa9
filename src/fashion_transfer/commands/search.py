"""Searches for the best values: runs the trials of a study, tests the winner, writes the report."""

import logging
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.commands.schema import check_config
from fashion_transfer.commands.search_trial import TRIAL, Outcome, key_of, run, task_config
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.files import Lock
from fashion_transfer.runs.folders import LAST
from fashion_transfer.runs.record import flatten, options_of, read_metrics
from fashion_transfer.search.callback import StudyCallback
from fashion_transfer.search.pruning import build_pruner
from fashion_transfer.search.report import trial_line, write_report
from fashion_transfer.search.space import Parameter, override_text, read_space
from fashion_transfer.search.study import SearchStudy

log = logging.getLogger(__name__)

OWN_KEYS = ("study", "study_seed", "trials", "pruner", "search", "test")
"""Keys of the search, which its trials do not get. They never test; the winner does."""

GIVE_UP_AFTER = 3
"""Trials that failed, and no other, after which a search ends: it would not get better."""


def search(cfg: DictConfig) -> None:
    """Runs the study that `conf/search.yaml` describes, or what is left of it.

    Raises:
        FashionTransferError: a mistake in the configuration, or no trial can be run.
        KeyboardInterrupt: the user stopped it; the same command continues.
    """
    _check(cfg)
    folder = Path(HydraConfig.get().runtime.output_dir)
    fixed = [o for o in HydraConfig.get().overrides.task if key_of(o).split(".")[0] not in OWN_KEYS]
    node: Any = OmegaConf.to_container(cfg.search, resolve=True)
    space = read_space(node, map(key_of, fixed))
    definition = _definition(cfg, fixed, space, folder)
    max_epochs = definition.get("trainer.max_epochs")
    limit = max_epochs if isinstance(max_epochs, int) else None
    pruner = build_pruner(cfg.pruner, limit)
    study = SearchStudy(folder, definition, cfg.study_seed, cfg.monitor.mode, pruner)
    command = shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    try:
        with _each_message_once():
            _run_trials(study, space, fixed, cfg)
        _finish(study, fixed, cfg)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"`{command}` continues the study") from None
    finally:
        study.close()


def _check(cfg: DictConfig) -> None:
    """Checks the keys of the search itself."""
    for name, lowest in (("trials", 1), ("study_seed", 0)):
        value = cfg[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise ArgumentError(name, f"must be a whole number from {lowest}, got {value!r}")
    name = str(cfg.study)
    if not name or name.startswith(".") or Path(name).name != name:
        raise ArgumentError("study", f"must be a name for a folder, got {name!r}")
    metric = cfg.monitor.metric
    if metric is None or not metric.startswith("val/"):
        raise FashionTransferError(
            f"monitor.metric must be one of validation for a search, such as val/loss, got {metric}"
        )
    if not isinstance(cfg.test, bool):
        raise ArgumentError("test", f"must be true or false, got {cfg.test!r}")


def _definition(
    cfg: DictConfig, fixed: list[str], space: Sequence[Parameter], folder: Path
) -> dict[str, Any]:
    """Returns what is searched, by key; checks that the ends of all ranges are possible values."""
    extremes = [parameter.extremes() for parameter in space]
    for column in range(max(map(len, extremes))):
        values = [ends[min(column, len(ends) - 1)] for ends in extremes]
        given = dict(zip((p.key for p in space), values, strict=True))
        with task_config(fixed, given, folder) as task:
            check_config(task)
    with task_config(fixed, {}, folder) as task:
        config = flatten(OmegaConf.to_container(task, resolve=True), folder)
    own = {"study_seed": cfg.study_seed, "pruner": cfg.pruner}
    ranges = {f"search.{parameter.key}": parameter.describe() for parameter in space}
    return own | ranges | {k: v for k, v in config.items() if f"search.{k}" not in ranges}


def _run_trials(
    study: SearchStudy, space: tuple[Parameter, ...], fixed: list[str], cfg: DictConfig
) -> None:
    """Runs trials until the study has all of them."""
    started, done = time.monotonic(), 0
    metric = cfg.monitor.metric
    while trial := study.claim(space, cfg.trials):
        number, begun = trial.number, time.monotonic()
        callback = StudyCallback(study, number, metric)
        outcome = run(fixed, dict(trial.params), study.run_folder(number), [callback])
        if outcome.is_mistake and not study.has_outcome():
            # All others would fail like the first one: the same command, put right, begins anew.
            study.discard_first()
            raise FashionTransferError(outcome.message)
        _note(study, number, outcome, metric)
        done += 1
        left = cfg.trials - len(study.trials()) + len(study.running())
        minutes = (time.monotonic() - started) / done * left / 60
        seconds = time.monotonic() - begun
        log.info(trial_line(study, number, cfg.trials, seconds, minutes))
        if outcome.status == "failed" and study.all_failed(GIVE_UP_AFTER):
            raise FashionTransferError(
                f"all of the first {GIVE_UP_AFTER} trials failed, the last one with: "
                f"{outcome.message} (its log is in {study.run_folder(number)})"
            )


def _note(study: SearchStudy, number: int, outcome: Outcome, metric: str) -> None:
    """Tells the study how a trial ended; what nothing will continue is removed."""
    if outcome.status == "pruned":
        shutil.rmtree(study.run_folder(number) / "checkpoints", ignore_errors=True)
        study.prune(number, outcome.message)
    elif outcome.status == "failed" or outcome.value is None:
        study.fail(number, outcome.message or f"{metric} was not measured")
    else:
        (study.run_folder(number) / LAST).unlink(missing_ok=True)
        study.complete(number, outcome.value)


def _finish(study: SearchStudy, fixed: list[str], cfg: DictConfig) -> None:
    """Tests the winner, unless it is tested already, and writes the report."""
    if study.running():
        log.info("the last trials are under way in another process, which will end the study")
        return
    best = study.best()
    command = test_metrics = None
    if best is None:
        log.warning("no trial has finished: there is no winner")
    else:
        values = [f"{key}={override_text(value)}" for key, value in best.params.items()]
        options = options_of(HydraConfig.get())
        command = shlex.join(["python", "train.py", *options, *fixed, *values])
        if cfg.test:
            with Lock(study.folder / "winner.lock"):
                test_metrics = _test(study, best.number, fixed, cfg.monitor.metric)
    with study.lock:  # another process may have found the end, too
        write_report(study, cfg.monitor.metric, command, test_metrics)


def _test(study: SearchStudy, number: int, fixed: list[str], metric: str) -> dict[str, Any]:
    """Trains the winner once more, as its command would, and returns its metrics, test included."""
    trial = study.trials()[number]
    folder = study.folder / "winner" / study.run_folder(number).name
    outcome = run(fixed, dict(trial.params), folder, settings=TRIAL[1:])
    if outcome.status == "failed":
        log.error("the winner, trial %d, could not be tested: %s", number, outcome.message)
        return {}
    if outcome.value != trial.value:
        log.warning(
            "trained once more, trial %d has %s %s in the place of %s: this device's arithmetic "
            "varies, or the source was edited", number, metric, outcome.value, trial.value
        )  # fmt: skip
    return read_metrics(folder)


@contextmanager
def _each_message_once() -> Iterator[None]:
    """Has the terminal show what all trials log once; their files have all of it."""
    seen: set[str] = set()

    def is_new(entry: logging.LogRecord) -> bool:
        message = entry.getMessage()
        if message in seen:
            return False
        seen.add(message)
        return True

    handlers = [h for h in logging.getLogger().handlers if not isinstance(h, logging.FileHandler)]
    for handler in handlers:
        handler.addFilter(is_new)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(is_new)
