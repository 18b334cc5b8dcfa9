import csv

import pytest
import torch
from outcomes import only_run, read_metrics, same_state, state_of, without_seconds
from toy import SHAPES, write_toy

from fashion_transfer.commands import cli
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.evaluation import infer
from fashion_transfer.models import HEADS, ClassificationTask, MLPHead, load_classifier, slug
from fashion_transfer.runs.newest import newest_checkpoint

# ---- what a run leaves


def test_metrics_are_one_flat_object_with_provenance(trained):
    metrics = trained.metrics
    assert all(isinstance(value, (int, float, str)) for value in metrics.values())
    class_logits = [f"test/accuracy/{slug(name)}" for name in CLASS_NAMES]
    for name in ("test/accuracy", "test/loss", "val/accuracy", *class_logits):
        assert isinstance(metrics[name], float), name
    assert metrics["test/warned"] < 1  # of none there would be no selective accuracy
    fractions = {name for name in metrics if "accuracy" in name} | {"test/warned", "test/ece"}
    # The float32 mean of ten ones may be a rounding above 1.
    assert all(0 <= metrics[name] <= 1 + 1e-6 for name in fractions)
    assert metrics["test/threshold"] == pytest.approx(0.8)
    assert len(class_logits) == sum(name.startswith("test/accuracy/") for name in metrics)
    seconds = {name for name in metrics if name.startswith("seconds/")}
    assert {"seconds/features", "seconds/fit", "seconds/test"} <= seconds
    assert all(metrics[name] >= 0 for name in seconds)
    assert metrics["weights/name"] == "random"
    assert metrics["backbone/precision"] == "float32"
    assert metrics["backbone/compiled"] is False
    assert len(metrics["weights/sha256"]) == 64
    assert metrics["versions/torch"] == torch.__version__
    assert {"versions/python", "versions/lightning", "versions/torchvision"} <= metrics.keys()


def test_run_folder_holds_config_log_checkpoints_and_loggers_files(trained):
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


def test_training_writes_nothing_outside_its_run_folder(trained):
    assert list(trained.logs.iterdir()) == [trained.logs / "train"]
    assert only_run(trained.logs) == trained.folder


def test_validation_metrics_are_of_the_best_epoch(trained):
    with (trained.folder / "csv/version_0/metrics.csv").open(newline="") as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert trained.metrics["val/loss"] == pytest.approx(min(losses))


def test_validation_metrics_are_of_the_epoch_that_the_monitored_metric_chose(run, tiny, tmp_path):
    # At this rate the loss is lowest in an early epoch.
    rate = ("model.optimizer.lr=1", "model.scheduler=null", "trainer.max_epochs=3")
    run("train.py", *tiny(tmp_path, *rate, "test=false")).succeeded()
    folder = only_run(tmp_path)
    metrics = read_metrics(folder)
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
def test_best_checkpoint_without_validation_is_of_the_last_epoch(
    run, tiny, plain, tmp_path, override
):
    ended = run("train.py", *tiny(tmp_path, *plain, override))
    assert "best.ckpt will be the last epoch's" in ended.succeeded().out
    assert "sweeper" not in ended.out
    folder = only_run(tmp_path)
    last = state_of(folder / "checkpoints" / "last.ckpt")
    assert same_state(state_of(newest_checkpoint(tmp_path)), last)
    metrics = read_metrics(folder)
    assert "test/accuracy" in metrics
    assert not any(name.startswith("val/") for name in metrics)


def test_list_option_reaches_head_and_checkpoint_as_a_list(run, tiny, plain, tmp_path, monkeypatch):
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


def test_test_metrics_are_of_the_best_checkpoint(trained, datamodule):
    data = datamodule()
    data.setup("test")
    outputs = infer(load_classifier(trained.best, precision="float32"), data.test_dataloader())
    correct = outputs.logits[:, :10].argmax(dim=1) == outputs.labels
    assert len(correct) == 60
    # Cached features are rounded to float16, which may move an image across a border.
    accuracy = trained.metrics["test/accuracy"]
    assert accuracy == pytest.approx(correct.double().mean().item(), abs=2 / 60)


def test_best_checkpoint_is_small_and_the_last_one_has_an_optimizer(trained):
    assert trained.best.stat().st_size < 512 * 10 * 4 + 2**20
    assert "optimizer_states" not in torch.load(trained.best, weights_only=True)
    assert torch.load(trained.last, weights_only=True)["optimizer_states"]


def test_same_command_gives_the_same_metrics(trained, run, tiny, tmp_path):
    # The second one computes its own features.
    run("train.py", *tiny(tmp_path / "logs", f"paths.cache={tmp_path}")).succeeded()
    again = read_metrics(only_run(tmp_path / "logs"))
    assert without_seconds(again) == without_seconds(trained.metrics)
    assert again.keys() == trained.metrics.keys()


def test_another_seed_gives_another_head(trained, train, tmp_path):
    other = train(tmp_path / "logs", "seed=1")
    assert not same_state(state_of(other.best), state_of(trained.best))


