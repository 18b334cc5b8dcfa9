"""What `predict.py` costs: its rate beside the backbone's, and the time to a first prediction."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.bench_pictures import write_pictures
from fashion_transfer.benchmarks.engines import BATCH, in_turn
from fashion_transfer.benchmarks.first_prediction import first_prediction_rows, train_checkpoint
from fashion_transfer.benchmarks.machine import execute, log_progress
from fashion_transfer.benchmarks.photo_jobs import EXAMPLE
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.data import cutout, find_images, read_image, render_images
from fashion_transfer.data.cutout_net import why_missing
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import load_classifier
from fashion_transfer.paths import quoted

SMALL, LARGE = (400, 300), (4000, 3000)
"""Longer and shorter side of the pictures, pixels: as in a shop, and of 12 megapixels."""

LARGE_FILE = (3.0, 4.0)
"""Minimum and maximum megabytes of the files of the large ones."""

PASSES = 8
"""Calls of the backbone with `BATCH` images each, timed together."""


def predict_rows(
    base: Revision,
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    repeats: int,
    sources: Path,
) -> list[Row]:
    """The rows of `first_prediction_rows` and `rate_rows`, with their arguments.

    Raises:
        FashionTransferError: a command failed, or the cut-out net is missing.
    """
    if missing := why_missing():
        raise FashionTransferError(missing)
    first = first_prediction_rows(base, head, scratch, overrides, repeats, cutout.mask, sources)
    return [*first, *rate_rows(head, scratch, overrides, repeats, sources)]


def rate_rows(
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    repeats: int,
    sources: Path,
    counts: tuple[int, int] = (1000, 50),
) -> list[Row]:
    """Times `predict.py` over many files, in turn with the compiled backbone alone, on the CPU.

    A run says when it begins to predict, and `predictions.csv` is written when it has predicted all
    (see `predicting_seconds`). Of that, what a run of one file takes is subtracted, which prepares
    its backbone in the same way: so N files give the rate from the first to the last, N - 1 over
    the rest. Starting, loading and compiling are not in it, and the gallery is not. The files are
    in the system's cache.

    Args:
        head: trains a classifier of photos, on `docs/examples/wardrobe`, and predicts.
        scratch: a folder for the runs and the pictures.
        overrides: of `train.py`, the weights of the backbone among them.
        repeats: measurements of each, whose median counts.
        sources: a folder of photos, of which the pictures are made.
        counts: of small and of large pictures.

    Raises:
        FashionTransferError: a command failed.
    """
    data = ("data=folder", f"data.dir={quoted(Path(EXAMPLE).resolve())}")
    checkpoint = train_checkpoint(head, scratch / "photo", [*overrides, *data])
    log_progress("predict.py: making pictures")
    photos, names = find_images([sources]), ("predict_400px", "predict_12mp")
    files = {
        names[0]: write_pictures(photos, scratch / names[0], counts[0], SMALL),
        names[1]: write_pictures(photos, scratch / names[1], counts[1], LARGE, LARGE_FILE),
    }
    classifier = load_classifier(checkpoint, compile="auto")
    classifier.backbone.to_device("cpu")
    some = (files[names[0]] * BATCH)[:BATCH]
    prepared = [classifier.preparation(read_image(file)) for file in some]
    images = render_images(prepared, classifier.image_size)

    def backbone() -> None:
        for _ in range(PASSES):
            classifier.backbone.extract(images)

    alone, rates = [], {name: list[float]() for name in names}
    for repeat in range(repeats + 1):  # the first one fills caches and compiles
        log_progress(f"predict.py and the backbone alone, {repeat} of {repeats}")
        for name in names:
            many, compiled = predicting_seconds(head, checkpoint, files[name][0].parent, scratch)
            one, _ = predicting_seconds(head, checkpoint, files[name][0], scratch, compiled)
            if many <= one:
                raise FashionTransferError(
                    f"{len(files[name])} pictures took no longer than one: measure again"
                )
            rates[name].append((len(files[name]) - 1) / (many - one))
        alone.append(PASSES * BATCH / in_turn({"backbone": backbone}, 1)["backbone"])
    rate = statistics.median(alone[1:])
    rows = [bench_row("predict_backbone", "compiled backbone alone, photos", rate, "images/s")]
    for name, what in zip(names, ("400 px", "12 megapixels"), strict=True):
        value = statistics.median(rates[name][1:])
        title = f"predict.py, {len(files[name]):,} JPEGs of {what}; ratio: to the backbone alone"
        rows.append(bench_row(name, title, value, "images/s", ratio=value / rate))
    return rows


def predicting_seconds(
    revision: Revision,
    checkpoint: Path,
    pictures: Path,
    scratch: Path,
    compiled: bool | None = None,
) -> tuple[float, bool]:
    """Returns the seconds in which a `predict.py` predicts, and whether its backbone was compiled.

    They begin at the line of its log that names the checkpoint, and end when the table of
    predictions is closed.

    Args:
        revision: that it is of.
        checkpoint: of the classifier.
        pictures: a file or a folder of them.
        scratch: a folder for the run.
        compiled: whether to compile the backbone; None: as the command chooses.

    Raises:
        FashionTransferError: it failed.
    """
    run = scratch / "predict"
    given = [str(pictures), f"ckpt_path={quoted(checkpoint)}", "device=cpu"]
    if compiled is not None:
        given.append(f"model.backbone.compile={str(compiled).lower()}")
    (run / "predict.log").unlink(missing_ok=True)
    command = revision.command("predict", given, run)
    execute(command, scratch / "predict.txt", revision.root, revision.environment())
    lines = (run / "predict.log").read_text("utf-8", "replace").splitlines()
    start = next((line for line in lines if "] predicting " in line), None)
    if start is None:
        raise FashionTransferError(f"{run / 'predict.log'} does not say when it began to predict")
    moment, milliseconds = start[1 : start.index("]")].split(",")
    began = time.mktime(time.strptime(moment, "%Y-%m-%d %H:%M:%S")) + int(milliseconds) / 1000
    seconds = (run / "predictions.csv").stat().st_mtime - began
    return seconds, any("compiling the backbone" in line for line in lines)
