"""A gallery of predictions: each image with its label, its confidence and any warning."""

import logging
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.plotting import DARK, GREY, Values, as_picture, new_figure
from fashion_transfer.reporting.tables import ImagePrediction, printable, short_warning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

MAX_IMAGES, COLUMNS = 60, 5
ACCEPTED_COLOR, WARNING_COLOR, UNREAD_COLOR = "#1b7837", "#b35806", GREY
NAME_LETTERS, NOTE_LETTERS, NOTE_LINES = 28, 38, 2


def prediction_gallery(
    predictions: Sequence[ImagePrediction], read_image: Callable[[Path], Values]
) -> "Figure":
    """Draws the first `MAX_IMAGES` images, outlined in green, or in orange with a warning.

    Args:
        predictions: at least one.
        read_image: returns the image of a file, uint8, (C, h, w) with C 1 or 3, or raises
            FashionTransferError.
    """
    import matplotlib

    shown = predictions[:MAX_IMAGES]
    if len(predictions) > MAX_IMAGES:
        log.info("the gallery shows the first %d of %d images", MAX_IMAGES, len(predictions))
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    # A file name is not markup: `$` must not start a formula. Texts copy the setting when created.
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = new_figure(2.6 * columns, 3.3 * rows)
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.set_axis_off()
    for axis, image in zip(axes, shown, strict=False):
        _draw(axis, image, read_image)
    return figure


def _draw(axis: "Axes", image: ImagePrediction, read_image: Callable[[Path], Values]) -> None:
    pixels, error = np.full((4, 4), 230, dtype=np.uint8), image.error
    if not error:
        try:
            pixels = as_picture(read_image(image.path))
        except FashionTransferError as problem:  # deleted since it was predicted
            error = str(problem).removeprefix(f"{image.path}: ")
    if error or image.prediction is None:
        color, title, note = UNREAD_COLOR, "not read", error
    else:
        color = WARNING_COLOR if image.prediction.warning else ACCEPTED_COLOR
        title = f"{image.prediction.label}  {image.prediction.confidence:.0%}"
        note = short_warning(image.prediction)
    name = _shorten(" ".join(printable(Path(image.path.name)).split()))
    notes = textwrap.wrap(note, NOTE_LETTERS, max_lines=NOTE_LINES, placeholder="…")
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title, color=color, fontsize=11, fontweight="bold")
    axis.set_xlabel("\n".join([name, *notes]), fontsize=8, color=DARK)
    for spine in axis.spines.values():
        spine.set_color(color)
        spine.set_linewidth(3)


def _shorten(name: str) -> str:
    """A file name of at most `NAME_LETTERS` letters: beginning and end of a longer one."""
    half = (NAME_LETTERS - 1) // 2
    return name if len(name) <= NAME_LETTERS else f"{name[:half]}…{name[-half:]}"
