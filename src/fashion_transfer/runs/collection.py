"""The training runs under a folder, each with what a table shows of it."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import user_path
from fashion_transfer.runs.differences import is_number, settings
from fashion_transfer.runs.record import RECORD, RunRecord, read_metrics, read_record

UNREADABLE = "unreadable"
"""Status of a run whose files are damaged."""

WITHOUT_RUNS = {"checkpoints", "csv", "evaluate", "mlruns", "tensorboard", "wandb"}
"""Folders in a run folder that are not searched for runs."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_(?=[0-9a-f]{8}$)")


@dataclass
class Run:
    """A training run.

    Args:
        folder: of the run.
        path: of its folder, relative to the folder of all runs.
        record: None where it is damaged.
        metrics: of `metrics.json`; empty where there are none.
        problem: why it cannot be read; blank if it can.
        name: short and unambiguous.
    """

    folder: Path
    path: str
    record: RunRecord | None
    metrics: dict[str, Any]
    problem: str = ""
    name: str = ""

    @cached_property
    def status(self) -> str:
        """How it ended; "killed" if its process is gone, "unreadable" if its files are damaged."""
        return UNREADABLE if self.record is None or self.problem else self.record.state

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What its metrics depend on, see `differences.settings`."""
        return settings(self.record) if self.record else {}

    @property
    def debug(self) -> bool:
        """Whether it was a debug run, which has learned nothing."""
        return self.record is not None and self.record.debug

    @cached_property
    def row(self) -> dict[str, Any]:
        """Everything a table can show, by column name; what is not known is left out."""
        seconds = [v for k, v in self.metrics.items() if k.startswith("seconds/") and is_number(v)]
        sha256 = str(self.metrics.get("weights/sha256", ""))
        values = {
            "run": self.name,
            "status": self.status,
            "seconds": float(sum(seconds)) if seconds else None,
            "weights": " ".join([str(self.metrics.get("weights/name", "")), sha256[:8]]).strip(),
            "error": self.problem,
        }
        if record := self.record:
            values |= {
                "commit": record.commit,
                "date": local_time(record.started),
                "command": record.command,
                "error": record.error or self.problem,
            }
        present = {name: value for name, value in values.items() if value not in (None, "")}
        return self.settings | self.metrics | present


def collect(logs: Path) -> list[Run]:
    """Returns all training runs under a folder, the one that started last first.

    Args:
        logs: the folder of all runs, or one in it.
    """
    runs = [_read(folder, logs) for folder in run_folders(logs)]
    runs.sort(key=lambda run: (run.record.started if run.record else "", run.path), reverse=True)
    for run, name in zip(runs, short_paths([run.path for run in runs]), strict=True):
        run.name = name
    return runs


def run_folders(folder: Path) -> Iterator[Path]:
    """Yields the folders of training runs in a folder, at any depth; hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    except OSError:
        return
    is_run = RECORD in names or (
        ".hydra" in names and ("train.log" in names or "checkpoints" in names)
    )
    if is_run:
        yield folder
    for name, is_folder in names.items():
        if is_folder and not name.startswith(".") and not (is_run and name in WITHOUT_RUNS):
            yield from run_folders(folder / name)


def short_paths(paths: Sequence[str]) -> list[str]:
    """Returns the shortest unambiguous end of each path: `0` of a sweep as `6c145aed/0`.

    The date and time in front of a run folder's name are left out.
    """
    parts = [[_STAMP.sub("", part) for part in path.split("/")] for path in paths]
    length = [1 + p[-1].isdigit() for p in parts]
    while True:
        names = ["/".join(p[-n:]) for p, n in zip(parts, length, strict=True)]
        count = Counter(names)
        longer = [i for i, n in enumerate(names) if count[n] > 1 and length[i] < len(parts[i])]
        if not longer:
            # Two that differ in their date alone.
            return [p if count[n] > 1 else n for p, n in zip(paths, names, strict=True)]
        for index in longer:
            length[index] += 1


def choose(text: str, runs: Sequence[Run], logs: Path) -> list[Run]:
    """Returns the run that a path, or a part of its name, stands for; those of a folder of runs.

    Args:
        text: a folder, or an unambiguous part of its path in `logs`.
        runs: all of them.
        logs: their folder.

    Raises:
        FashionTransferError: no run or more than one fits.
    """
    wanted = text.strip("/")
    with_path = user_path(text)
    if with_path.is_dir() and with_path.resolve().is_relative_to(logs.resolve()):
        wanted = with_path.resolve().relative_to(logs.resolve()).as_posix()
        if inside := [r for r in runs if wanted == "." or _is_in(r.path, wanted)]:
            return inside
    named = [run for run in runs if run.name == wanted]
    folders = {prefix for run in runs if (prefix := _shortest_prefix(run.path, wanted))}
    exact = {folder for folder in folders if f"/{folder}".endswith(f"/{wanted}")}
    if not named and len(exact or folders) > 1:
        some = sorted(exact or folders)
        raise FashionTransferError(
            f"{text} fits {len(some)} folders: {', '.join(some[:3])}{', …' if some[3:] else ''}"
        )
    if not named and not folders:
        raise FashionTransferError(
            f"no run under {logs} has {text} in its path: `runs.py` lists them"
        )
    return named or [run for run in runs if _is_in(run.path, *(exact or folders))]


def local_time(started: str) -> str:
    """Returns a date and time in the local time zone, without seconds; blank if it is none."""
    try:
        return datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return ""


def _read(folder: Path, logs: Path) -> Run:
    path = folder.relative_to(logs).as_posix()
    path = folder.resolve().name if path == "." else path
    try:
        record = read_record(folder)
    except FashionTransferError as error:
        return Run(folder, path, None, {}, _one_line(error))
    types = {"overrides": list, "choices": dict, "config": dict, "started": str, "command": str}
    wrong = [name for name, type_ in types.items() if not isinstance(getattr(record, name), type_)]
    if wrong:
        return Run(
            folder, path, None, {}, f"{folder}: {', '.join(wrong)} of its record cannot be read"
        )
    try:
        return Run(folder, path, record, read_metrics(folder))
    except FashionTransferError as error:
        return Run(folder, path, record, {}, _one_line(error))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _shortest_prefix(path: str, text: str) -> str:
    """Returns the folder on a path, the outermost one, whose path has a text in it; else blank."""
    position = path.find(text)
    if position < 0:
        return ""
    end = path.find("/", position + len(text))
    return path if end < 0 else path[:end]
