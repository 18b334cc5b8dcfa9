"""Labels image files: a table, an annotated gallery, a CSV file and a JSON file."""

import logging
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fashion_transfer.commands.inference import (
    checkpoint_path,
    choose_device,
    describe,
    load,
    move,
    use_packages,
)
from fashion_transfer.commands.schema import check_config
from fashion_transfer.data import Preparation, find_images, read_image
from fashion_transfer.data.image_files import read_path_list
from fashion_transfer.data.preparation import Prepared
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import Classifier
from fashion_transfer.progress import progress_bar
from fashion_transfer.reporting import (
    ImagePrediction,
    Picture,
    PredictionSummary,
    prediction_files,
    print_predictions,
    write_gallery,
)
from fashion_transfer.reporting.gallery import MAX_IMAGES, small
from fashion_transfer.reporting.predictions import CSV_FILE, JSON_FILE

log = logging.getLogger(__name__)

MIN_COMPILED_FILES = 700
"""With `compile: auto`, so many files are worth compiling for: it takes 15 s on two cores, and an
image then takes 10 ms instead of 17 (ResNet50 at 224 px)."""

BATCH_BYTES = 32 * 2**20
"""Prepared pixels of a batch, so that large pictures do not fill the memory: one may be more."""

GALLERY_FILE = "gallery.png"


class ReadFile(NamedTuple):
    """An image file that was read, or the reason why it could not be.

    Attributes:
        path: of the file.
        prepared: the image; None if the file could not be read.
        picture: for the gallery, if it has room.
        error: empty if the file could be read.
    """

    path: Path
    prepared: Prepared | None
    picture: Picture | None
    error: str


def predict(cfg: DictConfig, paths: Sequence[str] = ()) -> None:
    """Runs the prediction that `conf/predict.yaml` describes.

    Args:
        cfg: the composed configuration.
        paths: files, folders, patterns and `-`, beside those in `cfg.input`.

    Raises:
        FashionTransferError: no image, no checkpoint, or a file could not be read; in the last
            case, after all is written.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    check_config(cfg, "predict")
    device = choose_device(cfg.device)
    files = find_images(_inputs(cfg, paths))
    path = checkpoint_path(cfg)
    compile = cfg.model.backbone.compile
    few = compile == "auto" and len(files) < MIN_COMPILED_FILES
    classifier = load(cfg, path, compile=False if few else compile)
    log.info("predicting %d images with %s", len(files), describe(path, classifier))
    move(classifier, device)
    if compile is not False:
        use_packages(cfg, classifier, single=len(files) < MIN_COMPILED_FILES)

    summary, shown = PredictionSummary(), list[tuple[ImagePrediction, Picture | None]]()
    with (
        prediction_files(folder, classifier.class_names) as write,
        progress_bar("predicting", len(files)) as progress,
        closing(predict_files(classifier, files, cfg.batch_size)) as batches,
    ):
        for batch in progress.track(batches):
            for image, picture in batch:
                write(image)
                summary.add(image)
                if len(shown) < MAX_IMAGES:
                    shown.append((image, picture))
    print_predictions(summary)
    write_gallery(shown, folder / GALLERY_FILE)
    if summary.count > len(shown):
        log.info("the gallery shows the first %d of %d images", len(shown), summary.count)
    print(f"written: {CSV_FILE}, {JSON_FILE} and {GALLERY_FILE} in {folder}")
    _check_all_read(summary, folder)


def predict_files(
    classifier: Classifier, files: Sequence[Path], batch_size: int
) -> Generator[list[tuple[ImagePrediction, Picture | None]]]:
    """Yields the predictions for files, in their order, in batches, with their gallery pictures.

    A thread reads and prepares one batch while the classifier has the one before.

    Args:
        classifier: on its device.
        files: the files, readable or not.
        batch_size: images in memory at once, at most.
    """
    backbone, size = classifier.backbone, classifier.image_size
    if backbone.compiles(size) and backbone.engine.try_compiling(size):
        batch_size = max(batch_size, backbone.pass_size(size))  # or passes would be padded
    stop = threading.Event()
    batches = _batches(files, classifier.preparation, batch_size, stop)
    with closing(_prefetched(batches, stop)) as read:
        for batch in read:
            images = [file.prepared for file in batch if file.prepared is not None]
            predictions = iter(classifier.predict_prepared(images) if images else ())
            yield [
                (
                    ImagePrediction(
                        file.path, None if file.error else next(predictions), file.error
                    ),
                    file.picture,
                )
                for file in batch
            ]


def _inputs(cfg: DictConfig, paths: Sequence[str]) -> list[str | Path]:
    """Returns all that was named, with the paths on standard input for `-`."""
    given = [cfg.input] if isinstance(cfg.input, str) else list(cfg.input or [])
    inputs: list[str | Path] = []
    for path in [*paths, *map(str, given)]:
        inputs += read_path_list(sys.stdin.buffer) if path == "-" else [path]
    return inputs


def _batches(
    files: Sequence[Path], preparation: Preparation, batch_size: int, stop: threading.Event
) -> Iterator[list[ReadFile]]:
    """Yields files in batches, read when they are due; reads no further once `stop` is set."""
    batch: list[ReadFile] = []
    size = 0
    for number, path in enumerate(files):
        if stop.is_set():
            return
        file = _read(path, preparation, with_picture=number < MAX_IMAGES)
        batch.append(file)
        size += 0 if file.prepared is None else file.prepared.pixels.nbytes
        if len(batch) == batch_size or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _read(path: Path, preparation: Preparation, with_picture: bool) -> ReadFile:
    try:
        image = read_image(path)
    except FashionTransferError as error:
        return ReadFile(path, None, None, str(error).removeprefix(f"{path}: "))
    prepared = preparation.prepare(image)
    picture = Picture(small(image), small(prepared.pixels)) if with_picture else None
    return ReadFile(path, prepared, picture, "")


def _prefetched(
    batches: Iterator[list[ReadFile]], stop: threading.Event
) -> Generator[list[ReadFile]]:
    """Yields batches, while a thread gets the next one; sets `stop` if it is closed before."""
    with ThreadPoolExecutor(1) as pool:
        try:
            upcoming = pool.submit(next, batches, None)
            while (batch := upcoming.result()) is not None:
                upcoming = pool.submit(next, batches, None)
                yield batch
        finally:
            stop.set()  # so that Ctrl-C waits for one file, and not for a batch


def _check_all_read(summary: PredictionSummary, folder: Path) -> None:
    """Checks that every file could be read.

    Raises:
        FashionTransferError: one could not.
    """
    if (first := summary.first_failed) is None:
        return
    if summary.count == 1:
        raise FashionTransferError(f"{first.path}: {first.error}")
    raise FashionTransferError(
        f"{summary.failed} of {summary.count} files could not be read, such as {first.path}: "
        f"{first.error} (the reasons are in {folder / CSV_FILE})"
    )
