"""Which checkpoints a run leaves, whatever the trainer and its checkpoint callbacks are told."""

import csv

import pytest
import torch
from outcomes import only_run, read_metrics, same_state, state_of

from fashion_transfer.models import ClassificationTask
from fashion_transfer.runs.newest import newest_checkpoint

# At this rate the loss is lowest in an early epoch.
WORSE = ("model.optimizer.lr=1", "model.scheduler=null", "trainer.max_epochs=4", "test=false")
THREE = ("trainer.max_epochs=3", "test=false")


def read(path):
    return torch.load(path, weights_only=True)


def losses(folder):
    with next(folder.rglob("metrics.csv")).open(newline="") as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]


@pytest.mark.parametrize(("kept", "files"), [(3, 3), (-1, 4)])
def test_best_checkpoint_is_the_best_of_several_that_are_kept(run, tiny, tmp_path, kept, files):
    quiet = ("logger=csv", "callbacks.progress=null", "callbacks.figures=null")
    run("train.py", *tiny(tmp_path, *WORSE, *quiet, f"+callbacks.best.save_top_k={kept}"))
    folder = only_run(tmp_path)
    best = read(folder / "checkpoints" / "best.ckpt")
    assert best["metrics"]["val/loss"] == pytest.approx(min(losses(folder)))
    assert best["epoch"] < 3
    assert read_metrics(folder)["val/loss"] == best["metrics"]["val/loss"]
    others = list((folder / "checkpoints").glob("best-*.ckpt"))
    assert len(others) == files
    assert len({read(path)["epoch"] for path in others}) == files


@pytest.mark.parametrize(
    "override",
    [
        "callbacks.best.filename={epoch}",
        "callbacks.best.filename=epoch={epoch} loss={val/loss:.2f}",
        "callbacks.best.dirpath=ELSEWHERE",
        "callbacks.best=null",
        "callbacks=null",
        "+callbacks.best.save_top_k=0",
        "+callbacks.best.every_n_epochs=5",
    ],
)
def test_best_checkpoint_is_found_whatever_the_callback_calls_it(
    run, tiny, plain, tmp_path, override
):
    logs = tmp_path / "logs"
    more = ["logger=csv"] if override == "callbacks=null" else [*plain]
    if "val/loss" in override:
        more.append("+callbacks.best.auto_insert_metric_name=false")
    override = override.replace("ELSEWHERE", str(tmp_path / "else where"))
    run("train.py", *tiny(logs, *THREE, *more, override)).succeeded()
    best = newest_checkpoint(logs)
    assert best == only_run(logs) / "checkpoints" / "best.ckpt"
    assert read(best)["global_step"] == 21  # of three epochs
    assert "val/loss" in read_metrics(only_run(logs))
    assert all(p.parent.name in ("checkpoints", "else where") for p in tmp_path.rglob("*.ckpt"))


def test_run_that_validates_no_epoch_keeps_the_last_one_and_says_so(
    train, run, tiny, plain, tmp_path
):
    ended = run("train.py", *tiny(tmp_path, *plain, *THREE, "trainer.check_val_every_n_epoch=5"))
    out = ended.succeeded().out
    assert "trainer.check_val_every_n_epoch=5 is over trainer.max_epochs=3" in out
    assert "best.ckpt will be the last epoch's" in out
    checkpoints = only_run(tmp_path) / "checkpoints"
    assert read(checkpoints / "best.ckpt")["epoch"] == 2
    assert same_state(state_of(checkpoints / "best.ckpt"), state_of(checkpoints / "last.ckpt"))
    assert not any(name.startswith("val/") for name in read_metrics(only_run(tmp_path)))


def test_early_stopping_needs_an_epoch_that_is_validated(run, tiny, plain, tmp_path):
    more = ("callbacks=early_stopping", "trainer.check_val_every_n_epoch=5")
    message = run("train.py", *tiny(tmp_path, *plain, *THREE, *more)).mistake()
    assert "callbacks.early_stopping watches the validation, and there is none, as" in message


def test_last_checkpoint_is_of_the_last_epoch_also_without_a_validation(train, tmp_path):
    ended = train(tmp_path / "logs", *THREE, "trainer.check_val_every_n_epoch=2")
    best, last = read(ended.best), read(ended.last)
    assert (best["epoch"], last["epoch"]) == (1, 2)
    assert "val/loss" in best["metrics"]
    assert last["metrics"] == {}  # those of the epoch before are of other weights
    assert ended.metrics["val/loss"] == best["metrics"]["val/loss"]


def test_last_checkpoint_is_of_a_whole_epoch_when_there_are_several_validations(
    run, tiny, plain, tmp_path, monkeypatch
):
    step = ClassificationTask.training_step

    def interrupting(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (1, 5):  # after a validation of this epoch
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationTask, "training_step", interrupting)
    more = ("trainer.max_epochs=2", "+trainer.val_check_interval=0.5")
    assert run("train.py", *tiny(tmp_path, *plain, *more)).status == 130
    checkpoints = only_run(tmp_path) / "checkpoints"
    assert read(checkpoints / "last.ckpt")["global_step"] == 7
    assert read(checkpoints / "best.ckpt")["global_step"] == 10


@pytest.mark.parametrize("end", ["+trainer.max_steps=10", "callbacks=early_stopping"])
def test_last_checkpoint_is_of_a_whole_epoch_when_training_ends_within_one(train, tmp_path, end):
    more = ("+trainer.val_check_interval=0.5", "model.optimizer.lr=1", "model/scheduler=none")
    patience = ("callbacks.early_stopping.patience=2",) if "stopping" in end else ()
    ended = train(tmp_path / "logs", *THREE, *more, end, *patience)
    assert read(ended.last)["global_step"] % 7 == 0
    assert read(ended.best)["global_step"] % 7


def test_training_that_ends_before_its_first_validation_leaves_its_last_step(
    run, tiny, plain, tmp_path
):
    more = ("+trainer.max_steps=3", "policy.threshold=auto", "test=false")
    ended = run("train.py", *tiny(tmp_path, *plain, *more)).succeeded()
    assert "best.ckpt is of the last step" in ended.out
    assert ended.out.count("left out: temperature, OOD limit, automatic threshold") == 1
    assert ended.err == ""
    assert read(newest_checkpoint(tmp_path))["global_step"] == 3


def test_training_without_a_step_is_a_mistake(run, tiny, plain, tmp_path):
    ended = run("train.py", *tiny(tmp_path, *plain, "+trainer.max_time=00:00:00:00"))
    assert "training ended before its first step" in ended.mistake()
    assert list(tmp_path.rglob("best.ckpt")) == []


def test_finished_run_that_is_continued_in_a_new_folder_has_its_best_checkpoint_there(
    run, tiny, plain, trained, tmp_path
):
    run("train.py", *tiny(tmp_path, *plain, f"ckpt_path={trained.last}")).succeeded()
    best = only_run(tmp_path) / "checkpoints" / "best.ckpt"
    assert best.read_bytes() == trained.best.read_bytes()
    assert read_metrics(only_run(tmp_path))["val/loss"] == trained.metrics["val/loss"]
