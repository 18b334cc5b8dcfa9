"""Which folders of the store are in use, and when they were used last.

A run holds a shared lock on `key.json` of each folder that it reads or fills, and the operating
system releases it when the process ends, however it ends. The file's time is that of the last use.
"""

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEY_FILE = "key.json"


def mark_used(folder: Path, user: object) -> bool:
    """Notes that a folder is used from now on, by an object, for as long as it exists.

    Args:
        folder: of the store.
        user: an object that can have weak references.

    Returns:
        False if the folder was removed in the meantime.
    """
    try:
        descriptor = os.open(folder / KEY_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    weakref.finalize(user, os.close, descriptor)
    with suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    with suppress(OSError):  # a store that can only be read
        os.utime(descriptor)
    return os.fstat(descriptor).st_nlink > 0


@contextmanager
def unused(folder: Path) -> Iterator[bool]:
    """Yields whether no run uses a folder; until the end, none can begin to.

    Args:
        folder: of the store.
    """
    descriptor = os.open(folder / KEY_FILE, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_unused = True
    except OSError:
        is_unused = False
    try:
        yield is_unused
    finally:
        os.close(descriptor)


def last_used(folder: Path) -> float:
    """Returns when a folder was used last, in seconds since the epoch."""
    return (folder / KEY_FILE).stat().st_mtime
