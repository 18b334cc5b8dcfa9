"""The progress bar of all that takes a while: features, evaluation, prediction."""

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)

LOG_EVERY = 60.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

SizedT = TypeVar("SizedT", bound=Sized)


class ProgressBar:
    """Counts what is done: on a bar with the time left, or in the log where there is no terminal.

    Args:
        title: beside the bar.
        total: number of images, or whatever is counted.
    """

    def __init__(self, title: str, total: int) -> None:
        self.title = title
        self.total = total
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        # A notebook is no terminal, but it has a place for a bar.
        drawn = self.bar.console.is_terminal or self.bar.console.is_jupyter
        self.bar.disable = not (drawn and total)
        self.task = self.bar.add_task(title, total=total)
        self.done = 0
        self.started = self.logged = time.monotonic()

    def advance(self, count: int) -> None:
        """Counts `count` more as done."""
        self.done += count
        self.bar.advance(self.task, count)
        now = time.monotonic()
        if self.bar.disable and self.total and now - self.logged >= LOG_EVERY:
            self.logged = now
            seconds = (now - self.started) / max(1, self.done) * (self.total - self.done)
            message = "%s: %d of %d, %.0f min left"
            log.info(message, self.title, self.done, self.total, seconds / 60)

    def rename(self, title: str) -> None:
        """Puts another title beside the bar."""
        self.title = title
        self.bar.update(self.task, description=title)

    def track(self, batches: Iterable[SizedT]) -> Iterator[SizedT]:
        """Yields batches, and counts each by its size once it is dealt with."""
        for batch in batches:
            yield batch
            self.advance(len(batch))


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[ProgressBar]:
    """Yields a progress bar, and takes care that it ends.

    Args:
        title: beside the bar.
        total: number of images, or whatever is counted.
    """
    progress = ProgressBar(title, total)
    with progress.bar:
        yield progress
