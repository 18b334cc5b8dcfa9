import sys

import pytest

from fashion_transfer.benchmarks import leaderboard
from fashion_transfer.runs.collection import collect


def test_generated_runs_are_listed_as_finished(tmp_path):
    leaderboard.generate(tmp_path, 60)
    runs = collect(tmp_path)
    assert len(runs) == 60
    assert {run.status for run in runs} == {"finished"}
    assert {run.path.count("/") for run in runs} == {3}


@pytest.mark.slow
def test_benchmark_prints_the_seconds_of_each_form(monkeypatch, capsys):
    monkeypatch.setattr(leaderboard, "REPEATS", 1)
    monkeypatch.setattr(sys, "argv", ["leaderboard", "--runs", "5"])
    leaderboard.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "runs.py ",
        "runs.py --seeds",
        "runs.py --output runs.html",
    ]
