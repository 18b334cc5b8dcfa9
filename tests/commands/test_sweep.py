"""The state of a sweep on disk, and its tables."""

import csv
import json
import re
import threading

import pytest

from fashion_transfer.commands.sweep import (
    MAX_PRINTED,
    Job,
    Sweep,
    finished_job,
    newest_sweep,
    read_sweep,
    update_jobs,
)
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.record import RunRecord, write_record


def finished(number: int, *overrides: str, accuracy: float = 0.5, **more: float) -> Job:
    metrics = {"val/loss": 1 - accuracy, "val/accuracy": accuracy, "seconds": 1.25, **more}
    return Job(number, list(overrides), "finished", str(number), "", metrics)


def failed(number: int, *overrides: str, error: str = "no luck") -> Job:
    return Job(number, list(overrides), "failed", str(number), error)


@pytest.fixture
def sweep(tmp_path):
    """`sweep(*jobs, metric=…, mode=…)`: a sweep that is on disk."""

    def create(*jobs: Job, metric: str | None = "val/accuracy", mode: str = "max") -> Sweep:
        created = Sweep(tmp_path, ["seed=0,1"], metric, mode, list(jobs))
        created.write()
        return created

    return create


@pytest.fixture
def printed(capsys, monkeypatch):
    """`printed(sweep, width)`: what it prints in a terminal of some width."""

    def print_in(sweep: Sweep, width: int = 200) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        sweep.print()
        return capsys.readouterr().out

    return print_in


def rows(folder, name: str = "sweep.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def unfolded(text: str) -> str:
    """What a printed table shows, without blanks, each column as one text."""
    lines = text.splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("─")]
    if not rules:
        return re.sub(r"\s", "", text)
    columns = [match.span() for match in re.finditer("─+", lines[rules[0]])]
    shown = ["".join(line[start:end] for line in lines) for start, end in columns]
    return re.sub(r"\s", "", " ".join(shown))


# ---- the order


def test_best_run_comes_first_and_a_failed_one_last(sweep, tmp_path, printed):
    jobs = (finished(0, "seed=0"), failed(1, "seed=1"), finished(2, "seed=2", accuracy=0.75))
    out = printed(sweep(*jobs))
    assert [row["job"] for row in rows(tmp_path)] == ["2", "0", "1"]
    assert [row["val/accuracy"] for row in rows(tmp_path)] == ["0.75", "0.5", ""]
    assert [row["status"] for row in rows(tmp_path)] == ["finished", "finished", "failed"]
    assert "75.00%" in out
    assert "failed: 1 of 3" in out
    assert "job 1, seed=1: no luck" in out


@pytest.mark.parametrize(
    ("metric", "mode", "order"),
    [
        ("val/accuracy", "max", [1, 0, 2]),
        ("val/accuracy", "min", [0, 1, 2]),
        ("val/loss", "min", [1, 0, 2]),
        ("test/accuracy", "max", [0, 1, 2]),
        (None, "min", [0, 1, 2]),
    ],
)
def test_runs_are_ranked_by_the_monitored_metric(sweep, metric, mode, order):
    jobs = (
        finished(0, accuracy=0.5, **{"test/accuracy": 0.9}),
        finished(1, accuracy=0.7, **{"test/accuracy": 0.2}),
        failed(2),
    )
    assert [row["job"] for row in sweep(*jobs, metric=metric, mode=mode).ranked()] == order


@pytest.mark.parametrize("mode", ["min", "max"])
def test_run_whose_metric_is_nan_comes_after_those_with_a_number(sweep, mode):
    jobs = (finished(0, accuracy=float("nan")), finished(1), finished(2, accuracy=0.7))
    assert sweep(*jobs, mode=mode).ranked()[-1]["job"] == 0


def test_equal_runs_stay_in_the_order_of_their_numbers(sweep):
    jobs = [finished(number, f"seed={number}") for number in range(12)]
    assert [row["job"] for row in sweep(*jobs).ranked()] == list(range(12))


# ---- what differs


def test_only_what_differs_has_a_column(sweep, tmp_path, printed):
    out = printed(
        sweep(
            finished(0, "model.optimizer.lr=0.1", "model/head=mlp", "test=false"),
            finished(1, "model.optimizer.lr=0.2", "model/head=linear", "test=false"),
        )
    )
    heading = out.splitlines()[3].split()
    assert heading == ["job", "lr", "head", "val/accuracy", "seconds"]
    assert "false" not in out
    assert (rows(tmp_path)[0]["lr"], rows(tmp_path)[0]["head"]) == ("0.1", "mlp")


def test_columns_of_keys_with_the_same_end_have_longer_names(sweep):
    jobs = (finished(0, "a.lr=1", "b.lr=1", "seed=1"), finished(1, "a.lr=2", "b.lr=2", "seed=2"))
    assert list(sweep(*jobs).differences.values()) == ["a.lr", "b.lr", "seed"]


def test_key_that_ends_like_a_column_of_the_table_is_written_out(sweep):
    jobs = (finished(0, "+a.seconds=1"), finished(1, "+a.seconds=2"))
    assert sweep(*jobs).differences == {"a.seconds": "a.seconds"}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_that_differs_is_cut_off_in_any_terminal(sweep, tmp_path, printed, width):
    weights = [f"/data/experiments/2026/{'long-name-' * 9}{number}.pth" for number in range(3)]
    pools = ["[layer2@2,layer3,layer4]", "[layer1,layer2,layer3,layer4]", "layer4"]
    jobs = [
        finished(
            number,
            f"model.backbone.weights={path}",
            f"model.backbone.pool={pool}",
            f"data.synthetic.images_per_class={number}",
        )
        for number, (path, pool) in enumerate(zip(weights, pools, strict=True))
    ]
    created = sweep(*jobs)
    out = unfolded(printed(created, width))
    markdown = (tmp_path / "sweep.md").read_text()
    for path, pool in zip(weights, pools, strict=True):
        assert path in out
        assert pool in out
        assert path in markdown
        assert pool in markdown
    assert [row["pool"] for row in rows(tmp_path)] == pools


