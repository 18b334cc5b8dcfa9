"""`make photos`: cross-fitting on validation photos, cross-validation on training photos."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from toy import SHAPES, write_toy

from fashion_transfer.benchmarks import bootstrap, cross_fit, cross_validate
from fashion_transfer.benchmarks.cross_fit import HALVES, summarise, write_half
from fashion_transfer.benchmarks.cross_validate import summarise_folds, training_photos
from fashion_transfer.data import ImageFolderDataModule, photo_index
from fashion_transfer.evaluation import sets
from fashion_transfer.models import ClassificationTask, Classifier
from fashion_transfer.synthetic import FAMILIES

CONF = Path(__file__).resolve().parents[2] / "conf"
LOSSES = {"val/loss": 0.5, "val/macro_accuracy": 0.25}


class Trainings:
    """Stands for every process of `train.py`: calls a function with list, run folder and seed.

    Attributes:
        overrides: of each run, in order.
    """

    def __init__(self) -> None:
        self.overrides: list[list[str]] = []
        self.train = None

    def __call__(self, command, output):
        assert command[1] == "train.py"
        assert output.parent.is_dir()
        self.overrides.append(command[2:])
        values = dict(override.split("=", 1) for override in command[2:])
        listed, run = (Path(values[key].strip("'")) for key in ("data.dir", "hydra.run.dir"))
        self.train(listed, run, int(values["seed"]))
        return 1.0


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 100)


@pytest.fixture
def trainings(monkeypatch) -> Trainings:
    trainings = Trainings()
    monkeypatch.setattr(cross_validate, "execute", trainings)
    return trainings


@pytest.fixture
def call(tmp_path):
    """`call(folder, *arguments)`: the command on a folder; returns what its JSON file holds."""
    output = tmp_path / "photos.json"

    def measure(folder, *arguments: str) -> dict:
        own = ["--data", "folder", "--dir", folder, "--runs", tmp_path / "r", "--output", output]
        cross_fit.main([*map(str, own), *arguments])
        return json.loads(output.read_text())

    return measure


@pytest.fixture
def few_sets(monkeypatch):
    """One trained layout, one held-out layout and one out-of-distribution set."""
    family = FAMILIES["photo"]
    few = replace(family, trained=family.trained[:1], held_out=family.held_out[:1])
    monkeypatch.setitem(FAMILIES, "photo", few)
    monkeypatch.setattr(sets, "OUT_OF_DISTRIBUTION", sets.OUT_OF_DISTRIBUTION[:1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos in three classes; do not change them."""
    return write_toy(tmp_path_factory.mktemp("own") / "photos, mine", train=12, val=8, test=2)


def labels_of(data: ImageFolderDataModule, name: str) -> dict[int, str]:
    """Class by content key."""
    split = data.load_split(name)
    return {
        int(key): data.class_names[label]
        for key, label in zip(split.rows, split.labels, strict=True)
    }


def images(confidence, correct, warned=None) -> dict[str, np.ndarray]:
    """What was measured of the images of a set."""
    warned = np.zeros(len(correct), bool) if warned is None else np.array(warned)
    return {
        "confidence": np.array(confidence, np.float32),
        "correct": np.array(correct, bool),
        "warned": warned,
        "reason": warned,
    }


def write_metrics(run: Path, **metrics: float) -> None:
    content = LOSSES | {f"val/{name}": value for name, value in metrics.items()}
    (run / "metrics.json").write_text(json.dumps(content))


def test_halves_are_disjoint_and_together_the_validation_photos(folder, tmp_path):
    data = ImageFolderDataModule(str(folder))
    lists = [write_half(data, half, tmp_path / f"{half}.csv") for half in HALVES]
    halves = [ImageFolderDataModule(str(path)) for path in lists]
    measured = [labels_of(half, "test") for half in halves]
    calibrating = [labels_of(half, "val") for half in halves]
    assert measured == calibrating[::-1]
    assert not measured[0].keys() & measured[1].keys()
    assert measured[0] | measured[1] == labels_of(data, "val")
    for half in halves:
        assert labels_of(half, "train") == labels_of(data, "train")


