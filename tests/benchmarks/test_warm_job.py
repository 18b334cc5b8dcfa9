"""The warm default job and a sweep, of two revisions in turn."""

from pathlib import Path

import pytest

from fashion_transfer.benchmarks import sweep_job, warm_job
from fashion_transfer.benchmarks.jobs import SWEEP
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.benchmarks.warm_job import HEADS, JOBS_PER_SWEEP, warm_rows


def test_jobs_and_sweeps_alternate_and_the_first_jobs_do_not_count(tmp_path, monkeypatch):
    (tmp_path / "new/src/fashion_transfer/evaluation").mkdir(parents=True)
    base = Revision("old", tmp_path / "old", "commit")
    head = Revision("new", tmp_path / "new", "commit")
    ran = []

    def execute(command, output, cwd, environment):
        assert environment["PYTHONPATH"] == str(cwd / "src")
        assert output.parent.is_dir()
        kind = "sweep" if "-m" in command else "job"
        ran.append((cwd.name, kind))
        assert ("test=false" in command, SWEEP[0] in command) == (kind == "sweep",) * 2
        if len(ran) <= 2:
            return 100.0
        return {"oldjob": 10.0, "newjob": 6.0, "oldsweep": 50.0, "newsweep": 20.0}[cwd.name + kind]

    for module in (sweep_job, warm_job):
        monkeypatch.setattr(module, "execute", execute)
    rows = {r["name"]: r for r in warm_rows(base, head, tmp_path / "scratch", ["a=b"], repeats=2)}
    jobs, sweeps = ([("old", kind), ("new", kind)] for kind in ("job", "sweep"))
    assert ran == [*jobs, *jobs * 2 * JOBS_PER_SWEEP, *sweeps * 2]
    assert (rows["warm_job_base"]["value"], rows["warm_job"]["value"]) == (10.0, 6.0)
    assert rows["warm_job"]["ratio"] == pytest.approx(0.6)
    assert rows["warm_sweep"]["ratio"] == pytest.approx(0.4)


def test_the_sweep_has_the_heads_that_its_title_names():
    count = 1
    for override in SWEEP:
        count *= len(override.partition("=")[2].split(","))
    assert count == HEADS


def test_a_failed_job_is_named(tmp_path, monkeypatch):
    revision = Revision("old", Path(tmp_path), "commit")
    with pytest.raises(Exception, match=r"train.py .*failed"):
        warm_rows(revision, revision, tmp_path / "scratch", [], repeats=1)
