"""What all figures share: colours, conversion of values and images, and saving.

Matplotlib is imported only where something is drawn: commands that draw nothing start faster.
"""

import io
import logging
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fashion_transfer.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.ticker import Formatter

log = logging.getLogger(__name__)

Array: TypeAlias = NDArray[Any]
Values: TypeAlias = Tensor | Array
"""A tensor on any device, or an array."""

BLUE, ORANGE, VERMILION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
PURPLE, SKY, GREY, DARK = "#CC79A7", "#56B4E9", "#777777", "#333333"
"""Okabe and Ito's palette, which colour-blind people can tell apart. No figure relies on colour
alone."""

FONTS = (
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Malgun Gothic",
)
"""Fonts with the letters of Chinese, Japanese or Korean, of Linux, macOS and Windows."""

DPI = 100
"""Pixels per inch: no figure is to be larger than a screen."""


class Images(Protocol):
    """N images by row, uint8, (h, w) or (C, h, w) with C 1 or 3, each of any size.

    An array or a list will do. Rows are read one by one, so it may also read files on demand.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Any: ...


def new_figure(width: float, height: float, measured: bool = True) -> "Figure":
    """Returns an empty figure that needs no display.

    Args:
        width: in inches.
        height: likewise.
        measured: whether its axes make room for their labels, which takes time; False: the caller
            knows how much they need.
    """
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    families = [*rcParams["font.family"], *_installed_fonts()]
    rcParams["font.family"] = list(dict.fromkeys(families))
    return Figure(figsize=(width, height), layout="constrained" if measured else None)


def literal(text: str) -> str:
    """Returns a text that Matplotlib draws as it is, and not as a formula between dollar signs."""
    return text.replace("$", r"\$")


def save_figure(figure: "Figure", path: Path, dpi: int = DPI) -> None:
    """Writes a figure to a PNG file, whole or not at all."""
    save_picture(draw_figure(figure, dpi), path)


def save_picture(picture: Image.Image, path: Path) -> bytes:
    """Writes a picture to a PNG file, whole or not at all, and returns the content of the file."""
    encoded = encode_picture(picture)
    with atomic_path(path) as temporary:
        temporary.write_bytes(encoded)
    return encoded


def encode_picture(picture: Image.Image) -> bytes:
    """Returns the content of a PNG file of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def picture_summary(name: str, picture: Image.Image, encoded: bytes) -> Any:
    """Returns the `Summary` of a picture for TensorBoard, which `add_image` would encode again.

    Args:
        name: the picture's tag.
        picture: RGB.
        encoded: as PNG.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    image = Summary.Image(
        height=picture.height,
        width=picture.width,
        colorspace=len(picture.getbands()),
        encoded_image_string=encoded,
    )
    return Summary(value=[Summary.Value(tag=name, image=image)])


def draw_figure(figure: "Figure", dpi: int = DPI) -> Image.Image:
    """Returns a figure as an RGB picture; letters that are in no font are a warning of one line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        figure.set_dpi(dpi)
        canvas: Any = FigureCanvasAgg(figure)
        layout = figure.get_layout_engine()
        if layout is not None and figure.axes:
            # `savefig` would draw all of it, unseen, to have it laid out.
            layout.execute(figure)
            figure.set_layout_engine("none")
        canvas.draw()
    for warning in caught:
        if "missing from font" in str(warning.message):
            _report_letters()
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


@cache
def _installed_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    names = set(fontManager.get_font_names())
    return [name for name in FONTS if name in names]


@cache
def _report_letters() -> None:
    log.warning(
        "no font of this machine has all letters of the class names: figures have boxes in their "
        "place (install one of %s)",
        ", ".join(FONTS),
    )


def as_array(values: Values, dtype: type) -> Array:
    """Returns a copy of a tensor or an array as an array of a given type."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        values = (values.double() if values.is_floating_point() else values).numpy()
    return np.array(values, dtype)


def as_picture(image: Values, longest_side: int = 400) -> Array:
    """Returns an image in the layout that Matplotlib draws, large ones reduced.

    Args:
        image: uint8, (h, w) or (C, h, w) with C 1 or 3.
        longest_side: pixels; an image of twice that or more is subsampled.

    Returns:
        uint8, (h', w') if it is grey, else (h', w', 3).
    """
    step = max(1, max(image.shape[-2:]) // longest_side)
    pixels = as_array(image[..., ::step, ::step], np.uint8)
    if pixels.ndim == 2:
        return pixels
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)


def percent_formatter(decimals: int = 0) -> "Formatter":
    """Returns a formatter that labels an axis from 0 to 1 in per cent."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1, decimals)
