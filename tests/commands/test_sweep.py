import csv
import json

import pytest
import yaml
from omegaconf import OmegaConf

from fashion_transfer.commands import sweep
from fashion_transfer.commands.sweep import Ranking, SweepSummary, collect, over_seeds, summarise

BY_ACCURACY = Ranking("val/accuracy", "max")


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def job(tmp_path):
    """`job(number, *overrides, accuracy=None)`: the folder of a job; without accuracy it failed."""

    def create(number: int, *overrides: str, accuracy: float | None = None, test: float = 0.5):
        folder = tmp_path / str(number)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        if accuracy is not None:
            metrics = {"val/accuracy": accuracy, "test/accuracy": test, "seconds/fit": 1.25}
            metrics["val/loss"] = 1 - accuracy
            (folder / "metrics.json").write_text(json.dumps(metrics | {"weights/name": "x"}))
        return folder

    return create


def rows(folder) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_collect_returns_number_overrides_and_metrics(job):
    run = collect(job(3, "seed=1", "model/head=mlp", accuracy=0.75))
    assert run["job"] == "3"
    assert run["overrides"] == ["seed=1", "model/head=mlp"]
    assert run["val/accuracy"] == 0.75


def test_summarise_puts_the_best_job_first_and_a_failed_one_last(job, tmp_path, capsys):
    job(0, "seed=0", accuracy=0.5)
    job(1, "seed=1")
    job(2, "seed=2", accuracy=0.75)
    summarise(tmp_path, BY_ACCURACY)
    assert [row["job"] for row in rows(tmp_path)] == ["2", "0", "1"]
    assert [row["val/accuracy"] for row in rows(tmp_path)] == ["0.75", "0.5", ""]
    out = capsys.readouterr().out
    assert "75.00%" in out
    assert "failed" in out
    assert "sweep.csv" in out


def test_summarise_sorts_equal_jobs_by_number(job, tmp_path):
    for number in (10, 9, 2):
        job(number, accuracy=0.5)
    summarise(tmp_path, BY_ACCURACY)
    assert [row["job"] for row in rows(tmp_path)] == ["2", "9", "10"]


def test_summarise_shows_overrides_as_they_were_given(job, tmp_path, capsys):
    override = "model.backbone.pool=[layer3,layer4]"
    job(0, override, accuracy=0.5)
    summarise(tmp_path, BY_ACCURACY)
    assert rows(tmp_path)[0]["overrides"] == override
    assert override in capsys.readouterr().out


