"""A sweep beside the bare loop of another revision."""

import json
from pathlib import Path

import pytest

from fashion_transfer.benchmarks import sweep_job
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.benchmarks.sweep_job import JOBS, SWEEP, long_sweep_rows


def test_sweep_is_compared_with_fit_and_test_of_the_base(tmp_path, monkeypatch):
    (tmp_path / "new/src/fashion_transfer/evaluation").mkdir(parents=True)
    base = Revision("old", tmp_path / "old", "commit")
    head = Revision("new", tmp_path / "new", "commit")
    commands = []

    def execute(command, output, cwd, environment):
        commands.append(command)
        [folder] = [a.partition("=")[2] for a in command if a.startswith("hydra.sweep.dir=")]
        for number, fit in enumerate((4.0, 5.0, 9.0)):
            run = Path(folder.strip("'")) / str(number)
            run.mkdir()
            (run / "metrics.json").write_text(json.dumps({"seconds/fit": fit, "seconds/test": 1.0}))
        return 450.0

    monkeypatch.setattr(sweep_job, "execute", execute)
    rows = {row["name"]: row for row in long_sweep_rows(base, head, tmp_path / "scratch", ["a=b"])}
    assert rows["long_sweep_base"]["value"] == JOBS * 6.0
    assert rows["long_sweep"]["ratio"] == pytest.approx(450 / 300)
    assert all("-m" in command and "a=b" in command for command in commands)
    [measured] = [command for command in commands if SWEEP[0] in command]
    assert measured[1] == str(tmp_path / "new" / "train.py")
    assert any("data.composites=1000" in command for command in commands)


def test_sweep_has_the_jobs_that_it_is_divided_by():
    count = 1
    for override in SWEEP:
        count *= len(override.partition("=")[2].split(","))
    assert count == JOBS
