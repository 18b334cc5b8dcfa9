import csv
import json

import pytest
import yaml

from fashion_transfer.commands.sweep import collect, summarise


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def job(tmp_path):
    """`job(number, *overrides, accuracy=None)`: the folder of a job; without accuracy it failed."""

    def make(number: int, *overrides: str, accuracy: float | None = None):
        folder = tmp_path / str(number)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        if accuracy is not None:
            metrics = {"val/accuracy": accuracy, "test/accuracy": 0.5, "seconds/fit": 1.25}
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
