"""The three commands, run inside the test process: torch is imported once and not once a run."""

import atexit
import contextlib
import gc
import io
import json
import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from drawn_once import drawn_once

from fashion_transfer.commands import build
from fashion_transfer.data import cutout

ROOT = Path(__file__).resolve().parents[2]

# The interpreter's own filters, so that a warning reaches stderr as it would for a user.
PYTHONS_FILTERS = (
    ("default", DeprecationWarning, "__main__"),
    ("ignore", DeprecationWarning, ""),
    ("ignore", PendingDeprecationWarning, ""),
    ("ignore", ImportWarning, ""),
    ("ignore", ResourceWarning, ""),
)


@dataclass(frozen=True)
class Ran:
    """Exit status and output of a command that has ended."""

    status: int
    out: str
    err: str

    def succeeded(self) -> "Ran":
        assert self.status == 0, f"exit status {self.status}\n{self.out}\n{self.err}"
        return self

    def mistake(self) -> str:
        """The message for a user's mistake: exactly one line on stderr."""
        output = f"exit status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"
        assert self.status == 1, output
        assert "Traceback" not in self.out + self.err, output
        lines = self.err.splitlines()
        assert len(lines) == 1, output
        assert lines[0].startswith("error: "), output
        return lines[0].removeprefix("error: ")


@dataclass(frozen=True)
class Trained:
    """A training run that finished."""

    logs: Path
    folder: Path
    metrics: dict[str, Any]

    @property
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"


@contextlib.contextmanager
def _exit_handlers_called():
    """Calls the exit handlers of our own code at the end, as the end of a process would."""
    register, ours = atexit.register, []

    def collect(function, *args, **kwargs):
        if not function.__module__.startswith("fashion_transfer."):
            return register(function, *args, **kwargs)
        ours.append(lambda: function(*args, **kwargs))
        return function

    with mock.patch.object(atexit, "register", collect):
        yield
    for call in reversed(ours):
        call()


@contextlib.contextmanager
def _as_in_a_process_of_its_own(script: str, arguments: Sequence[str], cwd: Path | None):
    """Restores everything that a command changes in the interpreter."""
    loggers = [logging.getLogger(name) for name in ("", "lightning.pytorch", "lightning.fabric")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    interrupt, folder = signal.getsignal(signal.SIGINT), os.getcwd()
    with (
        _exit_handlers_called(),
        drawn_once(),
        # The tests have frozen what was there before; what they leave is to be found.
        mock.patch.object(gc, "freeze"),
        mock.patch.object(gc, "unfreeze"),
        # Composes everything once more, only to learn that no config here sets `hydra.mode`.
        mock.patch("hydra._internal.hydra.Hydra.get_mode", create=True, return_value=None),
        mock.patch.dict(os.environ),
        mock.patch.object(threading, "excepthook", threading.excepthook),
        mock.patch.object(sys, "argv", [script, *map(str, arguments)]),
        warnings.catch_warnings(),
    ):
        warnings.resetwarnings()
        for action, category, module in reversed(PYTHONS_FILTERS):
            warnings.filterwarnings(action, category=category, module=module)
        warnings.showwarning = lambda message, category, file, line, *_: sys.stderr.write(
            warnings.formatwarning(message, category, file, line)
        )
        for name in ("HYDRA_FULL_ERROR", "FASHION_TRANSFER_RUN"):
            os.environ.pop(name, None)
        cutout._session.cache_clear()  # or what it logs once was logged already
        build.FROZEN_BACKBONES.clear()
        torch.set_num_threads(1)  # the last bits of a sum depend on it
        os.chdir(cwd or folder)
        try:
            yield
        finally:
            os.chdir(folder)
            torch.set_num_threads(threads)
            torch.set_rng_state(generator)
            torch.use_deterministic_algorithms(False)
            signal.signal(signal.SIGINT, interrupt)  # Lightning ignores it once it was interrupted
            for logger, level, handlers in before:
                for handler in set(logger.handlers) - set(handlers):
                    handler.close()
                logger.handlers[:] = handlers
                logger.setLevel(level)


def _run(script: str, *arguments: str | Path, cwd: Path | None = None) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _as_in_a_process_of_its_own(script, list(map(str, arguments)), cwd),
    ):
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
            status = 0
        except SystemExit as end:  # with a text: as the interpreter does
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
        except BaseException:  # as the interpreter does
            traceback.print_exc()
            status = 1
    return Ran(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run() -> Callable[..., Ran]:
    """`run("train.py", *arguments, cwd=None)`: runs a command as a user would."""
    return _run


@pytest.fixture(scope="session")
def tiny(idx_dir, tmp_path_factory) -> Callable[..., list[str]]:
    """`tiny(logs, *more)`: arguments of a training run over the generated files."""
    cache = tmp_path_factory.mktemp("features")

    def arguments(logs: Path, *more: str) -> list[str]:
        return [
            "model.backbone.name=resnet18",
            "model.backbone.weights=null",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            f"data.dir={idx_dir}",
            "data.check_md5=false",
            "data.image_size=32",
            "data.images_per_class=8",
            "data.val_per_class=5",
            "data.synthetic.composites=16",
            "data.synthetic.controls=16",
            "data.batch_size=16",
            "data.min_epoch_size=1",
            "trainer.accelerator=cpu",
            "trainer.max_epochs=2",
            "model.optimizer.lr=0.0002",  # or no prediction would be wrong, and none uncertain
            f"paths.cache={cache}",
            f"paths.logs={logs}",
            *more,
        ]

    return arguments


@pytest.fixture(scope="session")
def plain() -> list[str]:
    """Overrides without loggers and progress bar, which take most of a tiny run's time."""
    return ["logger=none", "callbacks.rate=null", "callbacks.progress=null"]


def _finished(logs: Path) -> Trained:
    [file] = logs.glob("train/runs/*/metrics.json")
    return Trained(logs, file.parent, json.loads(file.read_text()))


@pytest.fixture(scope="session")
def train(run, tiny, plain) -> Callable[..., Trained]:
    """`train(logs, *more)`: a training run without loggers; `logs` must be new."""

    def finished(logs: Path, *more: str) -> Trained:
        run("train.py", *tiny(logs, *plain, *more)).succeeded()
        return _finished(logs)

    return finished


@pytest.fixture(scope="session")
def trained(run, tiny, tmp_path_factory) -> Trained:
    """One training run with the default loggers; do not change it."""
    logs = tmp_path_factory.mktemp("trained")
    run("train.py", *tiny(logs)).succeeded()
    return _finished(logs)


@pytest.fixture(scope="session")
def process() -> Callable[..., subprocess.CompletedProcess]:
    """`process(code_or_script, *arguments)`: a real process, of Python code or of a command."""

    def start(code: str, *arguments: str | Path) -> subprocess.CompletedProcess:
        program = [str(ROOT / code)] if code.endswith(".py") else ["-c", code]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HYDRA_")}
        return subprocess.run(
            [sys.executable, *program, *map(str, arguments)],
            env=environment | {"OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start
