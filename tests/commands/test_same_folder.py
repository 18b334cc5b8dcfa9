"""A run that is started in the folder of another."""

import json

import pytest
from outcomes import read_metrics, same_state, state_of, without_seconds

from fashion_transfer.models import ClassificationTask


def contents(folder):
    """Bytes of what a run left, by name; its log is written to by every start."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.suffix not in (".log", ".lock")}


@pytest.fixture
def stopped_in_epoch(monkeypatch):
    """`stopped_in_epoch(n)`: Ctrl-C in epoch n of every run; undo it to go on."""
    step = ClassificationTask.training_step

    def stop(epoch):
        def stopping(self, batch, batch_idx):
            if self.current_epoch == epoch:
                raise KeyboardInterrupt
            return step(self, batch, batch_idx)

        monkeypatch.setattr(ClassificationTask, "training_step", stopping)

    return stop


def test_finished_run_is_not_run_again(run, tiny, plain, tmp_path):
    command = tiny(tmp_path / "logs", *plain, f"hydra.run.dir={tmp_path / 'run'}")
    run("train.py", *command).succeeded()
    before = contents(tmp_path / "run")
    again = run("train.py", *command).succeeded()
    assert "has finished already" in again.out
    assert contents(tmp_path / "run") == before


def test_unfinished_run_goes_on_from_its_last_epoch(
    run, tiny, plain, train, tmp_path, stopped_in_epoch, monkeypatch
):
    straight = train(tmp_path / "straight")
    command = tiny(tmp_path / "logs", *plain, f"hydra.run.dir={tmp_path / 'run'}")
    stopped_in_epoch(1)
    assert run("train.py", *command).status == 130
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "interrupted"
    monkeypatch.undo()
    assert "continuing" in run("train.py", *command).succeeded().out
    metrics = read_metrics(tmp_path / "run")
    assert without_seconds(metrics) == without_seconds(straight.metrics)
    best = tmp_path / "run/checkpoints/best.ckpt"
    assert same_state(state_of(best), state_of(straight.best))


def test_unfinished_run_without_an_epoch_starts_again(
    run, tiny, plain, tmp_path, stopped_in_epoch, monkeypatch
):
    command = tiny(tmp_path / "logs", *plain, f"hydra.run.dir={tmp_path / 'run'}")
    stopped_in_epoch(0)
    assert run("train.py", *command).status == 130
    monkeypatch.undo()
    run("train.py", *command).succeeded()
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "finished"


def test_folder_of_a_run_with_another_configuration_is_refused(run, tiny, plain, tmp_path):
    command = tiny(tmp_path / "logs", *plain, f"hydra.run.dir={tmp_path / 'run'}")
    run("train.py", *command).succeeded()
    before = (tmp_path / "run/metrics.json").read_bytes()
    message = run("train.py", *command, "seed=1").mistake()
    assert "another configuration" in message
    assert (tmp_path / "run/metrics.json").read_bytes() == before


def test_failed_run_is_recorded_with_its_error(run, tiny, plain, tmp_path):
    command = tiny(tmp_path / "logs", *plain, f"hydra.run.dir={tmp_path / 'run'}")
    message = run("train.py", *command, "ckpt_path=missing.ckpt").mistake()
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert (record["status"], record["error"]) == ("failed", message)