@pytest.mark.parametrize("without", ["test=false", "+trainer.limit_test_batches=0"])
def test_training_without_a_test_reads_no_test_image(
    run, tiny, plain, tmp_path, monkeypatch, without
):
    monkeypatch.setattr(ClassificationTask, "test_step", None)
    run("train.py", *tiny(tmp_path, *plain, "trainer.max_epochs=1", without)).succeeded()
    metrics = read_metrics(only_run(tmp_path))
    assert "val/accuracy" in metrics
    assert not any(name.startswith("test/") for name in metrics)


def test_notebook_experiment_tests_its_last_epoch(train, tmp_path):
    notebook = train(tmp_path / "logs", "experiment=notebook", "store=false")
    assert "test/accuracy" in notebook.metrics
    assert not any(name.startswith("val/") for name in notebook.metrics)
    assert same_state(state_of(notebook.best), state_of(notebook.last))


@pytest.mark.parametrize("mode", ["min", "max"])
def test_monitor_null_takes_the_last_epoch(train, tmp_path, mode):
    more = ("monitor.metric=null", f"monitor.mode={mode}", "test=false")
    ended = train(tmp_path / "logs", *more)
    assert same_state(state_of(ended.best), state_of(ended.last))
    assert "val/accuracy" in ended.metrics


def test_monitored_accuracy_chooses_the_most_accurate_epoch(run, tiny, tmp_path):
    monitor = ("monitor.metric=val/accuracy", "monitor.mode=max")
    rate = ("model.optimizer.lr=1", "model.scheduler=null", "trainer.max_epochs=3")
    run("train.py", *tiny(tmp_path, *monitor, *rate, "test=false")).succeeded()
    folder = only_run(tmp_path)
    with (folder / "csv/version_0/metrics.csv").open(newline="") as file:
        values = [float(row["val/accuracy"]) for row in csv.DictReader(file) if row["val/accuracy"]]
    assert read_metrics(folder)["val/accuracy"] == pytest.approx(max(values))


def test_train_returns_the_monitored_metric(run, tiny, plain, tmp_path, monkeypatch):
    returned, job = [], cli.job

    def spy(*arguments):
        returned.append(job(*arguments))
        return returned[-1]

    monkeypatch.setattr(cli, "job", spy)
    run("train.py", *tiny(tmp_path, *plain, "trainer.max_epochs=1", "test=false")).succeeded()
    assert returned == [read_metrics(only_run(tmp_path))["val/loss"]]


def test_automatic_threshold_is_fitted_in_validation(train, tmp_path):
    target = ("policy.threshold=auto", "policy.threshold_target.warned=0.2")
    ended = train(tmp_path / "logs", *target)
    validation = torch.load(ended.best, weights_only=True)["classifier"]["validation"]
    threshold = ended.metrics["test/threshold"]
    below = validation["confidence"] < threshold - 1e-6
    assert below.double().mean() == pytest.approx(0.2)


def test_training_without_synthetic_images_has_no_multi_item_class(train, tmp_path):
    plain = train(tmp_path / "logs", "data.synthetic=null", "test=false", "trainer.max_epochs=1")
    assert load_classifier(plain.best).multi_item is False


@pytest.mark.slow
def test_data_set_of_ones_own_takes_a_module_and_a_file(run, tiny, plain, tmp_path):
    write_toy(tmp_path / "photos")
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "toy.yaml").write_text(
        "defaults: [default, _self_]\n_target_: toy.ToyDataModule\ndir: ${paths.data}\n"
    )
    logs, photos = tmp_path / "logs", f"paths.data={tmp_path / 'photos'}"
    toy = ["--config-dir", f"{tmp_path / 'conf'}", "data=toy", photos]
    # The others are keys of Fashion-MNIST.
    given = [a for a in tiny(logs, *plain) if not a.startswith("data.") or "image_size" in a]
    run("train.py", *toy, *given).succeeded()
    folder = only_run(logs)
    assert {f"test/accuracy/{name}" for name in SHAPES} <= read_metrics(folder).keys()
    classifier = load_classifier(folder / "checkpoints" / "best.ckpt")
    assert (classifier.class_names, classifier.preparation.name) == (tuple(SHAPES), "photo")

    evaluation = ["device=cpu", f"paths.logs={logs}", "store=false", "images_per_set=2"]
    run("evaluate.py", *toy, *evaluation).succeeded()
    evaluated = only_run(logs, "evaluate")
    assert "test/accuracy" in read_metrics(evaluated)
    assert (evaluated / "mistakes.png").is_file()
    assert (evaluated / "multi_item.png").is_file()  # collages of its photos
    assert "data=fashion_mnist has 10 classes" in run("evaluate.py", *evaluation).mistake()


def test_logger_none_writes_no_curves(run, tiny, tmp_path):
    run("train.py", *tiny(tmp_path / "logs", "logger=none", "trainer.max_epochs=1")).succeeded()
    folder = only_run(tmp_path / "logs")
    assert (folder / "metrics.json").is_file()
    assert not (folder / "tensorboard").exists()


def test_progress_bar_can_be_turned_off(run, tiny, tmp_path):
    arguments = tiny(tmp_path / "logs", "trainer.enable_progress_bar=false", "trainer.max_epochs=1")
    assert "Epoch" not in run("train.py", *arguments).succeeded().out
