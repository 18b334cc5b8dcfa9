"""Which picture a file holds, remembered: only a file that is new or changed is decoded again."""

import json
import logging
import os
import re
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from fashion_transfer.data.decoding import decoder_versions, read_image
from fashion_transfer.data.photos import pixel_hash
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import default_cache_dir, write_text
from fashion_transfer.paths import user_path
from fashion_transfer.progress import progress_bar

log = logging.getLogger(__name__)

VERSION = f"2, {decoder_versions()}"
"""Of the index; other versions of the decoders may give other pixels, or read what these cannot."""

SAVE_EVERY = 30.0
"""Seconds of decoding after which the index is written: a killed run loses no more than that."""


class Entry(NamedTuple):
    """What the index holds of a file.

    Attributes:
        size: bytes.
        modified: time of the last change, in nanoseconds.
        sha256: of the decoded pixels (`pixel_hash`); empty if the file cannot be read.
        error: why it cannot be read, one line without the path; else empty.
    """

    size: int
    modified: int
    sha256: str
    error: str = ""


def index_photos(
    paths: Sequence[Path], source: Path, cache: str | Path | None = None
) -> dict[Path, Entry]:
    """What each file holds, from the index where that knows the file, else decoded and added.

    A file counts as unchanged while its size and the time of its last change are.

    Args:
        paths: the files.
        source: folder or CSV file that lists them; it has an index of its own.
        cache: folder of the indexes and of cached features; None: `default_cache_dir()`.
    """
    folder = user_path(cache or default_cache_dir()) / "photos"
    file = folder / f"{sha256(os.path.abspath(source).encode(errors='replace')).hexdigest()}.json"
    known, entries, new = _load(file), {}, []
    for path in dict.fromkeys(paths):
        entry = known.get(os.path.abspath(path))
        if entry is not None and entry[:2] == _stamp(path):
            entries[path] = entry
        else:
            new.append(path)
    if not new:
        return entries
    saved = monotonic()
    try:
        with closing(_decode(new)) as decoded:
            for path, entry in zip(new, decoded, strict=True):
                entries[path] = entry
                if monotonic() - saved > SAVE_EVERY:
                    _save(file, entries)
                    saved = monotonic()
    finally:  # Ctrl-C, too, leaves what has been decoded
        _save(file, entries)
    return entries


def _decode(paths: Sequence[Path]) -> Generator[Entry, None, None]:
    """Yields the entries of files in their order, decoded side by side."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with progress_bar("reading photos", len(paths)) as bar:
            for entry in pool.map(_read, paths):
                yield entry
                bar.advance(1)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(path: Path) -> Entry:
    stamp = _stamp(path)  # before reading: a file that changes meanwhile is read again next time
    try:
        return Entry(*stamp, pixel_hash(read_image(path)))
    except FashionTransferError as error:
        cause = error.__cause__
        if getattr(cause, "errno", None) or isinstance(cause, MemoryError):
            stamp = (-1, -1)  # no fault of the file, so it is tried again
        return Entry(*stamp, "", str(error).removeprefix(f"{path}: "))


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change of a file; (-1, -1) if it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _load(file: Path) -> dict[str, Entry]:
    """The entries of an index by path; none if it is missing, damaged or of another version."""
    try:
        content = json.loads(file.read_text("utf-8"))
        if content["version"] != VERSION:
            return {}
        entries = {path: Entry(*values) for path, values in content["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return entries if all(map(_is_whole, entries.values())) else {}


def _is_whole(entry: Entry) -> bool:
    texts = isinstance(entry.sha256, str) and isinstance(entry.error, str)
    return texts and bool(entry.error or re.fullmatch("[0-9a-f]{64}", entry.sha256))


def _save(file: Path, entries: dict[Path, Entry]) -> None:
    files = {os.path.abspath(path): entry for path, entry in entries.items() if entry.size >= 0}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps({"version": VERSION, "files": files}))
    except OSError as error:
        log.warning("%s cannot be written (%s): the next run reads all photos", file, error)