@pytest.mark.parametrize(("count", "number"), [(0, "no"), (1, "1")])
def test_too_few_validation_photos_are_one_line(count, number, tmp_path, call, trainings):
    folder = write_toy(tmp_path / "toy", val=1)
    for photo in sorted(folder.glob("val/*/*.png"))[count:]:
        photo.unlink()
    with pytest.raises(SystemExit) as error:
        call(folder)
    assert error.value.code == (
        f"error: {folder} has {number} validation photos, too few to halve: add some"
    )
    assert not trainings.overrides


def test_mean_is_the_plain_mean_and_within_its_interval():
    generator = np.random.default_rng(5)
    seeds = []
    for _ in range(3):
        confidence, warned = generator.uniform(0.5, 1, 60), generator.random(60) < 0.3
        seeds.append({"test": images(confidence, generator.random(60) < 0.8, warned)})
    summary = summarise(seeds)
    accuracy = summary["accuracy"]
    assert accuracy["mean"] == pytest.approx(
        np.mean([seed["test"]["correct"].mean() for seed in seeds])
    )
    assert summary["not_warned"]["mean"] == pytest.approx(
        np.mean([1 - seed["test"]["warned"].mean() for seed in seeds])
    )
    assert accuracy["low"] < accuracy["mean"] < accuracy["high"]
    selective = summary["selective_accuracy"]
    assert selective["low"] < selective["mean"] < selective["high"]


def test_resample_has_the_same_images_in_every_seed():
    correct = np.arange(40) < 30
    seeds = [{"test": images(np.full(40, 0.9), c)} for c in (correct, ~correct)]
    # What one seed gains by a resample, the other loses: only if the images are the same.
    assert summarise(seeds)["accuracy"] == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_metric_without_a_value_is_left_out():
    everything = images(np.full(4, 0.3), [True, False, True, True], [True] * 4)
    summary = summarise([{"test": everything}])
    assert "selective_accuracy" not in summary
    assert summary["not_warned"]["mean"] == 0


def test_warned_controls_are_measured_over_single_photos():
    of_sets = {"test": images([0.9] * 4, [True] * 4, [True, False, False, False])}
    for name, warned in (("multi_item", [True, True]), ("control", [True, False])):
        for layout in ("first", "second"):
            of_sets[f"{name}/{layout}"] = images([0.9] * 2, [True] * 2, warned)
    summary = summarise([of_sets])
    assert summary["multi_item/warned"]["mean"] == 1
    assert summary["control/warned"]["mean"] == 0.5
    assert summary["control/warned_over_single"]["mean"] == 0.25


def test_cross_fitting_measures_every_validation_photo(
    folder, call, trainings, few_sets, backbone, tmp_path, capsys
):
    lists = []

    def train(listed, run, seed):
        lists.append(listed)
        data = ImageFolderDataModule(str(listed), image_size=32)
        classifier = Classifier(backbone, tuple(SHAPES), {"name": "linear"}, image_size=32)
        adamw = partial(torch.optim.AdamW, lr=0.01)
        task = ClassificationTask(classifier, optimizer=adamw, scheduler=None, mixup=0.0)
        off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        trainer = L.Trainer(
            accelerator="cpu", max_epochs=1, default_root_dir=run, **dict.fromkeys(off, False)
        )
        trainer.fit(task, datamodule=data)
        trainer.save_checkpoint(run / cross_fit.BEST)

    trainings.train = train
    before = {"other": {"metrics": {}}}
    (tmp_path / "photos.json").write_text(json.dumps(before))
    content = call(folder, "--seeds", "1", "--images-per-set", "4", "--override", "trainer.x=1")
    assert content["other"] == before["other"]
    row = content["folder"]
    assert row["overrides"] == ["trainer.x=1"]
    assert row["seeds"] == 1
    assert row["machine"]["cores"]
    metrics = row["metrics"]
    correct = metrics["accuracy"]["mean"] * 24  # of all validation photos, those of both halves
    assert correct == pytest.approx(round(correct))
    assert {
        "multi_item/trained/warned",
        "multi_item/held_out/warned",
        "control/warned_over_single",
        "out_of_distribution/warned",
    } <= metrics.keys()
    assert [path.name for path in lists] == ["half0.csv", "half1.csv"]
    assert "accuracy" in capsys.readouterr().out


