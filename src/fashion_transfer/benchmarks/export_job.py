"""What an export gives and costs: its predictions beside the checkpoint's, and its first answer."""

import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from fashion_transfer.benchmarks.first_prediction import (
    FEW_IMAGES,
    PICTURE,
    seconds_to_prediction,
    train_checkpoint,
)
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.photo_jobs import EXAMPLE as WARDROBE
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.benchmarks.saved_test_images import save_as_png
from fashion_transfer.data import find_images, read_image
from fashion_transfer.data.idx_files import find_files, load_pair
from fashion_transfer.export import compare, write_onnx
from fashion_transfer.models import Classifier, load_classifier
from fashion_transfer.paths import quoted

EXAMPLE = Path("docs") / "examples" / "predict_onnx.py"

IMAGES = 100
"""Of each set, on which predictions are compared."""


def export_rows(
    head: Revision,
    checkpoints: Mapping[str, Path],
    data: Path,
    photos: Path,
    scratch: Path,
    repeats: int,
) -> list[Row]:
    """Compares exports with their checkpoints, and their first answers with those of `predict.py`.

    Predictions are compared on test images of Fashion-MNIST as PNG files, and on photos, both
    prepared as the checkpoint names it.

    Args:
        head: whose `predict.py` and example answer.
        checkpoints: by name.
        data: folder of the Fashion-MNIST files.
        photos: folder of photos, of which some from all over it are taken.
        scratch: a folder for exports and pictures.
        repeats: answers of each, whose median counts.

    Raises:
        FashionTransferError: a checkpoint cannot be exported, a command failed, or files are
            missing.
    """
    sets = {
        "fashion_mnist": write_test_images(data, scratch / "test-images", IMAGES),
        "photos": spread(find_images([photos]), IMAGES),
    }
    rows: list[Row] = []
    for name, checkpoint in checkpoints.items():
        log_progress(f"export of {name}: {checkpoint}")
        exported = scratch / f"{name}.onnx"
        write_onnx(load_classifier(checkpoint, precision="float32"), exported)
        for pictures, files in sets.items():
            log_progress(f"export of {name} on {len(files)} images of {pictures}")
            rows += parity_rows(name, checkpoint, exported, pictures, files)
        picture = sets["photos"][0]
        rows += start_rows(name, head, checkpoint, exported, picture, scratch, repeats)
    return rows


def train_checkpoints(head: Revision, scratch: Path, overrides: Sequence[str]) -> dict[str, Path]:
    """Returns a checkpoint of Fashion-MNIST and one of photos, by name, trained on few images.

    Args:
        head: that trains them.
        scratch: a folder for the runs.
        overrides: of both.

    Raises:
        FashionTransferError: a command failed.
    """
    recipes = {
        "fashion_mnist": FEW_IMAGES,
        "photo": ("data=folder", f"data.dir={quoted(Path(WARDROBE).resolve())}"),
    }
    return {
        name: train_checkpoint(head, scratch / f"export-{name}", [*overrides, *recipe])
        for name, recipe in recipes.items()
    }


def parity_rows(
    name: str, checkpoint: Path, exported: Path, pictures: str, files: Sequence[Path]
) -> list[Row]:
    """How an export differs from its checkpoint in float32 and in bfloat16, on image files.

    Args:
        name: of the checkpoint.
        checkpoint: its file.
        exported: what `write_onnx` wrote from it.
        pictures: name of the set of files.
        files: images, which are prepared once.
    """
    classifier = load_classifier(checkpoint, precision="float32")
    prepared = [classifier.preparation.prepare(read_image(file)) for file in files]
    full = compare(exported, classifier, prepared)
    half = compare(exported, _on_cpu(checkpoint, "bfloat16"), prepared)
    count, row = len(files), f"export_{name}_{pictures}"
    title = f"export of {name} on {count} images of {pictures}"
    agreed = 1 - half.labels / count
    return [
        bench_row(
            f"{row}_difference", f"{title}: largest difference", 1e6 * full.difference, "ppm"
        ),
        bench_row(f"{row}_labels", f"{title}: other labels", full.labels, "images"),
        bench_row(f"{row}_warnings", f"{title}: other warnings", full.decisions, "images"),
        bench_row(f"{row}_bfloat16", f"{title}: labels as in bfloat16", 100 * agreed, "%"),
    ]


def start_rows(
    name: str,
    head: Revision,
    checkpoint: Path,
    exported: Path,
    photo: Path,
    scratch: Path,
    repeats: int,
) -> list[Row]:
    """Times the example and `predict.py` in turn, from process start to the printed prediction.

    The first call of each does not count.

    Args:
        name: of the checkpoint.
        head: whose `predict.py` and example are run.
        checkpoint: its file.
        exported: what `write_onnx` wrote from it.
        photo: an image file.
        scratch: a folder for a copy of it and for the run.
        repeats: predictions of each, whose median counts.

    Raises:
        FashionTransferError: a command failed.
    """
    picture = scratch / f"{PICTURE}{photo.suffix}"
    shutil.copyfile(photo, picture)
    given = [str(picture.resolve()), f"ckpt_path={quoted(checkpoint.resolve())}", "device=cpu"]
    example = [str(head.root / EXAMPLE), str(exported.resolve()), str(picture.resolve())]
    commands = {
        "predict": head.command("predict", given, scratch / "predict"),
        "example": [sys.executable, *example],
    }
    seconds: dict[str, list[float]] = {command: [] for command in commands}
    for repeat in range(repeats + 1):
        log_progress(f"first answer of {name}, {repeat} of {repeats}")
        for command, line in commands.items():
            taken = seconds_to_prediction(line, head, scratch / f"{command}.txt")
            if repeat:
                seconds[command].append(taken)
    before, after = (statistics.median(seconds[command]) for command in ("predict", "example"))
    title = f"first answer for a photo, {name}"
    return [
        bench_row(f"export_{name}_predict", f"{title}: predict.py", before, "s"),
        bench_row(
            f"export_{name}_example",
            f"{title}: export without torch; ratio: to predict.py",
            after,
            "s",
            ratio=after / before,
        ),
    ]


def write_test_images(data: Path, folder: Path, count: int) -> list[Path]:
    """Writes the first N test images of Fashion-MNIST as PNG files, and returns their paths.

    Args:
        data: folder of the official files.
        folder: for the PNG files; it is made.
        count: N.

    Raises:
        FashionTransferError: the official files are not there.
    """
    images = load_pair(find_files(data, download=False), train=False).images
    return save_as_png(images[:count], folder)


def spread(files: Sequence[Path], count: int) -> list[Path]:
    """Returns at most N files from all over a list, which may be sorted by class."""
    step = max(1, len(files) // count)
    return list(files[::step][:count])


def _on_cpu(checkpoint: Path, precision: str) -> Classifier:
    classifier = load_classifier(checkpoint, precision=precision)
    classifier.backbone.to_device("cpu")
    return classifier
