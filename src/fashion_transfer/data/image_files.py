"""Image files that people bring: found by name, in folders, by patterns, in lists of paths."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from fashion_transfer.data.decoding import image_endings
from fashion_transfer.errors import FashionTransferError

log = logging.getLogger(__name__)

WILDCARD = re.compile(r"[*?[]")


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """The image files that some paths stand for, in their order.

    A file is taken as it is, readable or not; a folder stands for `images_below` it. Text that
    names neither may be a pattern, such as `photos/*.jpg` or `**/*.jpg`, which stands for all that
    match, sorted; a `Path` never is. `~` is the user's folder.

    Raises:
        FashionTransferError: no path was given, a folder holds no image, or nothing matches.
    """
    if not inputs or "" in inputs:
        raise FashionTransferError(
            "no image given: name files or folders, as in `python predict.py photo.jpg photos/`"
        )
    files: list[Path] = []
    for given in inputs:
        path = Path(given if os.path.lexists(given) else os.path.expanduser(given))
        if os.path.isdir(path):
            inside = images_below(path)
        elif isinstance(given, str) and WILDCARD.search(given) and not os.path.lexists(path):
            inside = _matching(path)
        else:
            inside = [path]
        if not inside:
            raise FashionTransferError(f"{path} holds no image file: name one that does")
        files += inside
    return files


def read_path_list(file: BinaryIO) -> list[Path]:
    """The paths in a list of them: one a line, or each ended by a NUL, as of `find -print0`.

    Raises:
        FashionTransferError: it has none.
    """
    content = file.read()
    names = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [Path(os.fsdecode(name)) for name in names if name]
    if not paths:
        raise FashionTransferError(
            "no path on standard input: give one a line, as in `ls *.jpg | python predict.py -`"
        )
    return paths


def images_below(folder: Path) -> list[Path]:
    """The image files below a folder, by their ending, sorted; hidden ones are left out.

    Links are followed. What can be reached by several paths is there once, under the first.
    """
    endings = image_endings()
    # As text, which is several times as fast as paths where there are thousands.
    return [Path(file) for file in _walk(os.fspath(folder), endings, set())]


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is nothing that a person put there."""
    return name.startswith(".") or name == "__MACOSX"  # macOS adds the latter to archives


def _walk(folder: str, endings: set[str], seen: set[str]) -> Iterator[str]:
    """Yields the files of `images_below`, and adds the real paths of what it comes by to `seen`."""
    real = os.path.realpath(folder)
    if real in seen:  # a link that leads back, or another way to the same folder
        return
    seen.add(real)
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        log.warning("%s: cannot be listed (%s), left out", folder, error.strerror)
        return
    for entry in entries:
        path, link = os.path.join(folder, entry.name), entry.is_symlink()
        if is_hidden(entry.name):
            continue
        if os.path.isdir(path) if link else entry.is_dir():
            yield from _walk(path, endings, seen)
        elif os.path.splitext(entry.name)[1].lower() in endings:
            file = os.path.realpath(path) if link else os.path.join(real, entry.name)
            if file in seen:
                continue
            seen.add(file)
            # A link that leads nowhere is listed: whoever reads it says so.
            if (os.path.isfile(path) or not os.path.exists(path)) if link else entry.is_file():
                yield path
            else:
                log.warning("%s: not a file, left out", path)


def _matching(pattern: Path) -> list[Path]:
    """The image files that match a pattern; folders stand for those below them."""
    parts = list(pattern.parts)
    while parts and parts[-1] == "**":  # all below a folder is what the folder stands for
        parts.pop()
    first = 0
    while first < len(parts) and (
        not WILDCARD.search(parts[first]) or os.path.lexists(Path(*parts[: first + 1]))
    ):
        first += 1
    base, rest = Path(*parts[:first]), parts[first:]
    # Two stars are special as a whole part only; within one they are as good as one.
    rest = [part if part == "**" else re.sub(r"\*+", "*", part) for part in rest]
    matches = sorted(base.glob("/".join(rest)), key=lambda p: p.parts) if rest else [base]
    if not any(part.startswith(".") for part in rest):
        matches = [p for p in matches if not any(map(is_hidden, p.parts[len(base.parts) :]))]
    files: dict[Path, None] = {}  # a folder and what is in it may match both
    for path in matches:
        files |= dict.fromkeys(images_below(path) if path.is_dir() else [path])
    if not files:
        raise FashionTransferError(
            f"{pattern} matches no image file: check the pattern, or name a folder"
        )
    return list(files)
