"""The upload area of the page, as HTML."""

import base64
import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from typing import NamedTuple

from fashion_transfer.data.decoding import ENDINGS

MAX_CLASS_NAMES = 20
"""That the heading names."""

NONE_OF_THESE = "none of these"
"""Label of a flagged picture that shows no class."""

MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}

_SPECIAL = re.compile(r"[{}$`\\]")


class Example(NamedTuple):
    """A picture to click.

    Attributes:
        name: of its file.
        content: its bytes.
        text: what it shows.
    """

    name: str
    content: bytes
    text: str


def page_markup(
    class_names: Sequence[str],
    labels: Sequence[str],
    max_pictures: int,
    max_megabytes: float,
    examples: Sequence[Example] | None = None,
) -> str:
    """Returns the upload area: heading, files, camera, examples, and the form to flag.

    Args:
        class_names: by label.
        labels: to choose from when a prediction is wrong; empty: it cannot be flagged.
        max_pictures: of a request.
        max_megabytes: of a picture.
        examples: pictures to click; None: those of the package.
    """
    examples = package_examples() if examples is None else examples
    formats = _formats()
    values = {
        "COUNT": str(len(class_names)),
        "CLASSES": _known(class_names),
        "FORMATS": _text(f"{', '.join(formats[:-1])} and {formats[-1]}"),
        "ACCEPT": "image/*," + ",".join(ENDINGS["HEIF"] + ENDINGS["AVIF"]),
        "MAX_PICTURES": str(max_pictures),
        "MAX_MEGABYTES": f"{max_megabytes:g}",
        "EXAMPLES": "".join(map(_example, examples)),
        "NO_EXAMPLES": "" if examples else "hidden",
        "LABELS": "".join(
            f'<option value="{_text(label)}">{_text(label)}</option>'
            for label in (*labels, NONE_OF_THESE)
        ),
    }
    return re.sub(r"@([A-Z_]+)@", lambda match: values[match[1]], read_asset("page.html"))


def read_asset(name: str) -> str:
    """Returns a file of the page."""
    return (files(__package__) / "assets" / name).read_text("utf-8")


@cache
def package_examples() -> tuple[Example, ...]:
    """Returns the CC0 pictures that come with the package."""
    folder = files(__package__) / "examples"
    if not folder.is_dir():
        return ()
    pictures = [entry for entry in folder.iterdir() if _ending(entry.name) in MEDIA_TYPES]
    examples = []
    for entry in sorted(pictures, key=lambda entry: entry.name):
        name = re.sub(r"^\d+-", "", entry.name)  # the number is for the order
        examples.append(Example(name, entry.read_bytes(), name.rpartition(".")[0]))
    return tuple(examples)


def _example(example: Example) -> str:
    content = base64.b64encode(example.content).decode()
    address = f"data:{MEDIA_TYPES[_ending(example.name)]};base64,{content}"
    name, text = _text(example.name), _text(example.text)
    return (
        f'<li><button type="button" class="ft-example" data-name="{name}">'
        f'<img src="{address}" alt="Example: {text}"></button></li>'
    )


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _formats() -> list[str]:
    """The formats that are read here, as people call them."""
    names = [{"HEIF": "HEIC", "WEBP": "WebP"}.get(name, name) for name in ENDINGS]
    return names if find_spec("pillow_heif") else [name for name in names if name != "HEIC"]


def _known(class_names: Sequence[str]) -> str:
    """The first class names, none broken in two lines, and the number of the others."""
    names = [_text(name) for name in class_names[:MAX_CLASS_NAMES]]
    words = [f'<span class="ft-known">{name},</span>' for name in names[:-1]]
    words.append(f'<span class="ft-known">{names[-1]}</span>')
    more = len(class_names) - MAX_CLASS_NAMES
    return " ".join(words) + (f" and {more} more" if more > 0 else "")


def _text(text: str) -> str:
    """Text in the markup: escaped, also for the template language that Gradio reads it in."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", escape(text))
