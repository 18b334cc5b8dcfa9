"""The record of a run, `run.json`: what it was started with, and how it ended.

It is written when the run starts and again when it ends, so that a run that was killed can be told
from one that is under way: both are recorded as running, but only one of them holds its lock.
"""

import json
import math
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from filelock import Timeout
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.runs.folders import METRICS, YAML_LOADER, run_lock

RECORD = "run.json"
FORMAT = 1

Status = Literal["running", "finished", "failed", "interrupted", "pruned"]
State = Literal["running", "finished", "failed", "interrupted", "pruned", "killed"]

NOT_COMPARED = ("ckpt_path", "sweep.resume")
"""Keys that two starts of one run may differ in."""


class RunPruned(Exception):
    """Ends a run that is not worth going on with."""


@dataclass(frozen=True)
class RunRecord:
    """What a run was started with, and how it ended.

    Attributes:
        folder: of the run.
        status: "running" from its start to its end.
        error: of a failed run, one line.
        overrides: of the configuration, as the user gave them.
        choices: file of each configuration group.
        config: all values of the configuration by dotted key, JSON types; paths in the run folder
            begin with `./`.
        command: repeats this run alone.
        commit: of the source, with `+changes` where it was edited since; None without git.
        started: date and time, ISO 8601.
        ended: likewise; None while it is running.
    """

    folder: Path
    status: Status = "running"
    error: str = ""
    overrides: list[str] = field(default_factory=list)
    choices: dict[str, str | None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    commit: str | None = None
    started: str = ""
    ended: str | None = None

    @property
    def debug(self) -> bool:
        """Whether it was started with a file of `conf/debug`, and so has learned nothing."""
        return self.choices.get("debug") is not None

    @property
    def state(self) -> State:
        """Its status, or "killed" if it was running and its process is gone."""
        if self.status != "running":
            return self.status
        # The metrics come first, then the record.
        if (self.folder / METRICS).is_file():
            return "finished"
        try:
            with run_lock(self.folder):
                return "killed"
        except Timeout:
            return "running"
        except OSError:  # a folder that can only be read
            return "killed"

    def same_run(self, other: "RunRecord") -> bool:
        """Whether another record is of a run with the same configuration."""
        return self._compared() == other._compared()

    def _compared(self) -> dict[str, Any]:
        return {key: value for key, value in self.config.items() if key not in NOT_COMPARED}


def new_record(folder: Path, cfg: DictConfig) -> RunRecord:
    """Returns the record of a run that starts now.

    Args:
        folder: of the run.
        cfg: its configuration, composed by Hydra.
    """
    hydra = HydraConfig.get()
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # `${…}` as it is
    assert isinstance(overrides, list)
    own = [o for o in overrides if o.partition("=")[0] not in NOT_COMPARED]
    return RunRecord(
        folder,
        overrides=overrides,
        choices={**hydra.runtime.choices, **_lists_of_choices(overrides, cfg)},
        config=flatten(OmegaConf.to_container(cfg, resolve=True), folder),
        command=shlex.join(["python", "train.py", *options_of(hydra), *own]),
        commit=source_commit(),
        started=_now(),
    )


def options_of(hydra: HydraConf) -> list[str]:
    """Returns the arguments that say where the user's own configuration files are, if any do.

    Args:
        hydra: Hydra's own configuration of the run.
    """
    sources = hydra.runtime.config_sources
    folders = [source.path for source in sources if source.provider == "command-line"]
    own = OmegaConf.to_container(hydra.overrides, resolve=False)
    assert isinstance(own, dict)
    paths = [o for o in own["hydra"] if o.startswith("hydra.searchpath=")]
    return ["--config-dir", *folders, *paths] if folders else paths


@contextmanager
def recording(record: RunRecord, explain: Callable[[BaseException], str]) -> Iterator[None]:
    """Writes a record, and writes it again with the status that the run ends with.

    Args:
        record: of a run that starts now.
        explain: gives one line for an error.
    """
    write_record(record)
    status: Status = "finished"
    error_line = ""
    try:
        yield
    except RunPruned:
        status = "pruned"
        raise
    except (KeyboardInterrupt, SystemExit):
        status = "interrupted"
        raise
    except BaseException as error:
        status, error_line = "failed", explain(error)
        raise
    finally:
        # A disk that is full must not hide the error that it caused.
        with suppress(OSError):
            write_record(replace(record, status=status, error=error_line, ended=_now()))


def write_record(record: RunRecord) -> None:
    """Writes `run.json`, whole or not at all."""
    values = {"format": FORMAT} | asdict(record)
    del values["folder"]
    write_text(record.folder / RECORD, json.dumps(values, indent=1) + "\n")


def read_record(folder: Path) -> RunRecord:
    """Returns the record of a run.

    A run of an earlier version has none: it is read from `.hydra/`, with what is known.

    Args:
        folder: of the run.

    Raises:
        FashionTransferError: there is none, or it cannot be read.
    """
    file = folder / RECORD
    try:
        if not file.is_file():
            return _read_hydra(folder)
        values = json.loads(file.read_bytes())
        names = RunRecord.__dataclass_fields__.keys() - {"folder"}
        return RunRecord(folder, **{name: values[name] for name in names})
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise FashionTransferError(
            f"{folder} has no record that can be read ({type(error).__name__}): is it a run folder?"
        ) from error


def read_metrics(folder: Path) -> dict[str, Any]:
    """Returns the metrics of a run, nan for null; none if it has not finished.

    Raises:
        FashionTransferError: they cannot be read.
    """
    file = folder / METRICS
    try:
        metrics = json.loads(file.read_bytes()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise FashionTransferError(f"{file} cannot be read: {error}") from error
    if not isinstance(metrics, dict):
        raise FashionTransferError(f"{file} cannot be read: it holds no object")
    return {name: math.nan if value is None else value for name, value in metrics.items()}


def flatten(node: Any, folder: Path | None = None, prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested dictionaries by dotted key.

    Args:
        node: dictionaries of JSON types.
        folder: of the run; paths in it are returned relative to it.
        prefix: of the keys.
    """
    values: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            values |= flatten(value, folder, f"{key}.")
        elif isinstance(value, str) and folder is not None:
            values[key] = value.replace(str(folder), ".")
        else:
            values[key] = value
    return values


@cache
def source_commit() -> str | None:
    """Returns the commit of the source, with `+changes` where it was edited since.

    None where the source is no checkout, or there is no git.
    """
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None

    def git(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        if commit.returncode:
            return None
        changed = git("diff", "--quiet", "HEAD", "--", "src", "conf", "train.py").returncode
    except OSError:
        return None
    return commit.stdout.strip() + ("+changes" if changed else "")


def _lists_of_choices(overrides: list[str], cfg: DictConfig) -> dict[str, str]:
    """Returns groups that have several files, as in `debug=[tiny,profiler]`: Hydra tells of none.

    A key of the configuration that is a list is no group.
    """
    pairs = (override.lstrip("+").partition("=") for override in overrides)
    lists = {key: value for key, _, value in pairs if value.startswith("[")}
    return {key: value for key, value in lists.items() if "." not in key and key not in cfg}


def _read_hydra(folder: Path) -> RunRecord:
    def read(name: str) -> Any:
        text = (folder / ".hydra" / f"{name}.yaml").read_text(encoding="utf-8")
        return yaml.load(text, YAML_LOADER)

    overrides = read("overrides")
    finished = folder / METRICS
    modified = finished.stat().st_mtime if finished.is_file() else None
    started = (folder / ".hydra" / "config.yaml").stat().st_mtime
    return RunRecord(
        folder,
        status="running" if modified is None else "finished",
        overrides=overrides,
        choices=read("hydra")["hydra"]["runtime"]["choices"],
        config=flatten(read("config"), folder),
        command=shlex.join(["python", "train.py", *overrides]),
        started=_iso(started),
        ended=None if modified is None else _iso(modified),
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
