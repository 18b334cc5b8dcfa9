import shlex
from pathlib import Path

import pytest
import torch
from outcomes import only_run, read_metrics, same_state, state_of, without_seconds

from fashion_transfer.models import ClassificationTask, load_classifier
from fashion_transfer.runs.folders import run_lock

pytestmark = pytest.mark.slow

HEAD = ("model/head=mlp", "model.head.hidden=32", "model.head.dropout=0.5")
FOUR_EPOCHS = ("trainer.max_epochs=4", *HEAD)
CACHED_VIEWS = (*FOUR_EPOCHS, "data.views=2")
# Every image goes through the backbone in every epoch, so these are few.
FEW = ("data.images_per_class=4", "data.synthetic.composites=8", "data.synthetic.controls=8")
NO_CACHE = ("data.views=null", "store=false", *FEW)
FRESH_VIEWS = (*FOUR_EPOCHS, *NO_CACHE)
# Worker processes fetch batches before the epoch begins.
WORKERS = ("trainer.max_epochs=4", *NO_CACHE, "data.num_workers=1")

VALIDATIONS = (*FOUR_EPOCHS, "+trainer.val_check_interval=0.34")
# Training ends within the epoch that it is stopped in.
STEPS = ("+trainer.max_steps=18", "trainer.max_epochs=-1", *HEAD)

