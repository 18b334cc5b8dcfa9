"""Rows of `make bench` for the start of a process: package against torch.compile."""

import pytest

from fashion_transfer.benchmarks import start
from fashion_transfer.errors import FashionTransferError


def test_rows_compare_medians_without_the_first_repeat(tmp_path, monkeypatch):
    calls = []

    def seconds(way, weights, size, scratch):
        calls.append((way, size))
        first = len([call for call in calls if call == (way, size)]) == 1
        return 100.0 if first else {"network": 4.0, "key": 3.0, "compile": 10.0}[way]

    monkeypatch.setattr(start, "seconds_to_second_pass", seconds)
    rows = {row["name"]: row for row in start.start_rows("weights.pth", tmp_path, repeats=3)}
    assert calls[:3] == [("network", 224), ("key", 224), ("compile", 224)]
    assert len(calls) == 2 * 3 * 4
    for ending in ("", "_64"):
        assert rows[f"start_compile{ending}"]["value"] == 10.0
        assert rows[f"start{ending}"]["ratio"] == pytest.approx(0.3)
        assert rows[f"start_network{ending}"]["ratio"] == pytest.approx(0.4)


def test_seconds_end_with_the_second_pass_and_not_with_the_process(tmp_path, monkeypatch):
    script = "import time; print('other output'); print(time.time()); time.sleep(1)"
    monkeypatch.setitem(start.PROCESSES, "key", script)
    assert 0 < start.seconds_to_second_pass("key", "weights.pth", 224, tmp_path) < 30


def test_process_that_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setitem(start.PROCESSES, "key", "import sys; sys.exit('out of luck')")
    with pytest.raises(FashionTransferError, match="not be started by key: out of luck"):
        start.seconds_to_second_pass("key", "weights.pth", 224, tmp_path)


@pytest.mark.parametrize("way", sorted(start.PROCESSES))
def test_scripts_can_be_read(way):
    assert "time" in compile(start.PROCESSES[way], way, "exec").co_names
