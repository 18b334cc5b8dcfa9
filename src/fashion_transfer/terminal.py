"""What a command prints, and how it ends: for terminals of any encoding, files, and pipes."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import cannot_write

UNREAD = 141
"""Exit status of a command whose output nobody reads any more: of `yes` in `yes | head -1`."""


def print_anything() -> None:
    """Has standard output take every text.

    It is no error that an encoding has no `±`: it becomes a question mark. The bytes of a file name
    that are no UTF-8 stay as they are.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().startswith("utf")
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "replace")


@contextmanager
def output() -> Iterator[None]:
    """Lets a command print anything, and ends it where that cannot be written.

    It ends without a word once nobody reads that any more, and in one line where the disk is full.
    SystemExit is raised then, and not an error, which the libraries would report and go on.
    """
    print_anything()
    streams = {sys.stdout, sys.stderr} - {None}  # None: closed, as by `>&-`
    methods = [(stream, name) for stream in streams for name in ("write", "flush")]
    for stream, name in methods:
        setattr(stream, name, _exiting(stream, getattr(stream, name)))
    try:
        try:
            yield
        finally:
            print(end="", flush=True)
    finally:
        for stream, name in methods:
            delattr(stream, name)


@contextmanager
def command() -> Iterator[None]:
    """As `output`; a user's mistake or a disk that cannot be written is one line and status 1.

    Ctrl-C is status 130.
    """
    with output():
        try:
            yield
        except FashionTransferError as error:
            sys.exit(f"error: {error}")
        except OSError as error:
            if message := cannot_write(error):
                sys.exit(f"error: {message}")
            raise
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)


def _exiting(stream: TextIO, method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a method of a stream that raises SystemExit where the stream cannot be written."""

    def call(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError as error:
            # What is printed on the way out goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if isinstance(error, BrokenPipeError):
                raise SystemExit(UNREAD) from None
            print(
                f"error: standard output cannot be written ({error.strerror}): send it to another "
                "disk",
                file=sys.stderr,
            )
            raise SystemExit(1) from None

    return call
