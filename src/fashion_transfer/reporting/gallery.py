"""A picture of answers: each image with its label, its confidence and any warning."""

import logging
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashion_transfer.data import read_image
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.confidence import save_figure
from fashion_transfer.reporting.tables import Answer, printable, short_warning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

MOST = 60
COLUMNS = 5
SURE, UNSURE, BROKEN = "#1b7837", "#b35806", "#777777"


def draw_gallery(answers: Sequence[Answer], path: Path) -> None:
    """Draws the first `MOST` answers to a PNG file, framed green, or orange with a warning."""
    import matplotlib
    from matplotlib.figure import Figure

    shown = answers[:MOST]
    if len(answers) > MOST:
        log.info("the gallery shows the first %d of %d images", MOST, len(answers))
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    # A name is not markup: `$` must not start a formula.
    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=(2.6 * columns, 3.3 * rows), layout="constrained")
        axes = list(np.atleast_1d(figure.subplots(rows, columns)).flat)
        for axis in axes:
            axis.set_axis_off()
        for axis, answer in zip(axes, shown, strict=False):
            _draw(axis, answer)
        save_figure(figure, path, dpi=100)


def _draw(axis: "Axes", answer: Answer) -> None:
    found = answer.prediction
    name = textwrap.shorten(printable(Path(answer.path.name)), 28, placeholder="…")
    if answer.error:
        color, title, note = BROKEN, "not read", answer.error
        pixels = np.full((4, 4), 230, dtype=np.uint8)
    else:
        color = UNSURE if found.warning else SURE
        title = f"{found.label}  {found.confidence:.0%}"
        note = short_warning(found)
        try:
            image = read_image(answer.path)
        except FashionTransferError:  # deleted in between
            return
        step = max(1, max(image.shape[1:]) // 400)  # a thumbnail is enough
        pixels = image[:, ::step, ::step].permute(1, 2, 0).squeeze(-1).numpy()
    axis.set_axis_on()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title, color=color, fontsize=11, fontweight="bold")
    axis.set_xlabel("\n".join([name, *textwrap.wrap(note, 36)][:3]), fontsize=8, color="#333333")
    for spine in axis.spines.values():
        spine.set_color(color)
        spine.set_linewidth(3)
