import pytest
from run_folders import write_run

from fashion_transfer.runs.collection import collect
from fashion_transfer.runs.differences import Spread
from fashion_transfer.runs.leaderboard import leaderboard


@pytest.fixture
def runs(tmp_path):
    """Two learning rates, two seeds of each, and one run that failed."""
    for number, (rate, seed) in enumerate([(0.1, 0), (0.1, 1), (0.2, 0), (0.2, 1)]):
        config = {"model.optimizer.lr": rate, "seed": seed}
        started = f"2026-11-26T09:3{number}:00+00:00"
        write_run(tmp_path, f"r{number}", config, accuracy=0.5 + number / 8, started=started)
    failed = {"model.optimizer.lr": 0.3}
    write_run(tmp_path, "bad", failed, status="failed", error="no", started="2026-01-01T00:00:00Z")
    return collect(tmp_path)


def test_leaderboard_shows_what_differs_metrics_and_origin(runs):
    board = leaderboard(runs)
    headings = ["run", "status", "seed", "lr", "val/loss", "val/accuracy", "seconds", "date"]
    assert list(board.columns.values()) == headings
    assert board.same == {"weights": "random abababab", "commit": "0123456789ab"}
    assert len(board.rows) == 5


def test_leaderboard_of_one_run_has_no_columns_that_differ(runs):
    board = leaderboard(runs[:1])
    assert "model.optimizer.lr" not in board.columns
    assert board.same == {}
    assert board.columns["commit"] == "commit"


def test_leaderboard_shows_chosen_metrics_and_columns(runs):
    assert "seconds/fit" in leaderboard(runs, metrics=["seconds/fit"]).columns
    board = leaderboard(runs, columns=["command", "seed"])
    assert list(board.columns) == ["run", "command", "seed"]


def test_leaderboard_folds_seeds(runs):
    board = leaderboard(runs, seeds=True)
    assert [row["seeds"] for row in board.rows] == [2, 2]
    assert list(board.columns)[:2] == ["seeds", "model.optimizer.lr"]
    best = board.sorted("val/accuracy").rows[0]
    assert best["model.optimizer.lr"] == 0.2
    assert best["val/accuracy"] == Spread(pytest.approx(0.8125), pytest.approx(0.0884, abs=1e-4))
    assert best["command"] == "python train.py -m model.optimizer.lr=0.2 seed=0,1"
    assert "seed" not in board.columns


def test_leaderboard_names_how_many_commits_are_folded(tmp_path):
    for seed in range(3):
        write_run(tmp_path, str(seed), {"seed": seed}, accuracy=0.5, commit=f"commit{min(seed, 1)}")
    [row] = leaderboard(collect(tmp_path), seeds=True).rows
    assert row["commit"].endswith("and 1 more")


def test_leaderboard_does_not_fold_other_weights(tmp_path):
    folder = write_run(tmp_path, "a", {"seed": 0}, accuracy=0.5)
    write_run(tmp_path, "b", {"seed": 1}, accuracy=0.5)
    text = (folder / "metrics.json").read_text()
    (folder / "metrics.json").write_text(text.replace("abab", "cdcd"))
    assert [row["seeds"] for row in leaderboard(collect(tmp_path), seeds=True).rows] == [1, 1]


def test_sorted_and_taken_rows_stay_with_their_runs(runs):
    board = leaderboard(runs).sorted("val/accuracy").take([0, 1])
    assert [row["run"] for row in board.rows] == ["r3", "r2"]
    assert [[run.name] for [run] in board.runs] == [["r3"], ["r2"]]
