import csv
import json

import pytest
import yaml
from omegaconf import OmegaConf

from fashion_transfer.commands import sweep
from fashion_transfer.commands.sweep import SweepSummary, collect, summarise


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def job(tmp_path):
    """`job(number, *overrides, accuracy=None)`: the folder of a job; without accuracy it failed."""

    def make(number: int, *overrides: str, accuracy: float | None = None, test: float = 0.5):
        folder = tmp_path / str(number)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        if accuracy is not None:
            metrics = {"val/accuracy": accuracy, "test/accuracy": test, "seconds/fit": 1.25}
            (folder / "metrics.json").write_text(json.dumps(metrics | {"weights/name": "x"}))
        return folder

    return make


def rows(folder) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_job_is_its_number_its_overrides_and_its_metrics(job):
    found = collect(job(3, "seed=1", "model/head=mlp", accuracy=0.75))
    assert found["job"] == "3"
    assert found["overrides"] == ["seed=1", "model/head=mlp"]
    assert found["val/accuracy"] == 0.75


def test_the_best_job_comes_first_and_a_failed_one_last(job, tmp_path, capsys):
    job(0, "seed=0", accuracy=0.5)
    job(1, "seed=1")
    job(2, "seed=2", accuracy=0.75)
    summarise(tmp_path)
    assert [row["job"] for row in rows(tmp_path)] == ["2", "0", "1"]
    assert [row["val/accuracy"] for row in rows(tmp_path)] == ["0.75", "0.5", ""]
    out = capsys.readouterr().out
    assert "75.00%" in out
    assert "failed" in out
    assert "sweep.csv" in out


def test_jobs_of_equal_accuracy_come_by_number(job, tmp_path):
    for number in (10, 9, 2):
        job(number, accuracy=0.5)
    summarise(tmp_path)
    assert [row["job"] for row in rows(tmp_path)] == ["2", "9", "10"]


def test_overrides_are_shown_as_they_were_given(job, tmp_path, capsys):
    override = "model.backbone.pool=[layer3,layer4]"
    job(0, override, accuracy=0.5)
    summarise(tmp_path)
    assert rows(tmp_path)[0]["overrides"] == override
    assert override in capsys.readouterr().out


def test_a_multirun_without_jobs_leaves_nothing(tmp_path, capsys):
    summarise(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_what_all_runs_have_in_common_is_left_out(job, capsys):
    folder = job(0, "seed=0", "test=false", accuracy=0.5).parent
    job(1, "seed=1", "test=false", accuracy=0.6)
    summarise(folder)
    rows = (folder / "sweep.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["seed=1", "seed=0"]
    assert "test=false" not in capsys.readouterr().out


# ---- while it goes on


@pytest.fixture
def callback(tmp_path, monkeypatch):
    """The callback as Hydra has it after `on_multirun_start`; nothing is left for the exit."""
    monkeypatch.setattr(sweep.atexit, "register", lambda *_: None)
    started = SweepSummary()
    started.on_multirun_start(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    return started


def test_every_job_that_ends_adds_a_row_and_prints_nothing(job, callback, tmp_path, capsys):
    for number in range(3):
        job(number, f"seed={number}", accuracy=0.5)
        callback.on_job_end(OmegaConf.create({}), None)
        assert len(rows(tmp_path)) == number + 1
    assert not list(tmp_path.glob(".sweep*"))
    assert capsys.readouterr().out == ""


def test_a_run_alone_has_no_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SweepSummary().on_job_end(OmegaConf.create({}), None)
    assert list(tmp_path.iterdir()) == []


def test_a_long_path_is_on_one_line(job, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    job(0, "seed=0", accuracy=0.5)
    summarise(tmp_path)
    assert f"sweep {tmp_path}" in capsys.readouterr().out.splitlines()


# ---- over seeds


def recipes(out: str) -> list[list[str]]:
    told = out.partition("over seeds")[2].splitlines()
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in told if line[:1] == "│"
    ]


def test_runs_that_differ_in_their_seed_alone_are_also_one_line(job, tmp_path, capsys):
    job(0, "seed=0", "model/head=linear", accuracy=0.5, test=0.4)
    job(1, "seed=1", "model/head=linear", accuracy=0.7, test=0.6)
    job(2, "model/head=mlp", "seed=0", accuracy=0.8)
    job(3, "model/head=mlp", "seed=1", accuracy=0.8)
    summarise(tmp_path)
    assert recipes(capsys.readouterr().out) == [
        ["model/head=mlp", "2", "80.00% ± 0.00%", "50.00% ± 0.00%", "1.2 ± 0.0"],
        ["model/head=linear", "2", "60.00% ± 14.14%", "50.00% ± 14.14%", "1.2 ± 0.0"],
    ]
    assert len(rows(tmp_path)) == 4


def test_a_sweep_of_nothing_but_seeds_is_one_recipe(job, tmp_path, capsys):
    for seed, accuracy in enumerate((0.5, 0.6, 0.7)):
        job(seed, f"seed={seed}", "test=false", accuracy=accuracy)
    summarise(tmp_path)
    [recipe] = recipes(capsys.readouterr().out)
    assert recipe[:3] == ["all runs", "3", "60.00% ± 10.00%"]


def test_a_failed_seed_does_not_count(job, tmp_path, capsys):
    job(0, "seed=0", accuracy=0.5)
    job(1, "seed=1", accuracy=0.6)
    job(2, "seed=2")
    summarise(tmp_path)
    [recipe] = recipes(capsys.readouterr().out)
    assert recipe[1] == "2"


@pytest.mark.parametrize("other", ["data.view_seed=1", "model/head=mlp"])
def test_runs_that_differ_in_something_else_are_no_recipe(job, tmp_path, capsys, other):
    job(0, "seed=0", accuracy=0.5)
    job(1, "seed=1", other, accuracy=0.6)
    summarise(tmp_path)
    assert "over seeds" not in capsys.readouterr().out