# Ends the process in the middle of its third epoch, at the same batch every time.
STOPPED = """
import os, runpy, signal, sys
from fashion_transfer.models import ClassificationTask

step = ClassificationTask.training_step

def stopping(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (2, 1):
        os.kill(os.getpid(), signal.{signal})
    return step(self, batch, batch_idx)

ClassificationTask.training_step = stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def straight(train, tmp_path_factory):
    """`straight(*overrides)`: the run that nobody stopped, trained once per module."""
    runs = {}

    def run_of(*overrides: str):
        if overrides not in runs:
            runs[overrides] = train(tmp_path_factory.mktemp("straight") / "logs", *overrides)
        return runs[overrides]

    return run_of


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C in the middle of the third epoch; undo it to go on."""
    step = ClassificationTask.training_step

    def interrupting(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (2, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTask, "training_step", interrupting)
        yield patch


def assert_equals_one_that_never_stopped(folder: Path, expected) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        mine = state_of(folder / "checkpoints" / name)
        assert same_state(mine, state_of(expected.folder / "checkpoints" / name)), name
    metrics = read_metrics(folder)
    assert without_seconds(metrics) == without_seconds(expected.metrics)


@pytest.mark.parametrize(
    "overrides",
    [FRESH_VIEWS, WORKERS, VALIDATIONS, STEPS],
    ids=["fresh views", "workers", "several validations", "max_steps"],
)
def test_resumed_run_equals_one_that_never_stopped(
    run, tiny, plain, straight, interrupted, tmp_path, overrides
):
    logs = tmp_path / "logs"
    arguments = tiny(logs, *plain, *overrides)
    assert run("train.py", *arguments).status == 130
    folder = only_run(logs)
    assert not (folder / "metrics.json").exists()
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 1

    interrupted.undo()
    run("train.py", f"paths.logs={logs}", "ckpt_path=last").succeeded()
    assert only_run(logs) == folder
    assert_equals_one_that_never_stopped(folder, straight(*overrides))


def test_resumed_run_of_a_killed_process_equals_one_that_never_stopped(
    run, process, tiny, plain, straight, tmp_path
):
    logs = tmp_path / "logs"
    killed = process(STOPPED.format(signal="SIGKILL"), *tiny(logs, *plain, *CACHED_VIEWS))
    assert killed.returncode == -9, killed.stderr
    folder = only_run(logs)
    assert not (folder / "metrics.json").exists()
    run("train.py", f"paths.logs={logs}", "ckpt_path=last").succeeded()
    assert only_run(logs) == folder
    assert_equals_one_that_never_stopped(folder, straight(*CACHED_VIEWS))


def test_ctrl_c_prints_one_line_that_names_the_best_checkpoint(process, run, tiny, tmp_path):
    logs = tmp_path / "logs"
    ended = process(STOPPED.format(signal="SIGINT"), *tiny(logs, "trainer.max_epochs=4"))
    assert ended.returncode == 130, ended.stderr
    [line] = ended.stderr.splitlines()
    assert line.startswith("interrupted")
    best = only_run(logs) / "checkpoints" / "best.ckpt"
    assert str(best) in line
    assert "ckpt_path=last" in line
    assert load_classifier(best)


def test_ctrl_c_prints_the_whole_command_that_continues(run, tiny, plain, interrupted, tmp_path):
    logs, folder = tmp_path / "logs of mine", tmp_path / "run"
    arguments = tiny(logs, *plain, "trainer.max_epochs=3", f"hydra.run.dir={folder}")
    ended = run("train.py", *arguments)
    assert ended.status == 130
    command = shlex.split(ended.err.split("`")[1])
    assert command[:2] == ["python", "train.py"]
    interrupted.undo()
    run(*command[1:]).succeeded()
    assert (folder / "metrics.json").is_file()
    assert not logs.exists()


def test_ctrl_c_while_testing_prints_one_line(run, tiny, plain, tmp_path, monkeypatch):
    def interrupting(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassificationTask, "test_step", interrupting)
    ended = run("train.py", *tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1"))
    assert ended.status == 130
    [line] = ended.err.splitlines()
    assert line.startswith("interrupted")
    assert (only_run(tmp_path / "logs") / "checkpoints" / "best.ckpt").is_file()


def test_run_stopped_while_testing_can_be_resumed(
    run, tiny, plain, straight, tmp_path, monkeypatch
):
    def failing(self, batch, batch_idx):
        raise OSError("the machine went away")

    logs = tmp_path / "logs"
    with monkeypatch.context() as patch:
        patch.setattr(ClassificationTask, "test_step", failing)
        assert run("train.py", *tiny(logs, *plain, *CACHED_VIEWS)).status == 1
    run("train.py", f"paths.logs={logs}", "ckpt_path=last").succeeded()
    assert_equals_one_that_never_stopped(only_run(logs), straight(*CACHED_VIEWS))


def test_checkpoint_of_another_run_is_continued_in_a_new_folder(
    run, tiny, plain, straight, interrupted, tmp_path
):
    # The best epoch's checkpoint stays in the old folder, so the last epoch's is compared.
    recipe = (*CACHED_VIEWS, "monitor.metric=null")
    stopped, logs = tmp_path / "stopped", tmp_path / "logs"
    run("train.py", *tiny(stopped, *plain, *recipe))
    last = only_run(stopped) / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    interrupted.undo()
    run("train.py", *tiny(logs, *plain, *recipe, f"ckpt_path={last}")).succeeded()
    assert last.read_bytes() == before
    metrics = read_metrics(only_run(logs))
    assert without_seconds(metrics) == without_seconds(straight(*recipe).metrics)
    assert (only_run(logs) / "checkpoints" / "best.ckpt").is_file()


def test_run_is_not_continued_beyond_the_end_of_its_schedule(run, tiny, plain, trained, tmp_path):
    more = ("trainer.max_epochs=4", f"ckpt_path={trained.last}")
    message = run("train.py", *tiny(tmp_path, *plain, *more)).mistake()
    assert "14 steps" in message  # of 80 images, 16 composites and 16 controls, twice
    assert "model/scheduler=none" in message
    constant = (*more, "model.scheduler=null", f"hydra.run.dir={tmp_path / 'on'}")
    run("train.py", *tiny(tmp_path, *plain, *constant)).succeeded()
    checkpoint = torch.load(tmp_path / "on/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 3


def test_finished_run_is_not_resumed(run, trained):
    message = run("train.py", f"paths.logs={trained.logs}", "ckpt_path=last").mistake()
    assert "no unfinished run" in message


def test_resuming_without_a_run_is_a_mistake(run, tmp_path):
    message = run("train.py", f"paths.logs={tmp_path}", "ckpt_path=last").mistake()
    assert "no unfinished run" in message
    assert list(tmp_path.iterdir()) == []


def test_resuming_with_other_overrides_is_a_mistake(run, tiny, plain, interrupted, tmp_path):
    run("train.py", *tiny(tmp_path, *plain, "trainer.max_epochs=3"))
    message = run("train.py", f"paths.logs={tmp_path}", "ckpt_path=last", "seed=5").mistake()
    assert "leave out seed=5" in message


def test_run_folder_in_use_is_left_unchanged(run, tiny, plain, tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    with run_lock(folder):
        ended = run("train.py", *tiny(tmp_path / "logs", *plain, f"hydra.run.dir={folder}"))
    assert "in use" in ended.mistake()
    assert not (folder / "checkpoints").exists()