def test_folds_partition_the_training_photos(folder, call, trainings):
    lists = []

    def train(listed, run, seed):
        lists.append(listed)
        write_metrics(run, accuracy=0.5)

    trainings.train = train
    call(folder, "--folds", "3", "--seeds", "1")
    call(folder, "--folds", "3", "--seeds", "1", "--name", "other_recipe")
    assert lists[:3] == lists[3:]  # so that their photos are decoded once for all recipes
    everything = labels_of(ImageFolderDataModule(str(folder)), "train")
    together = {}
    for path in lists[:3]:
        data = ImageFolderDataModule(str(path))
        fold, others = labels_of(data, "val"), labels_of(data, "train")
        assert data.load_split("test") is None
        assert fold | others == everything
        assert not fold.keys() & (others.keys() | together.keys())
        together |= fold
    assert together == everything


def test_cross_validation_reads_no_photo_but_those_of_training(
    folder, call, trainings, monkeypatch
):
    read = []
    monkeypatch.setattr(
        photo_index,
        "read_image",
        lambda path, original=photo_index.read_image: read.append(path) or original(path),
    )
    trainings.train = lambda listed, run, seed: write_metrics(run, accuracy=0.5)
    call(folder, "--folds", "2", "--seeds", "1")
    assert len(read) == 36
    assert {path.parent.parent.name for path in read} == {"train"}


def test_training_photos_of_a_folder_without_splits_are_those_of_its_content(folder):
    class_names, train = training_photos(folder / "train")
    assert class_names == tuple(SHAPES)
    assert dict(zip(train.rows, train.labels, strict=True)) == {
        key: class_names.index(name)
        for key, name in labels_of(ImageFolderDataModule(str(folder / "train")), "train").items()
    }


def test_cross_validation_averages_over_folds_and_seeds(folder, call, trainings, capsys):
    sizes = {}

    def train(listed, run, seed):
        sizes[listed] = len(labels_of(ImageFolderDataModule(str(listed)), "val"))
        write_metrics(run, accuracy=(0.25, 0.75)[list(sizes).index(listed)] + 0.1 * seed)

    trainings.train = train
    row = call(folder, "--folds", "2", "--seeds", "2", "--weights", "w.pth")["folder_2_folds"]
    accuracy, mean = row["metrics"]["accuracy"], np.average([0.25, 0.75], weights=[*sizes.values()])
    assert sum(sizes.values()) == row["photos"] == 36
    assert accuracy["mean"] == pytest.approx(mean + 0.05)
    assert accuracy["spread"] == pytest.approx(0.1 / 2**0.5)
    expected = (accuracy["mean"] * (1 - accuracy["mean"]) / 36) ** 0.5
    assert accuracy["standard_error"] == pytest.approx(expected)
    assert row["metrics"]["loss"] == {"mean": pytest.approx(0.5), "spread": 0}
    assert f"{accuracy['mean']:.4f}" in capsys.readouterr().out
    assert len(trainings.overrides) == 4
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [o for o in trainings.overrides[-1] if "hydra" not in o])
    assert config.data._target_.endswith("ImageFolderDataModule")
    assert config.model.backbone.weights == "w.pth"
    assert config.monitor.metric is None
    assert not config.test
    assert config.seed == 1


def test_larger_fold_counts_more():
    folds = [LOSSES | {"val/accuracy": 1.0}, LOSSES | {"val/accuracy": 0.0}]
    summary = summarise_folds([folds], [30, 10])
    assert summary["accuracy"]["mean"] == pytest.approx(0.75)
    assert summary["accuracy"]["spread"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--folds", "1"], "folds must be from 2, got 1"),
        (["--folds", "2000"], "36 training photos, too few for 2000 folds: ask for fewer"),
        (["--seeds", "0"], "seeds must be from 1, got 0"),
        (["--dir", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistake_is_one_line(arguments, message, folder, call, trainings):
    with pytest.raises(SystemExit) as error:
        call(folder, *arguments)
    assert error.value.code.startswith("error: ")
    assert message in error.value.code
    assert "\n" not in error.value.code
    assert not trainings.overrides
