"""Searches in processes of their own, which are killed, and which share a study."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from fashion_transfer.benchmarks.kill_search import SearchKiller, read_trials
from fashion_transfer.search.study import JOURNAL

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def start(tiny, plain):
    """`start(folder, *more)`: a process of a search."""
    processes = []

    def begin(folder, *more):
        folder.mkdir(exist_ok=True)
        overrides = tiny(folder / "logs", *plain, "trainer.max_epochs=4", *more)
        command = [sys.executable, str(ROOT / "search.py"), *overrides, f"hydra.run.dir={folder}"]
        log = (folder / f"output-{len(processes)}.txt").open("w")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
        )
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def outcomes(folder):
    return [(t.state, t.params, t.values, t.intermediate_values) for t in read_trials(folder)]


def wait_for(happened, seconds=240):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def output(folder):
    return "".join(file.read_text() for file in sorted(folder.glob("output-*.txt")))


def test_search_killed_again_and_again_is_the_one_that_nobody_killed(
    tmp_path, tiny, plain, monkeypatch
):
    monkeypatch.chdir(ROOT)
    overrides = tiny(tmp_path / "logs", *plain, "trainer.max_epochs=4")
    counts = SearchKiller(tmp_path, 0, overrides).run(3)
    assert counts.pop("kills") == 3
    assert not any(counts.values()), counts


def test_two_processes_share_a_study_and_its_total(tmp_path, start):
    both = [start(tmp_path, "trials=8") for _ in range(2)]
    assert [process.wait(240) for process in both] == [0, 0], output(tmp_path)
    trials = read_trials(tmp_path)
    assert len(trials) == 8
    assert all(trial.state.is_finished() for trial in trials)
    assert len({trial.user_attrs["worker"] for trial in trials}) == 2
    lines = re.findall(r"^trial (\d) \(of 8\)", output(tmp_path), re.MULTILINE)
    assert sorted(lines) == list("01234567")  # each was run once, by one of them
    assert len(list((tmp_path / "winner").iterdir())) == 1
    assert "Tested once" in (tmp_path / "search.md").read_text()


def test_trial_of_a_killed_process_is_taken_over_by_the_other(tmp_path, start):
    killed = start(tmp_path, "trials=6")
    wait_for(lambda: (tmp_path / "trials" / "0000" / "run.json").is_file())
    other = start(tmp_path, "trials=6")
    killed.kill()
    assert other.wait(240) == 0, output(tmp_path)
    trials = read_trials(tmp_path)
    assert len(trials) == 6
    assert all(trial.state.is_finished() for trial in trials)
    alone = tmp_path / "alone"
    assert start(alone, "trials=6").wait(240) == 0
    assert outcomes(tmp_path) == outcomes(alone)


def test_dashboard_shows_a_study(tmp_path, start):
    pytest.importorskip("optuna_dashboard")
    assert start(tmp_path, "trials=2", "test=false").wait(240) == 0, output(tmp_path)
    port = "18097"
    program = Path(sys.executable).with_name("optuna-dashboard")
    dashboard = subprocess.Popen(
        [program, tmp_path / JOURNAL, "--port", port], stderr=subprocess.DEVNULL
    )
    try:
        address = f"http://127.0.0.1:{port}/api/studies"

        def answer():
            try:
                return urllib.request.urlopen(address, timeout=5).read().decode()
            except OSError:
                return ""

        wait_for(answer, 60)
        assert tmp_path.name in answer()
    finally:
        dashboard.kill()
        dashboard.wait()
