import pytest

from fashion_transfer.search.pruning import build_pruner
from fashion_transfer.search.report import read_rows, short_names, trial_line, write_report
from fashion_transfer.search.space import read_space
from fashion_transfer.search.study import SearchStudy

SPACE = read_space({"model": {"head": {"choices": ["mlp", "a|b"]}}, "lr": {"low": 1, "high": 9}})


@pytest.fixture
def study(tmp_path):
    """Trial 0 and 3 finished, 1 failed, 2 and 4 were pruned."""
    study = SearchStudy(tmp_path / "study", {}, 0, "min", build_pruner("none", None))
    for _ in range(5):
        study.claim(SPACE, 5)
    study.complete(0, 0.5)
    study.fail(1, "out of memory")
    study.report(2, 0.9, 1)
    study.prune(2)
    study.complete(3, 0.4)
    study.report(4, float("nan"), 3)
    study.prune(4, "val/loss is nan after epoch 3")
    yield study
    study.close()


def test_trials_are_ranked_finished_first_then_by_epochs(study):
    rows = read_rows(study)
    assert [row.number for row in rows] == [3, 0, 4, 2, 1]
    assert [row.state for row in rows] == ["finished"] * 2 + ["pruned"] * 2 + ["failed"]


def test_line_of_a_trial_has_outcome_best_and_time_left(study):
    assert trial_line(study, 0, 5, 1.26, 2.4) == (
        "trial 0 (of 5): 0.5000 · 1.3 s · best 0.4000 (trial 3) · about 2 min left"
    )
    assert "trial 1 (of 5): no value, failed (out of memory)" in trial_line(study, 1, 5, 1, 0)
    assert "0.9000, pruned after 1 epoch ·" in trial_line(study, 2, 5, 1, 0)
    assert "left" not in trial_line(study, 2, 5, 1, 0)


def test_report_has_all_trials_counts_and_the_command(study, capsys):
    write_report(study, "val/loss", "python train.py lr=3", {"test/accuracy": 0.9})
    text = (study.folder / "search.md").read_text()
    assert "5 trials: 2 finished, 2 pruned, 1 failed. Best: trial 3, val/loss 0.4000." in text
    assert "Tested once: test/accuracy 90.00%." in text
    assert "python train.py lr=3" in text
    assert "out of memory" in text
    assert r"a\|b" in text or "mlp" in text
    out = capsys.readouterr().out
    assert "python train.py lr=3" in out
    assert "failed: out of memory" in " ".join(out.split())


def test_report_without_a_finished_trial_has_no_winner(tmp_path, capsys):
    study = SearchStudy(tmp_path, {}, 0, "min", build_pruner("none", None))
    study.claim(SPACE, 1)
    study.fail(0, "no")
    write_report(study, "val/loss", None, None)
    study.close()
    assert "1 trial: 1 failed." in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_short_names_are_the_shortest_that_differ():
    assert short_names(["a.lr", "b.lr", "model.head", "c.head.hidden"]) == {
        "a.lr": "a.lr",
        "b.lr": "b.lr",
        "model.head": "head",
        "c.head.hidden": "hidden",
    }
    assert short_names(["lr", "b.lr"])["b.lr"] == "b.lr"
