"""Uploaded pictures: each has a token, is predicted once, and is deleted then."""

import re
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fashion_transfer.errors import FashionTransferError

MAX_AGE = 15 * 60.0
"""Seconds after which a picture is deleted that nobody asked about."""

MAX_BYTES = 2 * 2**30
"""Of all pictures that wait, together."""

COPY_BYTES = 2**20
"""Copied at once."""

_ENDING = re.compile(r"\.[a-z0-9]{1,5}", re.ASCII)


class Upload(NamedTuple):
    """An uploaded picture.

    Attributes:
        path: of its bytes; the ending is that of its name.
        name: the file's own name, without folders, as the client gave it.
        size: bytes.
        time: when it came, on the monotonic clock.
    """

    path: Path
    name: str
    size: int
    time: float


class Uploads:
    """The pictures that wait for their prediction, in a folder that only this user can read.

    Each upload has a folder entry and a token of its own, so that two clients that send the same
    picture never share a file.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fashion-transfer-")
        self._waiting: dict[str, Upload] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """Where the bytes are."""
        return Path(self._folder.name)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, file: BinaryIO, name: str, size: int) -> str:
        """Stores a picture, and returns its token.

        Args:
            file: its bytes, from where it stands.
            name: as the client gave it.
            size: bytes.

        Raises:
            FashionTransferError: too many pictures wait.
        """
        self.sweep()
        token, name = secrets.token_urlsafe(24), own_name(name)
        ending = Path(name).suffix.lower()
        path = self.folder / f"{token}{ending if _ENDING.fullmatch(ending) else ''}"
        with self._lock:
            if size + sum(upload.size for upload in self._waiting.values()) > MAX_BYTES:
                raise FashionTransferError("too many pictures are waiting: try again in a minute")
            self._waiting[token] = Upload(path, name, size, time.monotonic())
        try:
            with path.open("xb") as copy:
                while part := file.read(COPY_BYTES):
                    copy.write(part)
        except OSError as error:
            self._delete(token)
            reason = error.strerror or type(error).__name__
            raise FashionTransferError(f"the picture could not be stored ({reason})") from error
        return token

    @contextmanager
    def claim(self, tokens: Sequence[object]) -> Iterator[list[Upload | None]]:
        """Yields the uploads of some tokens, in their order, and deletes them afterwards.

        A token that is unknown, or was claimed before, gives None.
        """
        with self._lock:
            claimed = [
                self._waiting.pop(token, None) if isinstance(token, str) else None
                for token in tokens
            ]
        try:
            yield claimed
        finally:
            for upload in claimed:
                if upload is not None:
                    upload.path.unlink(missing_ok=True)

    def sweep(self, max_age: float = MAX_AGE) -> None:
        """Deletes what has waited for longer than `max_age` seconds."""
        limit = time.monotonic() - max_age
        with self._lock:
            old = [token for token, upload in self._waiting.items() if upload.time < limit]
        for token in old:
            self._delete(token)

    def close(self) -> None:
        """Deletes everything, and the folder."""
        with self._lock:
            self._waiting.clear()
        self._folder.cleanup()

    def _delete(self, token: str) -> None:
        with self._lock:
            upload = self._waiting.pop(token, None)
        if upload is not None:
            upload.path.unlink(missing_ok=True)


def own_name(name: str) -> str:
    """Returns the last part of a path of any system, without control characters, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last)
    return printable[-255:].strip() or "picture"
