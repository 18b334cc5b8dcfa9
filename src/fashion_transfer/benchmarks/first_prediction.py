"""The time from the start of `predict.py` to its first prediction, of two revisions in turn."""

import statistics
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fashion_transfer.benchmarks.evaluate_job import TRAINING
from fashion_transfer.benchmarks.machine import BEST, execute, log_progress
from fashion_transfer.benchmarks.product_pictures import Mask, cut_out, product_picture
from fashion_transfer.benchmarks.revisions import Revision, absolute_paths
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.data import find_images, get_preparation, read_image
from fashion_transfer.data.preparation import CUT_OUT, PLAIN_GROUND, FashionMNISTPreparation
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import quoted

FEW_IMAGES = ("data.images_per_class=20", "data.val_per_class=10", "data.synthetic=null")
"""Of a training run for a checkpoint that may be a poor one: its first prediction takes as long."""

PICTURE = "uploaded"
"""Name of the file."""


def first_prediction_rows(
    base: Revision,
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    repeats: int,
    mask: Mask,
    sources: Path,
) -> list[Row]:
    """Times `predict.py` of two revisions in turn, from process start to the printed answer.

    Each has a Fashion-MNIST checkpoint of its own. One picture is a product picture on white, the
    other a photo whose item today's preparation cuts out. The first call of each does not count.

    Args:
        base: compared with.
        head: measured.
        scratch: a folder for runs and pictures.
        overrides: of both training runs, with today's keys.
        repeats: predictions of each, whose median counts.
        mask: cuts the item out for the product picture.
        sources: a folder of photos.

    Raises:
        FashionTransferError: a command failed, or no picture is cut out.
    """
    overrides = [*overrides, *FEW_IMAGES]
    revisions = {"base": base, "head": head}
    checkpoints = {
        name: train_checkpoint(revision, scratch / f"first-{name}", overrides)
        for name, revision in revisions.items()
    }
    pictures = first_pictures(find_images([sources]), scratch / "first", mask)
    seconds: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        log_progress(f"first prediction, {repeat} of {repeats}")
        for picture, file in pictures.items():
            for name, revision in revisions.items():
                given = [str(file), f"ckpt_path={quoted(checkpoints[name])}"]
                command = revision.command("predict", given, scratch / f"first-{name}" / "predict")
                # The user's own cache: it has the net that cuts items out.
                taken = seconds_to_prediction(command, revision, scratch / f"first-{name}.txt")
                if repeat:
                    seconds.setdefault((picture, name), []).append(taken)
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    rows = []
    for picture, what in (("plain", "no cut-out"), ("cut_out", "cut-out")):
        title, before = f"first answer of predict.py, {what}", medians[picture, "base"]
        name = f"first_prediction_{picture}"
        rows += [
            bench_row(f"{name}_base", f"{title}, {base.name}", before, "s"),
            bench_row(
                name,
                f"{title}; ratio: to {base.name}",
                medians[picture, "head"],
                "s",
                ratio=medians[picture, "head"] / before,
            ),
        ]
    return rows


def first_pictures(photos: Sequence[Path], folder: Path, mask: Mask) -> dict[str, Path]:
    """Writes a product picture on white, `plain`, and a photo to `cut_out`; returns their paths.

    Args:
        photos: files to make them of.
        folder: for the files; it is made.
        mask: cuts the item out for the product picture.

    Raises:
        FashionTransferError: the preparation treats none of the photos so.
    """
    preparation = get_preparation(FashionMNISTPreparation.name)
    pictures = {}
    for name, treatment in (("plain", PLAIN_GROUND), ("cut_out", CUT_OUT)):
        for photo in photos:
            image = read_image(photo)
            if name == "plain":
                item = cut_out(image, mask)
                if item is None:
                    continue
                image = product_picture([item], "white")
            if preparation.prepare(image).treatment == treatment:
                break
        else:
            raise FashionTransferError(
                f"no picture is prepared as {treatment!r}: get the cut-out net by `make cutout`"
            )
        pictures[name] = folder / name / f"{PICTURE}.png"
        pictures[name].parent.mkdir(parents=True)
        colours = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(colours)).save(pictures[name])
    return pictures


def seconds_to_prediction(command: Sequence[str], revision: Revision, errors: Path) -> float:
    """Returns the seconds from the start of a `predict.py` to the row of its table.

    Args:
        command: program and arguments, for a picture named `PICTURE`.
        revision: that it is of.
        errors: a file for what it writes to stderr.

    Raises:
        FashionTransferError: it failed, or gave no answer.
    """
    wide = {"COLUMNS": "400", "PYTHONUNBUFFERED": "1"}  # the row of a picture is one line, at once
    environment = revision.environment() | wide
    seconds: float | None = None
    start = time.perf_counter()
    with (
        errors.open("w") as stderr,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=revision.root,
            env=environment,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if seconds is None and PICTURE in line and "%" in line:
                seconds = time.perf_counter() - start
    if process.returncode or seconds is None:
        last = " ".join(errors.read_text(errors="replace").strip().splitlines()[-1:])
        raise FashionTransferError(f"{' '.join(command)} gave no answer: {last}")
    return seconds


def train_checkpoint(revision: Revision, folder: Path, overrides: Sequence[str]) -> Path:
    """Returns a checkpoint that a revision trains on a store of its own."""
    folder.mkdir(parents=True)
    log_progress(f"{revision.name}: train.py for a checkpoint")
    command = revision.command("train", [*absolute_paths(overrides), *TRAINING], folder / "run")
    environment = revision.environment(folder / "cache")
    execute(command, folder / "train.txt", revision.root, environment)
    return (folder / "run" / BEST).resolve()
