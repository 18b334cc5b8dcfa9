import csv
import json
from pathlib import Path

import pytest
import torch

from fashion_transfer.commands.runs import newest_checkpoint, run_lock
from fashion_transfer.data import CLASSES
from fashion_transfer.models import HEADS, Classifier, MLPHead, load_classifier, slug

LEARNED = ("model/head=mlp", "model.head.hidden=32", "model.head.dropout=0.5")
FOUR_EPOCHS = ("trainer.max_epochs=4", *LEARNED)
KEPT_VIEWS = (*FOUR_EPOCHS, "data.views=2")
FRESH_VIEWS = (*FOUR_EPOCHS, "data.views=null", "store=false")
# Worker processes fetch batches ahead of the epoch that these are for.
WORKERS = ("trainer.max_epochs=4", "data.views=null", "store=false", "data.num_workers=1")

# Ends the process in the middle of its third epoch, at the same batch every time.
STOPPED = """
import os, runpy, signal, sys
from fashion_transfer.models import Classifier

step = Classifier.training_step

def stopping(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (2, 1):
        os.kill(os.getpid(), signal.{signal})
    return step(self, batch, batch_idx)

Classifier.training_step = stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
sys.argv[0] = "train.py"
runpy.run_path("train.py", run_name="__main__")
"""


def numbers(metrics: dict) -> dict:
    return {name: value for name, value in metrics.items() if not name.startswith("seconds/")}


