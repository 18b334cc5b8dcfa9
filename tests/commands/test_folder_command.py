"""The three commands on a folder of one's own photos."""

from pathlib import Path

import pytest
from outcomes import only_run, read_metrics
from toy import SHAPES, write_toy

from fashion_transfer.models import read_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos in three classes; do not change them."""
    return write_toy(tmp_path_factory.mktemp("own") / "photos", train=9, val=4, test=3)


@pytest.fixture(scope="module")
def settings(tmp_path_factory, plain):
    """`settings(logs, *more)`: arguments of a training run on a folder, of a second or so."""
    cache = tmp_path_factory.mktemp("features")

    def arguments(logs: Path, *more: str) -> list[str]:
        return [
            "data=folder",
            "model.backbone.name=resnet18",
            "model.backbone.weights=null",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            "data.image_size=32",
            "trainer.accelerator=cpu",
            "trainer.max_epochs=2",
            f"paths.cache={cache}",
            f"paths.logs={logs}",
            *plain,
            *more,
        ]

    return arguments


@pytest.fixture(scope="module")
def own_run(run, settings, folder, tmp_path_factory):
    """The folder of a training run on the photos."""
    logs = tmp_path_factory.mktemp("trained")
    run("train.py", *settings(logs, f"data.dir={folder}")).succeeded()
    return only_run(logs)


@pytest.fixture(scope="module")
def checkpoint(own_run):
    return own_run / "checkpoints" / "best.ckpt"


def test_training_on_a_folder_measures_its_classes(own_run, checkpoint):
    metrics = read_metrics(own_run)
    assert {f"test/accuracy/{name}" for name in SHAPES} <= metrics.keys()
    classifier = read_checkpoint(checkpoint)["classifier"]
    assert tuple(classifier["class_names"]) == tuple(SHAPES)
    assert classifier["multi_item"]


def test_evaluation_of_a_folder_gives_the_metrics_of_training(
    run, own_run, checkpoint, folder, tmp_path
):
    run(
        "evaluate.py",
        "data=folder",
        f"data.dir={folder}",
        f"ckpt_path={checkpoint}",
        "images_per_set=0",
        "device=cpu",
        "store=false",
        "model.backbone.precision=float32",
        "model.backbone.compile=false",
        f"paths.cache={tmp_path}",
        f"paths.logs={tmp_path}",
    ).succeeded()
    trained, evaluated = read_metrics(own_run), read_metrics(only_run(tmp_path, "evaluate"))
    tests = [name for name in trained if name.startswith("test/")]
    assert "test/accuracy" in tests
    assert {name: evaluated[name] for name in tests} == pytest.approx(
        {name: trained[name] for name in tests}, abs=1e-4
    )


def test_photos_of_a_folder_are_predicted(run, checkpoint, folder, tmp_path):
    run(
        "predict.py",
        f"input={folder / 'test'}",
        f"ckpt_path={checkpoint}",
        "device=cpu",
        "model.backbone.precision=float32",
        f"paths.logs={tmp_path}",
    ).succeeded()
    table = (only_run(tmp_path, "predict") / "predictions.csv").read_text()
    assert len(table.splitlines()) == 1 + 9


def test_folder_without_splits_is_trained_on(run, settings, folder, tmp_path):
    more = (f"data.dir={folder / 'train'}", "data.synthetic=null", "trainer.max_epochs=1")
    out = run("train.py", *settings(tmp_path, *more, "data.images_per_class=4")).succeeded().out
    assert read_metrics(only_run(tmp_path))
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.views=1", "data.dir has no value: give one, as in data.dir=PATH"),
        ("data.dir=none", "none: no such folder: name the folder of your photos (data.dir=PATH)"),
        ("data.dir={0}/train/circle", "{0}/train/circle holds no class folder: put the photos"),
        ("data.dir={0} data.images_per_class=0", "data.images_per_class must be a whole number"),
        ("data.dir={0} data.images_per_class=few", "data.images_per_class must be a whole number"),
    ],
)
def test_mistake_is_one_line(run, settings, folder, tmp_path, override, message):
    arguments = override.format(folder).split(" ")
    assert (
        run("train.py", *settings(tmp_path, *arguments))
        .mistake()
        .startswith(message.format(folder))
    )


def test_unreadable_photo_names_the_key_that_skips_it(run, settings, tmp_path):
    folder = write_toy(tmp_path / "photos", 2, 1, 0)
    (folder / "train/circle/0.png").write_bytes(b"no picture")
    arguments = settings(tmp_path, f"data.dir={folder}", "data.strict=true")
    message = run("train.py", *arguments).mistake()
    assert "circle/0.png (not an image that can be read)" in message
    assert message.endswith("or let them be skipped (data.strict=false)")


def test_option_of_another_data_set_is_named(run, settings, folder, tmp_path):
    arguments = settings(tmp_path, f"data.dir={folder}", "+data.selection=first")
    message = run("train.py", *arguments).mistake()
    assert message.startswith("data.selection is no argument of ImageFolderDataModule")
