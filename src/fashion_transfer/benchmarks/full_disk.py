"""Commands whose disk is full, or can only be read: what they say, and what they leave.

An error of the disk is one line and exit status 1. What was whole stays whole, nothing that was
begun is left, and once there is room the run goes on as if nothing had been.
"""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from PIL import Image

from fashion_transfer.benchmarks.killing import DIFFERENT, LEFT, LOST, Process, count_left, same_run
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import read_checkpoint
from fashion_transfer.runs.folders import BEST, LAST

TRIED = "tried"
MANY_LINES = "errors of more or fewer lines than one"
DAMAGED = "damaged checkpoints"

TRAIN = ("debug=tiny", "trainer.max_epochs=4", "trainer.enable_progress_bar=false")
TIMEOUT = 300.0
"""Seconds after which a command hangs."""

LIMIT = """
import os, resource, sys
size, program = int(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
os.execv(program, sys.argv[2:])
"""
"""Starts a program whose files may have a number of bytes."""


def can_mount(folder: Path) -> bool:
    """Returns whether this user may mount a file system in an empty folder."""
    try:
        with mounted(folder, "size=64k"):
            return True
    except FashionTransferError:
        return False


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mounts an empty file system in a folder, which needs the rights for it.

    Args:
        folder: that exists.
        options: of the mount, such as `size=4m`.

    Raises:
        FashionTransferError: this is not allowed here.
    """
    _mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield
    finally:
        # Lazily: a process that hangs may use it still.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _mount(*options: str) -> None:
    try:
        ended = subprocess.run(["mount", *options], capture_output=True, text=True)
    except OSError as error:
        raise FashionTransferError(f"mount cannot be run: {error.strerror}") from error
    if ended.returncode:
        raise FashionTransferError(f"a file system cannot be mounted here: {ended.stderr.strip()}")


def run(command: Sequence[str], max_bytes: int | None = None) -> tuple[int, str]:
    """Runs a command, and returns its exit status and what it wrote to stderr.

    Args:
        command: script and arguments.
        max_bytes: that a file may have; None: no limit.

    Raises:
        FashionTransferError: it hangs.
    """
    started = [sys.executable, *command]
    if max_bytes is not None:
        started = [sys.executable, "-c", LIMIT, str(max_bytes), *started]
    try:
        ended = subprocess.run(started, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise FashionTransferError(f"{' '.join(command)} hangs") from error
    return ended.returncode, ended.stderr


def is_one_line(status: int, errors: str, disk: Path) -> bool:
    """Returns whether a command has ended with one line that names a file on a disk."""
    lines = errors.strip().splitlines()
    fine = status == 1 and len(lines) == 1 and lines[0].startswith("error: ")
    if not fine or str(disk) not in lines[0]:
        log_progress(f"status {status}: {errors.strip()[-2000:]}")
        return False
    return True


def count_full(
    scratch: Path, tries: int, seed: int, overrides: Sequence[str], limited: bool = False
) -> dict[str, int]:
    """Returns what goes wrong with runs whose disk is full at some moment.

    Args:
        scratch: an empty folder.
        tries: number of runs.
        seed: of the sizes of their disks, each too small for a run.
        overrides: of every run.
        limited: limit the size of their files instead, which everybody may do.

    Raises:
        FashionTransferError: no file system can be mounted here, or a run hangs.
    """
    counts = Counter({TRIED: 0, MANY_LINES: 0, DAMAGED: 0, LEFT: 0, LOST: 0, DIFFERENT: 0})
    moments = random.Random(seed)
    whole = scratch / "whole"
    given = [*TRAIN, *overrides]
    Process([*given, f"hydra.run.dir={whole}"], scratch / "whole.log").wait()
    sizes = [file.stat().st_blocks * 512 for file in whole.rglob("*") if file.is_file()]
    while counts[TRIED] < tries:
        counts[TRIED] += 1
        size = moments.randrange(2**12, max(sizes) if limited else sum(sizes))
        log_progress(f"disk {counts[TRIED]} of {tries}: {size} bytes")
        disk = scratch / f"disk-{counts[TRIED]}"
        disk.mkdir()
        folder = disk / "run"
        command = ["train.py", *given, f"hydra.run.dir={folder}"]
        with nullcontext() if limited else mounted(disk, f"size={size}"):
            status, errors = run(command, size if limited else None)
            counts[MANY_LINES] += bool(status) and not is_one_line(status, errors, disk)
            counts[DAMAGED] += sum(_damaged(folder / name) for name in (BEST, LAST))
            counts[LEFT] += count_left(folder)
            if not limited:
                _mount("-o", "remount,size=256m", str(disk))
            if status:
                status, errors = run(command)
            if status:
                log_progress(errors)
                counts[LOST] += 1
            else:
                counts[DIFFERENT] += not same_run(whole, folder)
    return dict(counts)


def count_read_only(scratch: Path, overrides: Sequence[str]) -> dict[str, int]:
    """Returns what goes wrong with every command on a disk that can only be read.

    Args:
        scratch: an empty folder.
        overrides: of the commands that have a data set.

    Raises:
        FashionTransferError: no file system can be mounted here, or a command hangs.
    """
    counts = Counter({TRIED: 0, MANY_LINES: 0})
    whole, disk = scratch / "logs" / "train" / "runs" / "whole", scratch / "disk"
    given = [*TRAIN, *overrides]
    Process([*given, f"hydra.run.dir={whole}"], scratch / "whole.log").wait()
    image = scratch / "image.png"
    Image.new("RGB", (28, 28)).save(image)
    disk.mkdir()
    logs, checkpoint = f"paths.logs={disk}", f"ckpt_path={whole / BEST}"
    commands = [
        ["train.py", *given, logs],
        ["train.py", *given, f"paths.logs={scratch}", "store=true", f"paths.cache={disk}"],
        ["train.py", "-m", *given, logs, "seed=0,1"],
        ["search.py", *given, logs, "trials=2"],
        ["evaluate.py", checkpoint, logs],
        ["predict.py", checkpoint, logs, str(image)],
        ["export.py", checkpoint, f"output={disk / 'classifier.onnx'}"],
        ["app.py", checkpoint, logs],
        ["runs.py", "--logs", str(scratch / "logs"), "--all", "--output", str(disk / "runs.html")],
    ]
    with mounted(disk, "ro"):
        for command in commands:
            counts[TRIED] += 1
            log_progress(f"read-only: {command[0]}")
            counts[MANY_LINES] += not is_one_line(*run(command), disk)
    return dict(counts)


def _damaged(checkpoint: Path) -> bool:
    """Returns whether a checkpoint is there and cannot be read."""
    if not checkpoint.is_file():
        return False
    try:
        read_checkpoint(checkpoint)
    except FashionTransferError:
        return True
    return False
