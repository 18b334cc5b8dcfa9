"""The progress bar: a bar with the time left on a terminal, else a line in the log now and then."""

import io
import logging

import pytest
from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

from fashion_transfer import progress
from fashion_transfer.progress import progress_bar


@pytest.fixture
def terminal(monkeypatch):
    """A terminal, and the bars that are drawn on it."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    bars = []

    def make_bar(*columns):
        bars.append(Progress(*columns, console=console))
        return bars[-1]

    monkeypatch.setattr(progress, "Progress", make_bar)
    return console, bars


@pytest.fixture
def clock(monkeypatch):
    """`clock[0]`: the time in seconds."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_progress_bar_shows_one_bar_with_the_time_left(terminal, caplog):
    console, bars = terminal
    with caplog.at_level(logging.INFO), progress_bar("training images", 100) as bar:
        for _ in range(4):
            bar.advance(25)
    assert len(bars) == 1
    assert any(isinstance(column, TimeRemainingColumn) for column in bars[0].columns)
    assert bars[0].finished
    assert "training images" in console.file.getvalue()
    assert "100/100" in console.file.getvalue()
    assert caplog.messages == []


def test_progress_bar_logs_the_minutes_left_once_a_minute_without_a_terminal(clock, caplog, capsys):
    with caplog.at_level(logging.INFO), progress_bar("test images", 1000) as bar:
        for _ in range(10):
            clock[0] += 36  # 100 images in 36 s
            bar.advance(100)
    assert caplog.messages == [
        f"test images: {done} of 1000, {left} min left"
        for done, left in ((200, 5), (400, 4), (600, 2), (800, 1), (1000, 0))
    ]
    assert capsys.readouterr().out == ""


def test_progress_bar_logs_nothing_of_what_is_done_in_a_minute(caplog):
    with caplog.at_level(logging.INFO), progress_bar("evaluating", 10) as bar:
        bar.advance(10)
    assert caplog.messages == []


def test_track_yields_the_batches_and_counts_them_by_size(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LOG_EVERY", 0)
    with caplog.at_level(logging.INFO), progress_bar("predicting", 5) as bar:
        assert list(bar.track([[1, 2], [3, 4, 5]])) == [[1, 2], [3, 4, 5]]
    assert [message.split(",")[0] for message in caplog.messages] == [
        "predicting: 2 of 5",
        "predicting: 5 of 5",
    ]


def test_progress_bar_ends_with_an_error(terminal):
    _, bars = terminal
    with pytest.raises(KeyError), progress_bar("images", 5):
        raise KeyError
    assert not bars[0].live.is_started
