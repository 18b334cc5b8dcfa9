"""What the page costs over the prediction alone, and how it bears many visitors at once."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from fashion_transfer.benchmarks.bench_pictures import write_pictures
from fashion_transfer.benchmarks.first_prediction import FEW_IMAGES, train_checkpoint
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.page_browser import open_browser, visit
from fashion_transfer.benchmarks.page_load import (
    count_twins,
    interleave,
    mixed_up,
    send,
    write_bad_files,
)
from fashion_transfer.benchmarks.page_screenshots import two_items, write_screenshots
from fashion_transfer.benchmarks.page_server import Server, serve
from fashion_transfer.benchmarks.predict_job import LARGE, SMALL
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.confidence import Prediction
from fashion_transfer.data import find_images, read_image
from fashion_transfer.data.cutout_net import why_missing
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import Classifier, load_classifier

REQUESTS, WARM_UP = 200, 20
"""Requests that are counted, and those before."""

BAD = 10
"""One file in so many is none that can be read."""

UPLOADS = 10
"""Pictures whose time is measured in the browser."""

SIX = 6


def page_rows(
    head: Revision,
    scratch: Path,
    overrides: Sequence[str],
    sources: Path,
    checkpoint: Path | None = None,
    screenshots: Path | None = None,
) -> list[Row]:
    """The rows of `upload_rows` and of `load_rows`, from one server.

    Args:
        head: that the server is of.
        scratch: a folder for runs and pictures.
        overrides: of the training run, where there is one.
        sources: a folder of photos, of which the pictures are made.
        checkpoint: of the classifier; None: one of Fashion-MNIST is trained.
        screenshots: a folder for them; None: none are taken.

    Raises:
        FashionTransferError: a command failed, or the cut-out net or a browser is missing.
    """
    if missing := why_missing():
        raise FashionTransferError(missing)
    checkpoint = checkpoint or train_checkpoint(head, scratch / "page", [*overrides, *FEW_IMAGES])
    classifier, photos = load_classifier(checkpoint, compile=False), find_images([sources])
    classifier.backbone.to_device("cpu")
    flagged = f"paths.logs={scratch / 'logs'}"
    with serve(head, checkpoint, scratch, ("device=cpu", flagged)) as server:
        rows = upload_rows(server, classifier, photos, scratch)
        if screenshots is not None:
            uploads = screenshot_uploads(photos, scratch)
            for defect in write_screenshots(server.url, uploads, screenshots):
                log_progress(f"defect: {defect}")
        return [*rows, *load_rows(server, classifier, photos, scratch)]


def upload_rows(
    server: Server,
    classifier: Classifier,
    photos: Sequence[Path],
    scratch: Path,
    count: int = UPLOADS,
    sizes: Sequence[tuple[int, int]] = (SMALL, LARGE),
) -> list[Row]:
    """Times uploads in a browser, from the choice of a file to its card, and the prediction alone.

    Both have the same picture, in turn. The difference is what reading, preparing, sending and
    showing it take; the first two are a row of their own.

    Args:
        server: of the page.
        classifier: the same that the page has, on the same device.
        photos: files, of which the pictures are made.
        scratch: a folder for the pictures.
        count: of the pictures that count, of each size; one more comes before them.
        sizes: of the pictures, longer and shorter side.
    """
    rows = []
    with open_browser() as browser, visit(browser, server.url) as visitor:
        for size, (name, what) in zip(
            sizes, (("400px", "400 px"), ("12mp", "12 megapixels")), strict=False
        ):
            log_progress(f"page: {count} pictures of {what} in a browser")
            shown, prepare, alone = list[float](), list[float](), list[float]()
            for file in write_pictures(photos, scratch / f"page_{name}", count + 1, size):
                file = file.rename(file.with_name(f"{name}-{file.name}"))  # each has its own card
                start = time.perf_counter()
                prepared = classifier.preparation.prepare(read_image(file))
                prepare.append(time.perf_counter() - start)
                start = time.perf_counter()
                visitor.upload([file])
                shown.append(time.perf_counter() - start)
                start = time.perf_counter()
                classifier.predict_prepared([prepared])
                alone.append(time.perf_counter() - start)
            total, step, ready = (statistics.median(s[1:]) for s in (shown, alone, prepare))
            log_progress(f"page: {what}: {total:.2f} s in the browser, {step:.2f} s of prediction")
            title = f"page, a JPEG of {what}"
            rows += [
                bench_row(f"page_step_{name}", f"{title}: the prediction alone", step, "s"),
                bench_row(f"page_prepare_{name}", f"{title}: reading, preparing", ready, "s"),
                bench_row(f"page_upload_{name}", f"{title}: chosen to shown", total, "s"),
                bench_row(f"page_more_{name}", f"{title}: the difference", total - step, "s"),
            ]
    return rows


def load_rows(
    server: Server,
    classifier: Classifier,
    photos: Sequence[Path],
    scratch: Path,
    requests: int = REQUESTS,
    warm_up: int = WARM_UP,
    size: tuple[int, int] = LARGE,
) -> list[Row]:
    """Sends requests from some clients at once, one file each, and counts what goes wrong.

    Every row is compared with the prediction of its file, and must name the file.

    Args:
        server: of the page.
        classifier: the same that the page has, on the same device.
        photos: files, of which the pictures are made, each another.
        scratch: a folder for the files.
        requests: that count, a tenth of them with a file that cannot be read.
        warm_up: requests before them.
        size: of the pictures, longer and shorter side.
    """
    log_progress("page: making pictures, and predicting them")
    bad = write_bad_files(scratch / "page_bad", requests // BAD)
    pictures = write_pictures(photos, scratch / "page_load", warm_up + requests - len(bad), size)
    before, pictures = pictures[:warm_up], pictures[warm_up:]
    predictions = {file.name: classifier.predict(file)[0] for file in pictures}
    twins = count_twins(list(predictions.values()))
    log_progress(f"page: {twins} of {len(predictions)} predictions cannot be told from another one")
    expected: dict[str, Prediction | None] = {file.name: None for file in bad}
    log_progress(f"page: {requests} requests at once")
    send(server.url, before)
    memory, start = server.private_memory(), time.perf_counter()
    result = send(server.url, interleave(pictures, bad))
    seconds = time.perf_counter() - start
    growth = server.private_memory() - memory
    wrong = mixed_up(result.rows, expected | predictions, classifier.class_names)
    for name, error in result.errors.items():
        log_progress(f"lost: {name}: {error}")
    for name in wrong:
        log_progress(f"mixed up: {name}: {result.rows[name]}")
    title = f"page, {requests} requests at once"
    return [
        bench_row("page_lost", f"{title}: lost", len(result.errors), "requests"),
        bench_row("page_mixed_up", f"{title}: mixed up", len(wrong), "requests"),
        bench_row("page_errors", f"{title}: server errors", server.failures(), "errors"),
        bench_row("page_growth", f"{title}: growth of its memory", growth / 1e6, "MB"),
        bench_row("page_rate", f"{title}: rate", requests / seconds, "requests/s"),
    ]


def screenshot_uploads(photos: Sequence[Path], scratch: Path) -> dict[str, list[Path]]:
    """Returns what is uploaded for each screenshot: one, six, a bad file among two, two items."""
    folder = scratch / "page_screenshots"
    folder.mkdir()
    some = [photos[number * len(photos) // SIX] for number in range(SIX)]
    files = [folder / f"photo-{number}{photo.suffix}" for number, photo in enumerate(some)]
    for photo, file in zip(some, files, strict=True):
        file.write_bytes(photo.read_bytes())
    [bad] = write_bad_files(folder, 1)
    pair = two_items(some, folder / "two-items.jpg")
    return {"one": files[:1], "six": files, "bad": [files[0], bad], "two-items": [pair]}
