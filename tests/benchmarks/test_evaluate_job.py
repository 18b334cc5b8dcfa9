"""`evaluate.py` of two revisions in turn."""

import subprocess
import sys
from pathlib import Path

import pytest

from fashion_transfer.benchmarks import evaluate_job
from fashion_transfer.benchmarks.evaluate_job import evaluate_rows, uncached_rows
from fashion_transfer.benchmarks.revisions import Revision


@pytest.fixture
def revisions(tmp_path) -> tuple[Revision, Revision]:
    """One with the packages of version 0.1.0, and one with those of today."""
    both = []
    for name in ("old", "new"):
        package = tmp_path / name / "src" / "fashion_transfer"
        package.mkdir(parents=True)
        both.append(Revision(name, tmp_path / name, "commit"))
    (tmp_path / "new" / "src" / "fashion_transfer" / "evaluation").mkdir()
    return both[0], both[1]


def test_evaluations_alternate_and_the_first_of_each_does_not_count(
    revisions, tmp_path, monkeypatch
):
    commands = []

    def execute(command, output, cwd, environment):
        commands.append(command)
        script = Path(command[1])
        assert cwd == script.parent
        assert environment["PYTHONPATH"] == str(cwd / "src")
        if script.name == "train.py":
            return 1.0
        evaluations = sum(c[1] == command[1] for c in commands)
        return 100.0 if evaluations == 1 else {"old": 10.0, "new": 8.0}[cwd.name]

    monkeypatch.setattr(evaluate_job, "execute", execute)
    overrides = ["model.backbone.weights=w", "paths.data=d", "policy.threshold=0.7"]
    base, head = revisions
    rows = {
        row["name"]: row
        for row in evaluate_rows(base, head, tmp_path / "scratch", overrides, repeats=2)
    }
    assert rows["evaluate_base"]["value"] == 10.0
    assert rows["evaluate"]["value"] == 8.0
    assert rows["evaluate"]["ratio"] == pytest.approx(0.8)
    evaluated = [Path(c[1]).parent.name for c in commands if c[1].endswith("evaluate.py")]
    assert evaluated == ["old", "new"] * 3
    trained = {Path(c[1]).parent.name: c for c in commands if c[1].endswith("train.py")}
    assert "model.threshold=0.7" in trained["old"]
    assert "policy.threshold=0.7" in trained["new"]
    evaluation = next(c for c in commands if c[1].endswith("evaluate.py"))
    assert "paths.data=d" in evaluation
    assert not any(argument.startswith("model.backbone") for argument in evaluation)


def test_seconds_inside_the_backbone_do_not_count_where_nothing_is_cached(
    revisions, tmp_path, monkeypatch
):
    cached = []

    def execute(command, output, cwd, environment):
        store = Path(environment["FASHION_TRANSFER_CACHE"])
        if command[1].endswith("train.py"):
            store.mkdir()
            (store / "test images").touch()
            return 1.0
        _, _, _, seconds, script, *_ = command
        cached.append(sorted(file.name for file in store.iterdir()))
        (store / "composites").touch()
        assert script == str(cwd / "evaluate.py")
        Path(seconds).write_text("30.0")
        return {"old": 50.0, "new": 40.0}[cwd.name]

    monkeypatch.setattr(evaluate_job, "execute", execute)
    base, head = revisions
    rows = {
        row["name"]: row
        for row in uncached_rows(base, head, tmp_path / "scratch", ["paths.data=d"], repeats=2)
    }
    assert rows["evaluate_uncached_base"]["value"] == 20.0
    assert rows["evaluate_uncached"]["value"] == 10.0
    assert rows["evaluate_uncached"]["ratio"] == pytest.approx(0.5)
    assert cached == [["test images"]] * 4


def test_the_timer_measures_what_is_inside_the_backbone_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time, torch\n"
        "from fashion_transfer.features import Backbone\n"
        "Backbone('resnet18', None).extract(torch.zeros(1, 1, 32, 32))\n"
        "time.sleep(5)\n"
        "assert sys.argv[1:] == ['given'], sys.argv\n"
    )
    seconds = tmp_path / "seconds.txt"
    command = [sys.executable, "-c", evaluate_job.BACKBONE_TIMER, str(seconds), str(script)]
    subprocess.run([*command, "given"], check=True)
    assert 0 < float(seconds.read_text()) < 5
