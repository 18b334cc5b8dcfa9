"""Many requests at once to the page's JSON endpoint, each with a file of its own."""

import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fashion_transfer.confidence import Prediction

CLIENTS = 8

TOLERANCE = 2e-4
"""Difference in a probability that rounding explains."""

TIMEOUT = 600
"""Seconds until a request counts as lost."""

JsonRow = dict[str, Any]

BAD_FILES = {
    "empty.jpg": b"",
    "text.jpg": b"not a picture",
    "page.png": b"<!doctype html><script>alert(1)</script>",
    "picture.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
}
"""Files that no one can read, by name."""


@dataclass
class LoadResult:
    """What came back for a number of requests.

    Attributes:
        rows: by the file's name.
        errors: of the requests that got no row, by the file's name.
    """

    rows: dict[str, JsonRow] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def write_bad_files(folder: Path, count: int) -> list[Path]:
    """Writes files that are no pictures, and returns their paths.

    The empty ones are all the same.

    Args:
        folder: for the files; it is made.
        count: of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = list(BAD_FILES.items())
    files = []
    for number in range(count):
        name, content = contents[number % len(contents)]
        files.append(folder / f"bad-{number:04d}-{name}")
        files[-1].write_bytes(content and content + f" {number}".encode())
    return files


def interleave(pictures: Sequence[Path], bad: Sequence[Path]) -> list[Path]:
    """Returns all files in one order, the bad ones evenly among the pictures."""
    total, files, rest = len(pictures) + len(bad), list(pictures), list(bad)
    for number in range(len(bad)):
        files.insert((2 * number + 1) * total // (2 * len(bad)), rest.pop(0))
    return files


def send(url: str, files: Sequence[Path], clients: int = CLIENTS) -> LoadResult:
    """Sends each file as one request, from some clients at once, and returns what came back.

    Args:
        url: of the page.
        files: with a different name each.
        clients: each has a session of its own, and sends its next file once it has a row.
    """
    waiting: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for file in files:
        waiting.put(file)
    result = LoadResult()
    threads = [threading.Thread(target=_visit, args=(url, waiting, result)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in files:
        if file.name not in result.rows:
            result.errors.setdefault(file.name, "no client")
    return result


def _visit(url: str, waiting: "queue.SimpleQueue[Path]", result: LoadResult) -> None:
    from gradio_client import Client, handle_file  # comes with the extra `app`

    client = Client(url, verbose=False, download_files=False)
    while True:
        try:
            file = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            job = client.submit([handle_file(str(file))], api_name="/predict")
            [row] = job.result(timeout=TIMEOUT)
            result.rows[file.name] = row
        except Exception as error:  # whatever a request fails with is what is counted
            result.errors[file.name] = f"{type(error).__name__}: {error}"


def mixed_up(
    rows: Mapping[str, JsonRow], expected: Mapping[str, Prediction | None], names: Sequence[str]
) -> list[str]:
    """Returns the files whose row is not that of the file.

    Args:
        rows: by the file's name.
        expected: by the file's name; None: a file that cannot be read.
        names: of the classes.
    """
    return [name for name, row in rows.items() if not _is_row_of(row, name, expected[name], names)]


def _is_row_of(
    row: JsonRow, name: str, prediction: Prediction | None, names: Sequence[str]
) -> bool:
    if row["path"] != name:
        return False
    if prediction is None:
        return row["label"] is None and bool(row["error"])
    if row["error"] or row["label"] not in names:
        return False
    return far(list(row["probabilities"].values()), prediction.probabilities) <= TOLERANCE


def far(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns the largest difference of two predictions in a probability."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def count_twins(expected: Sequence[Prediction]) -> int:
    """Returns how many predictions another one cannot be told from: mixed up, they are not noticed.

    Args:
        expected: of pictures that differ.
    """
    return sum(
        any(far(one.probabilities, other.probabilities) <= TOLERANCE for other in expected[:number])
        for number, one in enumerate(expected)
    )
