"""Files that are written whole or not at all, and downloads that are checked."""

import csv
import errno
import os
import re
import secrets
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from filelock import FileLock

from fashion_transfer.errors import FashionTransferError, first_line
from fashion_transfer.paths import user_path

ANY_BYTES = "surrogateescape"
"""How a file name that is no UTF-8 is written: as the bytes that it has."""

TIMEOUT = 12.0
"""Seconds to wait for a download site that does not answer."""

_IN_THE_WAY = "remove the file that is where a folder is needed"
_NO_LOCKS = "use a disk that has file locks"
_REMEDIES = {
    errno.EACCES: "",
    errno.EDQUOT: "make room within your quota",
    errno.EEXIST: _IN_THE_WAY,
    errno.EFBIG: "raise the limit for the size of a file (ulimit -f)",
    errno.EIO: "see to that disk",
    errno.EISDIR: "remove the folder that is where a file is needed",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSPC: "free some space on that disk",
    errno.ENOSYS: _NO_LOCKS,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.EPERM: "",
    errno.EROFS: "",
    errno.ESTALE: "see to that disk",
}
"""What to do, by the number of an error of the disk, beside writing elsewhere."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.[^.]+)?")
"""Names that `atomic_path` gives."""


def default_cache_dir() -> Path:
    """Returns `$FASHION_TRANSFER_CACHE`, else `fashion-transfer` in the user's cache folder."""
    if given := os.environ.get("FASHION_TRANSFER_CACHE"):
        return user_path(given)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise FashionTransferError(
            "this user has no home folder to cache anything in: choose another cache folder, for "
            "example by FASHION_TRANSFER_CACHE=DIR"
        ) from error
    return user_path(base) / "fashion-transfer"


def cannot_write(error: OSError, folder: str | Path = "") -> str | None:
    """Returns one line for an error of the disk: the file, why, and what to do; else None.

    Args:
        error: that the operating system gave.
        folder: that was written to, where the error names no file.
    """
    if "temporary directory" in str(error.strerror):
        return f"{error.strerror}: give TMPDIR a folder that can be written"
    path = error.filename if isinstance(error.filename, (str, bytes)) else folder
    if error.errno not in _REMEDIES or not path:
        return None
    remedies = [remedy for remedy in (_REMEDIES[error.errno], "write elsewhere") if remedy]
    return f"{os.fsdecode(path)} cannot be written ({error.strerror}): {', or '.join(remedies)}"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path, which replaces the file on success and is deleted on failure.

    Two may write the same file at once: each has its own temporary path, and the last one wins.
    An error of the disk names the file.

    Args:
        path: of the file to write. Its folder must exist.
    """
    path = Path(path)
    # The ending stays: writers such as matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        # A disk that is found full while an open file is written to gives no name.
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # on a disk that can only be read it is not there
            temporary.unlink()


class Lock(FileLock):
    """A file's lock between processes: the system releases it when its process ends, or is killed.

    Errors name the file, as on a disk that has no locks.
    """

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        """Takes the lock, as `FileLock` does."""
        try:
            return super().acquire(*args, **kwargs)
        except OSError as error:
            if error.errno is not None and error.filename is None:
                error.filename = self.lock_file
            raise


def remove_temporary(candidates: Iterable[Path]) -> None:
    """Deletes what killed processes had begun to write.

    Args:
        candidates: hidden files where nobody writes now, since this process holds the lock.
    """
    for file in candidates:
        # Hydra writes there before it is known that another run has the lock.
        if TEMPORARY.fullmatch(file.name) and file.parent.name != ".hydra":
            with suppress(OSError):
                file.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ANY_BYTES)


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file in UTF-8, whole or not at all.

    Args:
        path: of the file. Its folder must exist.
        header: a name per column.
        rows: the cells of each row, as many as there are names.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors=ANY_BYTES) as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def download(url: str, path: str | Path, known_hash: str | None = None, retries: int = 1) -> None:
    """Downloads a file with progress, and puts it in place once its hash is checked.

    Args:
        url: where it is.
        path: of the file to write; its folder is created.
        known_hash: `sha256:…` or `md5:…` of its bytes; None where they vary.
        retries: after a broken connection or a wrong hash.

    Raises:
        FashionTransferError: the site does not answer, or answers something else, or the disk
            cannot be written.
    """
    import pooch  # imports requests: only where something is downloaded
    from pooch.hashes import hash_matches
    from requests import HTTPError, RequestException, Timeout
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        """As pooch uses it: pooch asks whether there is a bar, and resets it at the end."""

        def __bool__(self) -> bool:
            return True  # of an unknown size, too

        def reset(self, total: float | None = None) -> None:
            self.n = 0  # and draws nothing

    path = Path(path)
    try:
        if reason := _unreachable(url):
            raise FashionTransferError(f"could not download {url} ({reason})")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not `pooch.retrieve`: only its owner can read what it writes.
        with atomic_path(path) as temporary:
            for remaining in range(retries, -1, -1):
                try:
                    # Pooch's own bar would be drawn over the error of a broken download.
                    with Bar(unit="B", unit_scale=True, delay=1, leave=False) as bar:
                        fetch = pooch.HTTPDownloader(bar, chunk_size=2**16, timeout=TIMEOUT)
                        fetch(url, str(temporary), None)
                    hash_matches(temporary, known_hash, strict=True, source=path.name)
                    break
                except (ValueError, RequestException) as error:
                    # Trying again helps against neither a missing file nor a silent site.
                    if not remaining or isinstance(error, (HTTPError, Timeout)):
                        raise
    except (OSError, ValueError, RequestException) as error:
        reason = (isinstance(error, OSError) and cannot_write(error)) or first_line(error)
        raise FashionTransferError(f"could not download {url} ({reason})") from error


def _unreachable(url: str) -> str | None:
    """Returns why a site does not answer, within `TIMEOUT` even if name resolution hangs."""
    request = urllib.request.Request(url, method="HEAD")
    outcome: list[str | None] = []

    def probe() -> None:
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT).close()
            outcome.append(None)
        except HTTPError:  # the site answers: the download itself reports what is wrong
            outcome.append(None)
        except (OSError, HTTPException) as error:
            outcome.append(str(getattr(error, "reason", error)).strip())

    # A thread, because no timeout covers name resolution.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    return outcome[0] if outcome else f"no answer within {TIMEOUT:g} s"