def test_summarise_shows_long_overrides_whole_in_a_narrow_terminal(
    job, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    for number, size in enumerate((10, 100)):
        job(number, f"data.synthetic.images_per_class={size}", accuracy=0.5)
    summarise(tmp_path, BY_ACCURACY)
    out = capsys.readouterr().out
    assert "…" not in out
    shown = "".join(line.split("│")[2].strip() for line in out.splitlines() if "│" in line)
    assert "images_per_class=100" in shown


def test_summarise_writes_nothing_without_jobs(tmp_path, capsys):
    summarise(tmp_path, BY_ACCURACY)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_summarise_leaves_out_overrides_that_all_jobs_share(job, capsys):
    folder = job(0, "seed=0", "test=false", accuracy=0.5).parent
    job(1, "seed=1", "test=false", accuracy=0.6)
    summarise(folder, BY_ACCURACY)
    rows = (folder / "sweep.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:]] == ["seed=1", "seed=0"]
    assert "test=false" not in capsys.readouterr().out


# ---- what is best


@pytest.mark.parametrize(
    ("ranking", "order"),
    [
        (Ranking("val/accuracy", "max"), ["1", "0", "2"]),
        (Ranking("val/accuracy", "min"), ["0", "1", "2"]),
        (Ranking("val/loss", "min"), ["1", "0", "2"]),
        (Ranking("test/accuracy", "max"), ["0", "1", "2"]),
        (Ranking(None), ["0", "1", "2"]),
    ],
)
def test_summarise_sorts_by_the_monitored_metric(job, tmp_path, ranking, order):
    job(0, accuracy=0.5, test=0.9)
    job(1, accuracy=0.7, test=0.2)
    job(2)
    summarise(tmp_path, ranking)
    assert [row["job"] for row in rows(tmp_path)] == order


@pytest.mark.parametrize(
    ("metric", "columns"),
    [
        ("val/loss", ["val/loss", "val/accuracy", "test/accuracy", "seconds/fit"]),
        ("val/accuracy", ["val/accuracy", "test/accuracy", "seconds/fit"]),
        ("test/accuracy", ["test/accuracy", "val/accuracy", "seconds/fit"]),
        (None, ["val/accuracy", "test/accuracy", "seconds/fit"]),
    ],
)
def test_summarise_has_a_column_for_the_monitored_metric(job, tmp_path, metric, columns):
    job(0, accuracy=0.5)
    summarise(tmp_path, Ranking(metric))
    assert list(rows(tmp_path)[0]) == ["job", "overrides", *columns]


def test_summarise_prints_losses_as_numbers_and_accuracies_in_per_cent(job, tmp_path, capsys):
    job(0, "seed=0", accuracy=0.75)
    summarise(tmp_path, Ranking("val/loss", "min"))
    out = capsys.readouterr().out
    assert "0.2500" in out
    assert "75.00%" in out


def test_over_seeds_sorts_by_the_mean_of_the_monitored_metric():
    def run(head: str, seed: int, loss: float) -> dict:
        return {"job": "0", "overrides": [f"model/head={head}", f"seed={seed}"], "val/loss": loss}

    runs = [run("a", 0, 0.1), run("a", 1, 0.9), run("b", 0, 0.3), run("b", 1, 0.3)]
    names = [recipe["overrides"] for recipe in over_seeds(runs, Ranking("val/loss", "min"))]
    assert names == [("model/head=b",), ("model/head=a",)]


# ---- the callback


def test_callback_takes_the_order_from_the_configuration(callback):
    assert callback.ranking == Ranking("test/accuracy", "max")


@pytest.fixture
def callback(tmp_path, monkeypatch):
    """The callback after `on_multirun_start`; nothing is registered for the exit."""
    monkeypatch.setattr(sweep.atexit, "register", lambda *_: None)
    started = SweepSummary()
    monitor = {"metric": "test/accuracy", "mode": "max"}
    config = {"hydra": {"sweep": {"dir": str(tmp_path)}}, "monitor": monitor}
    started.on_multirun_start(OmegaConf.create(config))
    return started


def test_callback_adds_a_row_per_job_and_prints_nothing(job, callback, tmp_path, capsys):
    for number in range(3):
        job(number, f"seed={number}", accuracy=0.5)
        callback.on_job_end(OmegaConf.create({}), None)
        assert len(rows(tmp_path)) == number + 1
    assert not list(tmp_path.glob(".sweep*"))
    assert capsys.readouterr().out == ""


def test_callback_writes_no_table_of_a_single_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SweepSummary().on_job_end(OmegaConf.create({}), None)
    assert list(tmp_path.iterdir()) == []


def test_summarise_prints_a_long_path_on_one_line(job, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    job(0, "seed=0", accuracy=0.5)
    summarise(tmp_path, BY_ACCURACY)
    assert f"sweep {tmp_path}" in capsys.readouterr().out.splitlines()


# ---- over seeds


def recipes(out: str) -> list[list[str]]:
    lines = out.partition("over seeds")[2].splitlines()
    return [
        [cell.strip() for cell in line.strip("│").split("│")] for line in lines if line[:1] == "│"
    ]


def test_summarise_prints_means_of_runs_that_differ_in_their_seed_alone(job, tmp_path, capsys):
    job(0, "seed=0", "model/head=linear", accuracy=0.5, test=0.4)
    job(1, "seed=1", "model/head=linear", accuracy=0.7, test=0.6)
    job(2, "model/head=mlp", "seed=0", accuracy=0.8)
    job(3, "model/head=mlp", "seed=1", accuracy=0.8)
    summarise(tmp_path, BY_ACCURACY)
    assert recipes(capsys.readouterr().out) == [
        ["model/head=mlp", "2", "80.00% ± 0.00%", "50.00% ± 0.00%", "1.2 ± 0.0"],
        ["model/head=linear", "2", "60.00% ± 14.14%", "50.00% ± 14.14%", "1.2 ± 0.0"],
    ]
    assert len(rows(tmp_path)) == 4


def test_summarise_prints_one_mean_of_a_sweep_of_seeds(job, tmp_path, capsys):
    for seed, accuracy in enumerate((0.5, 0.6, 0.7)):
        job(seed, f"seed={seed}", "test=false", accuracy=accuracy)
    summarise(tmp_path, BY_ACCURACY)
    [recipe] = recipes(capsys.readouterr().out)
    assert recipe[:3] == ["all runs", "3", "60.00% ± 10.00%"]


def test_summarise_leaves_a_failed_seed_out_of_the_mean(job, tmp_path, capsys):
    job(0, "seed=0", accuracy=0.5)
    job(1, "seed=1", accuracy=0.6)
    job(2, "seed=2")
    summarise(tmp_path, BY_ACCURACY)
    [recipe] = recipes(capsys.readouterr().out)
    assert recipe[1] == "2"


@pytest.mark.parametrize("other", ["data.view_seed=1", "model/head=mlp"])
def test_summarise_prints_no_mean_of_runs_that_differ_in_something_else(
    job, tmp_path, capsys, other
):
    job(0, "seed=0", accuracy=0.5)
    job(1, "seed=1", other, accuracy=0.6)
    summarise(tmp_path, BY_ACCURACY)
    assert "over seeds" not in capsys.readouterr().out
