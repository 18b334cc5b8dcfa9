"""Pictures of the page for people to look at: desktop and phone, light and dark.

Run as a program, it writes those of `docs/`.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.page_browser import (
    DESKTOP,
    PHONE,
    Scheme,
    open_browser,
    visit,
)
from fashion_transfer.benchmarks.page_server import serve
from fashion_transfer.benchmarks.product_pictures import Mask, cut_out, product_picture
from fashion_transfer.benchmarks.revisions import WORKING_TREE, checkout
from fashion_transfer.data import cutout, find_images, read_image
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import atomic_path
from fashion_transfer.paths import user_path

SIZES = {"desktop": DESKTOP, "phone": PHONE}

SCHEMES: tuple[Scheme, ...] = ("light", "dark")

COLOURS = 256
"""Of a picture in `docs/`, which is then a third of the size."""


def main(arguments: list[str] | None = None) -> None:
    """Writes `page.png` and `page-phone.png` of the page with some pictures uploaded."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", type=user_path)
    parser.add_argument("pictures", nargs="+", help="files, as many as the desktop shows")
    parser.add_argument("--phone", type=int, default=1, help="number of files the phone shows")
    parser.add_argument("--output", type=user_path, default=Path("docs") / "images")
    chosen = parser.parse_args(arguments)
    try:
        files = find_images(chosen.pictures)
        chosen.output.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix="fashion-transfer-page-") as scratch,
            checkout(WORKING_TREE) as head,
            serve(head, chosen.checkpoint, Path(scratch)) as server,
            open_browser() as browser,
        ):
            shown = {"page": (DESKTOP, files), "page-phone": (PHONE, files[: chosen.phone])}
            for name, (size, uploaded) in shown.items():
                large = Path(scratch) / f"{name}.png"
                with visit(browser, server.url, size) as visitor:
                    visitor.upload(uploaded)
                    visitor.screenshot(large)
                written = write_small(large, chosen.output / large.name)
                print(f"written: {written}, {written.stat().st_size / 1000:.0f} kB")
    except FashionTransferError as error:
        sys.exit(f"error: {error}")


def write_small(screenshot: Path, path: Path) -> Path:
    """Writes a screenshot with few colours, and returns its path."""
    with Image.open(screenshot) as picture, atomic_path(path) as temporary:
        picture.convert("RGB").quantize(COLOURS).save(temporary, format="PNG", optimize=True)
    return path


def write_screenshots(url: str, uploads: Mapping[str, Sequence[Path]], folder: Path) -> list[str]:
    """Writes screenshots, one of each set of uploads, size and scheme; returns layout's defects.

    Args:
        url: of the page.
        uploads: files of each set, by its name.
        folder: for `NAME-SIZE-SCHEME.png`; it is made.

    Returns:
        What `Visit.layout_defects` finds and the browser complains of, each with its screenshot.
    """
    folder.mkdir(parents=True, exist_ok=True)
    defects = []
    with open_browser() as browser:
        for size, pixels in SIZES.items():
            for scheme in SCHEMES:
                for name, files in {"empty": (), **uploads}.items():
                    path = folder / f"{name}-{size}-{scheme}.png"
                    log_progress(f"screenshot {path.name}")
                    with visit(browser, url, pixels, scheme) as visitor:
                        visitor.upload(files)
                        visitor.screenshot(path)
                        seen = [*visitor.layout_defects(), *visitor.complaints, *visitor.outside]
                    defects += [f"{path.name}: {defect}" for defect in seen]
    return defects


def two_items(photos: Sequence[Path], path: Path, mask: Mask = cutout.mask) -> Path:
    """Writes the items of the first two photos that have one side by side on white.

    Args:
        photos: files.
        path: of the JPEG file; its folder must exist.
        mask: cuts the items out.

    Raises:
        FashionTransferError: fewer than two have an item.
    """
    items = []
    for photo in photos:
        if (item := cut_out(read_image(photo), mask)) is not None:
            items.append(item)
        if len(items) == 2:
            break
    else:
        raise FashionTransferError(
            f"of {len(photos)} photos fewer than two show an item: name a folder of others"
        )
    pixels = product_picture(items, "white").transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, quality=90)
    return path


if __name__ == "__main__":
    main()