def learned(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def only_run(logs: Path) -> Path:
    [folder] = (logs / "train" / "runs").iterdir()
    return folder


# ---- what a run leaves


def test_metrics_are_one_flat_object_of_numbers_and_what_they_must_be_read_with(trained):
    metrics = trained.metrics
    assert all(isinstance(value, (int, float, str)) for value in metrics.values())
    of_classes = [f"test/accuracy/{slug(name)}" for name in CLASSES]
    for name in ("test/accuracy", "test/loss", "val/accuracy", *of_classes):
        assert isinstance(metrics[name], float), name
    assert metrics["test/warned"] < 1  # of none there would be no selective accuracy
    fractions = {name for name in metrics if "accuracy" in name} | {"test/warned", "test/ece"}
    # The float32 mean of ten ones may be a rounding above 1.
    assert all(0 <= metrics[name] <= 1 + 1e-6 for name in fractions)
    assert metrics["test/threshold"] == pytest.approx(0.8)
    assert len(of_classes) == sum(name.startswith("test/accuracy/") for name in metrics)
    seconds = {name for name in metrics if name.startswith("seconds/")}
    assert {"seconds/features", "seconds/fit", "seconds/test"} <= seconds
    assert all(metrics[name] >= 0 for name in seconds)
    assert metrics["weights/name"] == "random"
    assert metrics["backbone/precision"] == "float32"
    assert metrics["backbone/compiled"] is False
    assert len(metrics["weights/sha256"]) == 64
    assert metrics["versions/torch"] == torch.__version__
    assert {"versions/python", "versions/lightning", "versions/torchvision"} <= metrics.keys()


def test_a_run_folder_holds_config_log_checkpoints_and_what_loggers_wrote(trained):
    for pattern in (
        ".hydra/config.yaml",
        ".hydra/overrides.yaml",
        "train.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "tensorboard/events.out.tfevents.*",
        "csv/version_0/metrics.csv",
    ):
        assert list(trained.folder.glob(pattern)), pattern


def test_nothing_is_written_outside_the_run_folder(trained):
    assert list(trained.logs.iterdir()) == [trained.logs / "train"]
    assert only_run(trained.logs) == trained.folder


def test_the_validation_accuracy_is_that_of_the_best_epoch(trained):
    lines = (trained.folder / "csv/version_0/metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/accuracy")
    found = [line.split(",")[column] for line in lines[1:]]
    best = max(float(value) for value in found if value)
    assert trained.metrics["val/accuracy"] == pytest.approx(best)


def test_all_validation_metrics_are_those_of_the_best_epoch_whatever_it_was_chosen_by(
    run, tiny, tmp_path
):
    # At this rate the loss is least in an early epoch.
    chosen = ("callbacks.best.monitor=val/loss", "callbacks.best.mode=min")
    rate = ("model.optimizer.lr=1", "model.scheduler=null", "trainer.max_epochs=3")
    run("train.py", *tiny(tmp_path, *chosen, *rate, "test=false")).succeeded()
    folder = only_run(tmp_path)
    metrics = json.loads((folder / "metrics.json").read_text())
    with (folder / "csv/version_0/metrics.csv").open(newline="") as file:
        epochs = [row for row in csv.DictReader(file) if row["val/loss"]]
    best = min(epochs, key=lambda row: float(row["val/loss"]))
    assert len(epochs) == 3
    assert best is not epochs[-1]
    names = {"val/loss", "val/accuracy", "val/macro_accuracy"}
    assert {name for name in metrics if name.startswith("val/")} == names
    for name in names:
        assert metrics[name] == pytest.approx(float(best[name]), rel=1e-4), name


@pytest.mark.parametrize("override", ["trainer.limit_val_batches=0", "data.val_per_class=0"])
def test_without_validation_the_best_checkpoint_is_the_last_epochs(
    run, tiny, plain, tmp_path, override
):
    ended = run("train.py", *tiny(tmp_path, *plain, override, "optimized_metric=null"))
    assert "best.ckpt will be the last epoch's" in ended.succeeded().out
    folder = only_run(tmp_path)
    last = learned(folder / "checkpoints" / "last.ckpt")
    assert same(learned(newest_checkpoint(tmp_path)), last)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert "test/accuracy" in metrics
    assert not any(name.startswith("val/") for name in metrics)


def test_an_option_that_is_a_list_reaches_the_head_and_the_checkpoint_as_one(
    run, tiny, plain, tmp_path, monkeypatch
):
    given = []

    class Wide(MLPHead):
        def __init__(self, in_features: int, num_classes: int, widths: list[int]) -> None:
            given.append(widths)
            super().__init__(in_features, num_classes, hidden=widths[0])

    monkeypatch.setitem(HEADS, "wide", Wide)
    head = [
        "~model.head.dropout",
        "~model.head.hidden",
        "model.head.name=wide",
        "+model.head.widths=[6,4]",
    ]
    run("train.py", *tiny(tmp_path, *plain, *head, "trainer.max_epochs=1")).succeeded()
    assert given == [[6, 4]]
    assert type(given[0]) is list
    classifier = load_classifier(newest_checkpoint(tmp_path))
    assert classifier.head_options == {"name": "wide", "widths": [6, 4]}


def test_test_numbers_are_those_of_the_best_checkpoint(trained, datamodule):
    data = datamodule()
    data.setup("test")
    classifier = load_classifier(trained.best, precision="float32")
    right = total = 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            logits = classifier.logits(data.on_after_batch_transfer(batch, 0))
            right += int((logits.argmax(dim=1) == batch["labels"]).sum())
            total += len(logits)
    assert total == 60
    # Kept features are rounded to float16, which may move an image at a border.
    assert trained.metrics["test/accuracy"] == pytest.approx(right / total, abs=2 / total)


def test_the_best_checkpoint_is_small_and_the_last_one_can_go_on(trained):
    assert trained.best.stat().st_size < 512 * 10 * 4 + 2**20
    assert "optimizer_states" not in torch.load(trained.best, weights_only=True)
    assert torch.load(trained.last, weights_only=True)["optimizer_states"]


def test_the_same_command_twice_gives_the_same_metrics(trained, run, tiny, tmp_path):
    # The second one computes its own features.
    run("train.py", *tiny(tmp_path / "logs", f"paths.cache={tmp_path}")).succeeded()
    again = json.loads((only_run(tmp_path / "logs") / "metrics.json").read_text())
    assert numbers(again) == numbers(trained.metrics)
    assert again.keys() == trained.metrics.keys()


def test_another_seed_gives_another_head(trained, train, tmp_path):
    other = train(tmp_path / "logs", "seed=1")
    assert not same(learned(other.best), learned(trained.best))


def test_without_a_test_no_test_image_is_looked_at(train, tmp_path, monkeypatch):
    monkeypatch.setattr(Classifier, "test_step", None)
    metrics = train(tmp_path / "logs", "test=false", "trainer.max_epochs=1").metrics
    assert "val/accuracy" in metrics
    assert not any(name.startswith("test/") for name in metrics)


def test_the_notebooks_recipe_tests_its_last_epoch(train, tmp_path):
    found = train(
        tmp_path / "logs", "experiment=notebook", "store=false", "optimized_metric=test/accuracy"
    )
    assert "test/accuracy" in found.metrics
    assert not any(name.startswith("val/") for name in found.metrics)
    assert same(learned(found.best), learned(found.last))


def test_no_logger_is_a_choice_of_its_own(run, tiny, tmp_path):
    run("train.py", *tiny(tmp_path / "logs", "logger=none", "trainer.max_epochs=1")).succeeded()
    folder = only_run(tmp_path / "logs")
    assert (folder / "metrics.json").is_file()
    assert not (folder / "tensorboard").exists()


def test_the_progress_bar_can_be_turned_off_by_its_own_knob(run, tiny, tmp_path):
    arguments = tiny(tmp_path / "logs", "trainer.enable_progress_bar=false", "trainer.max_epochs=1")
    assert "Epoch" not in run("train.py", *arguments).succeeded().out


# ---- stopped and resumed


@pytest.fixture(scope="module")
def straight(train, tmp_path_factory):
    """`straight(*overrides)`: the run that nobody stopped, once for all who ask for it."""
    done = {}

    def run_of(*overrides: str):
        if overrides not in done:
            done[overrides] = train(tmp_path_factory.mktemp("straight") / "logs", *overrides)
        return done[overrides]

    return run_of


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl-C in the middle of the third epoch; undo it to go on."""
    step = Classifier.training_step

    def interrupting(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == (2, 1):
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", interrupting)
        yield patch


def equals_one_that_never_stopped(folder: Path, expected) -> None:
    for name in ("last.ckpt", "best.ckpt"):
        mine = learned(folder / "checkpoints" / name)
        assert same(mine, learned(expected.folder / "checkpoints" / name)), name
    found = json.loads((folder / "metrics.json").read_text())
    assert numbers(found) == numbers(expected.metrics)


@pytest.mark.parametrize("overrides", [FRESH_VIEWS, WORKERS], ids=["fresh views", "workers"])
def test_an_interrupted_run_resumed_equals_one_that_never_stopped(
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
    equals_one_that_never_stopped(folder, straight(*overrides))


def test_a_killed_process_resumed_equals_one_that_never_stopped(
    run, process, tiny, plain, straight, tmp_path
):
    logs = tmp_path / "logs"
    killed = process(STOPPED.format(signal="SIGKILL"), *tiny(logs, *plain, *KEPT_VIEWS))
    assert killed.returncode == -9, killed.stderr
    folder = only_run(logs)
    assert not (folder / "metrics.json").exists()
    run("train.py", f"paths.logs={logs}", "ckpt_path=last").succeeded()
    assert only_run(logs) == folder
    equals_one_that_never_stopped(folder, straight(*KEPT_VIEWS))


def test_ctrl_c_is_one_line_and_keeps_the_best_checkpoint(process, run, tiny, tmp_path):
    logs = tmp_path / "logs"
    ended = process(STOPPED.format(signal="SIGINT"), *tiny(logs, "trainer.max_epochs=4"))
    assert ended.returncode == 130, ended.stderr
    [line] = ended.stderr.splitlines()
    assert line.startswith("interrupted")
    best = only_run(logs) / "checkpoints" / "best.ckpt"
    assert str(best) in line
    assert "ckpt_path=last" in line
    assert load_classifier(best)


def test_ctrl_c_while_testing_is_told_in_the_same_way(run, tiny, plain, tmp_path, monkeypatch):
    def interrupting(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "test_step", interrupting)
    ended = run("train.py", *tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1"))
    assert ended.status == 130
    [line] = ended.err.splitlines()
    assert line.startswith("interrupted")
    assert (only_run(tmp_path / "logs") / "checkpoints" / "best.ckpt").is_file()


def test_a_run_stopped_while_testing_can_go_on(run, tiny, plain, straight, tmp_path, monkeypatch):
    def failing(self, batch, batch_idx):
        raise OSError("the machine went away")

    logs = tmp_path / "logs"
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "test_step", failing)
        assert run("train.py", *tiny(logs, *plain, *KEPT_VIEWS)).status == 1
    run("train.py", f"paths.logs={logs}", "ckpt_path=last").succeeded()
    equals_one_that_never_stopped(only_run(logs), straight(*KEPT_VIEWS))


def test_another_runs_checkpoint_goes_on_in_a_folder_of_its_own(
    run, tiny, plain, straight, interrupted, tmp_path
):
    # The best epoch stays behind in its own folder: here the last one is.
    recipe = (*KEPT_VIEWS, "callbacks.best.monitor=null")
    stopped, logs = tmp_path / "stopped", tmp_path / "logs"
    run("train.py", *tiny(stopped, *plain, *recipe))
    last = only_run(stopped) / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    interrupted.undo()
    run("train.py", *tiny(logs, *plain, *recipe, f"ckpt_path={last}")).succeeded()
    assert last.read_bytes() == before
    found = json.loads((only_run(logs) / "metrics.json").read_text())
    assert numbers(found) == numbers(straight(*recipe).metrics)
    assert (only_run(logs) / "checkpoints" / "best.ckpt").is_file()


def test_a_run_does_not_go_on_beyond_the_end_of_its_schedule(run, tiny, plain, trained, tmp_path):
    more = ("trainer.max_epochs=4", f"ckpt_path={trained.last}")
    message = run("train.py", *tiny(tmp_path, *plain, *more)).mistake()
    assert "14 steps" in message  # of 80 images, 16 composites and 16 controls, twice
    assert "model.scheduler=null" in message
    constant = (*more, "model.scheduler=null", f"hydra.run.dir={tmp_path / 'on'}")
    run("train.py", *tiny(tmp_path, *plain, *constant)).succeeded()
    checkpoint = torch.load(tmp_path / "on/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 3


def test_a_finished_run_does_not_go_on(run, trained):
    message = run("train.py", f"paths.logs={trained.logs}", "ckpt_path=last").mistake()
    assert "no unfinished run" in message


def test_nothing_to_go_on_with_is_a_mistake(run, tmp_path):
    message = run("train.py", f"paths.logs={tmp_path}", "ckpt_path=last").mistake()
    assert "no unfinished run" in message
    assert list(tmp_path.iterdir()) == []


def test_other_overrides_than_the_runs_own_are_refused(run, tiny, plain, interrupted, tmp_path):
    run("train.py", *tiny(tmp_path, *plain, "trainer.max_epochs=3"))
    message = run("train.py", f"paths.logs={tmp_path}", "ckpt_path=last", "seed=5").mistake()
    assert "leave out seed=5" in message


def test_a_folder_in_use_is_left_alone(run, tiny, plain, tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    with run_lock(folder):
        ended = run("train.py", *tiny(tmp_path / "logs", *plain, f"hydra.run.dir={folder}"))
    assert "in use" in ended.mistake()
    assert not (folder / "checkpoints").exists()


# ---- many jobs


def test_a_wrong_job_among_many_does_not_keep_the_others_from_finishing(run, tiny, plain, tmp_path):
    arguments = tiny(tmp_path, *plain, "trainer.max_epochs=1", "model.head.dropout=0,7,0.1")
    ended = run("train.py", "-m", *arguments)
    assert ended.status == 1
    assert "Traceback" not in ended.out + ended.err
    assert "job 1" in ended.out
    [line] = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert "dropout" in line
    [sweep] = (tmp_path / "train" / "multiruns").iterdir()
    finished = sorted(file.parent.name for file in sweep.glob("*/metrics.json"))
    assert finished == ["0", "2"]
    assert len((sweep / "sweep.csv").read_text().splitlines()) == 4


def test_the_table_of_a_sweep_is_there_before_the_sweep_is_over(
    run, tiny, plain, tmp_path, monkeypatch
):
    # A process killed in its second job would leave what is seen here.
    seen, step = [], Classifier.training_step

    def looking(self, batch, batch_idx):
        seen.append([file.read_text() for file in tmp_path.rglob("sweep.csv")])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", looking)
    arguments = tiny(tmp_path, *plain, "trainer.max_epochs=1", "seed=0,1")
    out = run("train.py", "-m", *arguments).succeeded().out
    assert seen[0] == []
    [table] = seen[-1]
    assert len(table.splitlines()) == 2
    [line] = [line for line in out.splitlines() if "all runs" in line]
    assert "±" in line
    assert sum("sweep.csv" in line for line in out.splitlines()) == 1


# ---- mistakes


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("no_such_key=1", "no_such_key"),
        ("data.batch_size=many", "data"),
        ("data.batch_size=0", "data.batch_size"),
        ("data.images_per_class=11", "data.images_per_class"),
        ("data.num_workers=-1", "num_workers"),
        ("experiment=no_such_experiment", "no_such_experiment"),
        ("model.head.name=no_such_head", "model.head.name"),
        ("model.head.dropout=7", "dropout"),
        ("model.optimizer.lr=-1", "-1"),
        ("+model.optimizer.no_such_option=1", "no_such_option"),
        ("model.optimizer._target_=torch.optim.NoSuch", "NoSuch"),
        ("model.backbone.name=vgg16", "model.backbone.name"),
        ("model.backbone.weights=nowhere/at_all.pth", "nowhere/at_all.pth"),
        ("model.backbone.precision=float8", "model.backbone.precision"),
        ("seed=lucky", "lucky"),
        ("trainer.max_epochs=lots", "trainer"),
        ("trainer.max_epochs=-1", "max_epochs"),
        ("trainer.accelerator=abacus", "abacus"),
        ("ckpt_path=nowhere/last.ckpt", "nowhere/last.ckpt"),
        ("callbacks.best.monitor=val/beauty", "val/beauty"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(run, tiny, plain, tmp_path, override, named):
    arguments = tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1", override)
    assert named in run("train.py", *arguments).mistake()


def test_a_metric_for_sweepers_that_was_not_measured_is_told(run, tiny, plain, tmp_path):
    arguments = tiny(tmp_path, *plain, "trainer.max_epochs=1", "optimized_metric=val/beauty")
    ended = run("train.py", *arguments).succeeded()
    assert "val/beauty" in ended.out + ended.err


@pytest.mark.parametrize("wrong", ["without its optimizer", "of another head"])
def test_a_checkpoint_that_cannot_go_on_is_a_mistake(run, tiny, plain, trained, tmp_path, wrong):
    path = trained.best if wrong == "without its optimizer" else trained.last
    other = ["model/head=linear"] if wrong == "of another head" else []
    ended = run("train.py", *tiny(tmp_path, *plain, *other, f"ckpt_path={path}"))
    assert ended.mistake()


def test_an_argument_that_is_no_override_is_a_mistake(run, tmp_path):
    assert "resnet50" in run("train.py", f"paths.logs={tmp_path}", "resnet50").mistake()


def test_a_run_that_failed_is_not_taken_for_a_finished_one(run, tiny, plain, tmp_path):
    run("train.py", *tiny(tmp_path, *plain, "model.optimizer._target_=torch.no_such"))
    assert not list(tmp_path.rglob("metrics.json"))
