import json

import pytest
from filelock import FileLock
from run_folders import write_run

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.collection import choose, collect, short_paths

STAMP = "2026-11-26_09-30-00"


def write_old_run(logs, path, finished=True):
    """A run of version 0.1.0, which wrote no record."""
    folder = logs / path
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    (folder / ".hydra" / "config.yaml").write_text("seed: 1\nmodel:\n  lr: 0.1\n")
    (folder / ".hydra" / "hydra.yaml").write_text("hydra: {runtime: {choices: {debug: null}}}\n")
    (folder / "train.log").touch()
    if finished:
        (folder / "metrics.json").write_text('{"val/accuracy": 0.5}')
    return folder


def test_collect_reads_runs_at_any_depth_the_newest_first(tmp_path):
    write_run(tmp_path, "train/runs/a", accuracy=0.5, started="2026-11-26T09:00:00+00:00")
    write_run(tmp_path, "train/multiruns/b/0", {"seed": 1}, started="2026-11-26T10:00:00+00:00")
    (tmp_path / "evaluate/runs/c/.hydra").mkdir(parents=True)
    assert [run.path for run in collect(tmp_path)] == ["train/multiruns/b/0", "train/runs/a"]


def test_row_holds_settings_metrics_and_origin(tmp_path):
    write_run(tmp_path, "train/runs/a", {"seed": 3}, accuracy=0.5)
    [run] = collect(tmp_path)
    row = run.row
    assert row["seed"] == 3
    assert row["val/accuracy"] == 0.5
    assert row["seconds"] == 2.5
    assert row["weights"] == "random abababab"
    assert row["commit"] == "0123456789ab"
    assert row["status"] == "finished"
    assert row["command"] == "python train.py seed=3"
    assert "error" not in row


def test_collect_reads_runs_of_earlier_versions(tmp_path):
    write_old_run(tmp_path, "runs/a")
    write_old_run(tmp_path, "runs/b", finished=False)
    runs = {run.name: run for run in collect(tmp_path)}
    assert runs["a"].row["model.lr"] == 0.1
    assert runs["a"].row["command"] == "python train.py seed=1"
    assert [runs[name].status for name in "ab"] == ["finished", "killed"]


def test_status_of_a_run_is_by_its_lock(tmp_path):
    folder = write_run(tmp_path, "a")
    with FileLock(folder / ".lock"):
        assert collect(tmp_path)[0].status == "running"
    assert collect(tmp_path)[0].status == "killed"


@pytest.mark.parametrize("file", ["run.json", "metrics.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "\x00\xff", "null"])
def test_damaged_files_make_a_run_unreadable_and_spare_the_others(tmp_path, file, content):
    folder = write_run(tmp_path, "a", accuracy=0.5)
    (folder / file).write_text(content, encoding="latin-1")
    write_run(tmp_path, "b", accuracy=0.5)
    runs = {run.name: run for run in collect(tmp_path)}
    assert runs["b"].status == "finished"
    if (file, content) != ("metrics.json", '{"format": 1}'):
        assert runs["a"].status == "unreadable"
        assert runs["a"].row["error"]
        assert "\n" not in runs["a"].row["error"]


@pytest.mark.parametrize(
    ("name", "value"), [("config", None), ("overrides", "x"), ("choices", []), ("started", 3)]
)
def test_a_record_with_values_of_another_type_is_unreadable(tmp_path, name, value):
    folder = write_run(tmp_path, "a")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {name: value}))
    [run] = collect(tmp_path)
    assert run.status == "unreadable"
    assert name in run.row["error"]


def test_collect_skips_hidden_folders_and_links_that_lead_round(tmp_path):
    write_run(tmp_path, ".removed-1/a")
    write_run(tmp_path, "b")
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    assert [run.path for run in collect(tmp_path)] == ["b"]


@pytest.mark.parametrize("name", ["ü 衣", "a b", "q'uote", "new\nline", "-x"])
def test_odd_names_are_listed_and_chosen(tmp_path, name):
    write_run(tmp_path, f"train/{name}", accuracy=0.5)
    runs = collect(tmp_path)
    assert [run.name for run in runs] == [name]
    assert choose(name, runs, tmp_path) == runs


def test_short_paths_are_unambiguous_and_have_no_date():
    paths = [
        f"train/runs/{STAMP}_6c145aed",
        f"train/multiruns/{STAMP}_0123abcd/0",
        f"train/multiruns/{STAMP}_0123abcd/1",
        "results/default/0",
        "results/plain/x",
        "photos/plain/x",
    ]
    names = ["6c145aed", "0123abcd/0", "0123abcd/1", "default/0"]
    assert short_paths(paths) == [*names, "results/plain/x", "photos/plain/x"]


def test_short_paths_have_the_date_where_nothing_else_differs():
    paths = [f"runs/{day}_09-30-00_0123abcd" for day in ("2026-11-25", "2026-11-26")]
    assert short_paths(paths) == paths


@pytest.fixture
def logs(tmp_path):
    for path in ("train/runs/first", "train/multiruns/s1/0", "train/multiruns/s1/1", "other/first"):
        write_run(tmp_path, path, accuracy=0.5)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("s1/0", {"train/multiruns/s1/0"}),
        ("s1", {"train/multiruns/s1/0", "train/multiruns/s1/1"}),
        ("multiruns", {"train/multiruns/s1/0", "train/multiruns/s1/1"}),
        ("oth", {"other/first"}),
        ("runs/first", {"train/runs/first"}),
        ("train/multiruns/s1/", {"train/multiruns/s1/0", "train/multiruns/s1/1"}),
    ],
)
def test_choose_takes_parts_of_paths(logs, text, paths):
    assert {run.path for run in choose(text, collect(logs), logs)} == paths


def test_choose_takes_folders(logs):
    runs = collect(logs)
    assert [run.path for run in choose(str(logs / "other/first"), runs, logs)] == ["other/first"]
    assert len(choose(str(logs / "train"), runs, logs)) == 3


def test_choose_refuses_what_is_ambiguous_or_unknown(logs):
    with pytest.raises(FashionTransferError, match="fits 2 folders: other/first, train/runs/first"):
        choose("first", collect(logs), logs)
    with pytest.raises(FashionTransferError, match="no run under"):
        choose("nothing", collect(logs), logs)
