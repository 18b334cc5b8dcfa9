"""Where numbers come from: processor, commit and date; and commands in processes of their own."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from fashion_transfer.errors import FashionTransferError

METRICS = "metrics.json"
"""What a finished run leaves at the top of its folder."""

BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"

QUIET = ("trainer.enable_progress_bar=false",)
"""Overrides of a `train.py` whose output goes to a file."""


def processor() -> str:
    """Returns the name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def commit(folder: Path | str = ".") -> str:
    """Returns the commit of a checkout, `+` after it if files differ from it, else `unknown`."""
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--exclude=*"]
    described = subprocess.run([*command, "--dirty=+"], capture_output=True, text=True)
    return described.stdout.strip() or "unknown"


def conditions() -> dict[str, Any]:
    """Returns what a number is to be read with, JSON types: commit, date, machine, torch."""
    return {
        "commit": commit(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": {"processor": processor(), "cores": os.cpu_count()},
        "torch": metadata.version("torch"),
    }


def log_progress(text: str) -> None:
    """Prints a line with the time to stderr: the table alone goes to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def execute(
    command: Sequence[str],
    output: Path,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> float:
    """Runs a command, its output into a file, and returns its wall seconds.

    Args:
        command: program and arguments.
        output: a file for stdout and stderr; its folder must exist.
        cwd: the folder to run in; None: this one.
        environment: of the process; None: this one's.

    Raises:
        FashionTransferError: it failed; the message ends in the last line of its output.
    """
    start = time.perf_counter()
    with output.open("w") as file:
        status = subprocess.run(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=cwd, env=environment
        ).returncode
    seconds = time.perf_counter() - start
    if status:
        last = output.read_text(errors="replace").strip().splitlines()[-1:]
        raise FashionTransferError(f"{' '.join(command)} failed: {' '.join(last)}")
    return seconds