def test_lines_of_a_table_fit_the_terminal(sweep, printed):
    jobs = [finished(n, f"model.backbone.pool={'layer1,' * 9}{n}") for n in range(3)]
    lines = printed(sweep(*jobs), 80).splitlines()
    assert max(map(len, lines[2:-1])) <= 80


def test_long_table_is_printed_in_part_and_written_whole(sweep, tmp_path, printed):
    count = MAX_PRINTED + 10
    out = printed(sweep(*(finished(number, f"seed={number}") for number in range(count))))
    assert "and 10 more, in" in out
    assert len(rows(tmp_path)) == count


def test_line_of_a_run_has_what_is_particular_to_it(sweep):
    created = sweep(
        finished(0, "seed=0", "test=false"), failed(1, "seed=1", "test=false", error="too hot")
    )
    assert created.line(created.jobs[0]) == "seed=0: val/accuracy 50.00%, 1.2 s"
    assert created.line(created.jobs[1]) == "seed=1: failed: too hot"


# ---- over seeds


def test_seeds_have_a_table_of_means_and_deviations(sweep, tmp_path, printed):
    out = printed(
        sweep(
            finished(0, "seed=0", "model/head=linear", accuracy=0.5),
            finished(1, "seed=1", "model/head=linear", accuracy=0.7),
            finished(2, "model/head=mlp", "seed=0", accuracy=0.8),
            finished(3, "model/head=mlp", "seed=1", accuracy=0.8),
        )
    )
    table = out.partition("over seeds")[2]
    assert re.search(r"mlp +2 +80.00 ± 0.00% +1.2 ± 0.0\nlinear +2 +60.00 ± 14.14%", table)
    best, worst = rows(tmp_path, "sweep_seeds.csv")
    assert (best["head"], best["seeds"], best["val/accuracy"]) == ("mlp", "2", "0.8")
    assert float(worst["val/accuracy deviation"]) == pytest.approx(0.1414, abs=1e-4)
    assert "60.00 ± 14.14%" in (tmp_path / "sweep.md").read_text()


def test_failed_seed_is_left_out_of_the_mean(sweep):
    created = sweep(finished(0, "seed=0"), finished(1, "seed=1"), failed(2, "seed=2"))
    assert [row["seeds"] for row in created.over_seeds()] == [2]


@pytest.mark.parametrize("other", ["data.view_seed=1", "model/head=mlp"])
def test_runs_that_differ_in_something_else_have_no_mean(sweep, tmp_path, other):
    first = f"{other.partition('=')[0]}=0"
    created = sweep(finished(0, "seed=0", first), finished(1, "seed=1", other))
    assert created.over_seeds() == []
    assert not (tmp_path / "sweep_seeds.csv").exists()


# ---- on disk


def test_sweep_is_read_as_it_was_written(sweep, tmp_path):
    created = sweep(finished(0, "seed=0"), failed(1, "seed=1"), Job(2, ["seed=2"]))
    assert read_sweep(tmp_path) == created
    assert json.loads((tmp_path / "sweep.json").read_text())["total"] == 3


def test_jobs_that_end_at_the_same_time_are_all_written(sweep, tmp_path):
    count = 20
    sweep(*(Job(number, [f"seed={number}"]) for number in range(count)))
    threads = [
        threading.Thread(target=update_jobs, args=(tmp_path, [finished(n, f"seed={n}")]))
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_sweep(tmp_path).with_status("finished")) == count
    assert len([row for row in rows(tmp_path) if row["status"] == "finished"]) == count
    assert not list(tmp_path.glob(".sweep.*.*"))


def test_damaged_sweep_is_a_mistake(tmp_path):
    (tmp_path / "sweep.json").write_text('{"jobs": [')
    with pytest.raises(FashionTransferError, match=r"sweep.json cannot be read"):
        read_sweep(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [(["b=1", "a=0,1"], "second"), (["a=0,1"], None), (["a=0,1", "b=1", "c=1"], None)],
)
def test_newest_sweep_has_the_same_arguments_in_any_order(tmp_path, arguments, name):
    for number, folder in enumerate(("first", "second")):
        (tmp_path / folder).mkdir()
        Sweep(tmp_path / folder, ["a=0,1", "b=1"], None, "min", [], started=str(number)).write()
    newest = newest_sweep(tmp_path, arguments)
    assert (newest and newest.folder.name) == name


@pytest.mark.parametrize(
    ("status", "overrides", "expected"),
    [
        ("finished", ["seed=1", "test=false"], True),
        ("finished", ["test=false", "seed=1", "ckpt_path=x"], True),
        ("finished", ["seed=2", "test=false"], False),
        ("failed", ["seed=1", "test=false"], False),
    ],
)
def test_job_has_finished_when_its_own_run_has(tmp_path, status, overrides, expected):
    folder = tmp_path / "model/head=mlp"
    folder.mkdir(parents=True)
    write_record(RunRecord(folder, status, overrides=overrides))
    metrics = {"val/loss": 0.5, "seconds/fit": 1.0, "seconds/test": 0.5, "weights/name": "x"}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    job = Job(0, ["seed=1", "test=false", "hydra.verbose=true"], folder="model/head=mlp")
    done = finished_job(job, tmp_path)
    assert (done is not None) == expected
    if done is not None:
        assert done.metrics == {"val/loss": 0.5, "seconds": 1.5}
