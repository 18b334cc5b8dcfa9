"""Near-duplicates and probably mislabelled photos, as an evaluation reports them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from outcomes import only_run, read_metrics
from PIL import Image, ImageDraw, ImageEnhance
from toy import ToyDataModule, write_toy

from fashion_transfer.commands.data_checks import can_check, check_data
from fashion_transfer.data import ImageFolderDataModule
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import Classifier

CLASSES = ("circle", "square", "triangle")


def copy(source: Path, target: Path) -> None:
    """Saves a photo again, a little brighter."""
    ImageEnhance.Brightness(Image.open(source)).enhance(1.05).save(target)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Toy photos with speckles: one copied from training to test, one under a wrong label."""
    folder = write_toy(tmp_path_factory.mktemp("own") / "photos", train=8, val=3, test=3)
    generator = np.random.default_rng(0)
    for path in sorted(folder.rglob("*.png")):
        image = Image.open(path)
        draw = ImageDraw.Draw(image)
        for x, y, grey in generator.integers((0, 0, 100), (*image.size, 200), (60, 3)):
            draw.rectangle((x, y, x + 1, y + 1), (int(grey),) * 3)
        image.save(path)
    copy(folder / "train" / "square" / "2.png", folder / "test" / "square" / "copy.png")
    shutil.move(folder / "train" / "circle" / "5.png", folder / "train" / "triangle" / "wrong.png")
    return folder


@pytest.fixture
def checked(backbone, folder, tmp_path, capsys):
    """`checked(datamodule_class)`: counts, printed lines, and the folder of the files."""

    def check(folder=folder, backbone=backbone):
        classifier = Classifier(backbone, CLASSES, image_size=32, preparation="photo")
        extractor = Extractor(backbone, FeatureStore(tmp_path / "cache"))
        data = ImageFolderDataModule(
            str(folder), image_size=32, extractor=extractor, cache=str(tmp_path / "cache")
        )
        data.setup("test")
        assert can_check(data)
        (tmp_path / "run").mkdir(exist_ok=True)
        capsys.readouterr()
        counts = check_data(classifier, data, tmp_path / "run")
        return counts, capsys.readouterr().out.splitlines(), tmp_path / "run"

    return check


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_copy_across_splits_is_written_and_printed(checked, folder):
    counts, lines, run_folder = checked()
    [row] = rows_of(run_folder / "near_duplicates.csv")
    assert row.pop("similarity") > "0.88"
    assert row == {
        "path": str(folder / "test" / "square" / "copy.png"),
        "split": "test",
        "label": "square",
        "other path": str(folder / "train" / "square" / "2.png"),
        "other split": "training",
        "other label": "square",
    }
    assert counts["data/near_duplicates"] == 1
    assert lines[0] == (
        f"near-duplicates across splits: 1 photo (see {run_folder}/near_duplicates.csv): "
        "test square/copy.png of training square/2.png"
    )


def test_wrong_label_is_written_printed_and_drawn(checked, folder):
    counts, lines, run_folder = checked()
    rows = rows_of(run_folder / "label_issues.csv")
    assert len(rows) == counts["data/label_issues"]
    first = rows[0]
    assert 0 < float(first.pop("probability")) <= 1
    assert first == {
        "path": str(folder / "train" / "triangle" / "wrong.png"),
        "split": "training",
        "label": "triangle",
        "suggested label": "circle",
    }
    assert lines[1].startswith("probably mislabelled: ")
    assert f"(see {run_folder}/label_issues.png): training triangle/wrong.png (circle?)" in lines[1]
    with Image.open(run_folder / "label_issues.png") as image:
        image.verify()
    assert sorted(path.suffix for path in run_folder.iterdir()) == [".csv", ".csv", ".png"]


def test_photos_without_anything_to_name_give_empty_tables(checked, tmp_path):
    clean = write_toy(tmp_path / "photos", train=1, val=1, test=1)
    generator = np.random.default_rng(0)
    for path in clean.rglob("*.png"):  # no two alike
        Image.fromarray(generator.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(path)
    counts, lines, run_folder = checked(clean)
    assert counts == {"data/near_duplicates": 0, "data/label_issues": 0}
    assert lines == ["near-duplicates across splits: no photo", "probably mislabelled: no photo"]
    assert rows_of(run_folder / "near_duplicates.csv") == []
    assert rows_of(run_folder / "label_issues.csv") == []
    assert not (run_folder / "label_issues.png").exists()


def test_trainable_stage_has_no_part_in_the_checks(checked, make_backbone, folder):
    unfrozen = make_backbone(unfreeze="layer4")
    rows = []
    for _ in range(2):
        _, _, run_folder = checked(backbone=unfrozen)
        rows.append(rows_of(run_folder / "label_issues.csv"))
        for parameter in unfrozen.trainable_stages().parameters():
            parameter.data.zero_()
    assert rows[0] == rows[1]
    assert rows[0][0]["path"].endswith("wrong.png")


def test_images_that_are_no_files_cannot_be_checked(datamodule, folder):
    for data in (datamodule(), ToyDataModule(str(folder), image_size=32)):
        assert not can_check(data)  # before setup
        data.setup("test")
        assert not can_check(data)


def test_evaluation_checks_the_data_unless_it_is_turned_off(run, plain, folder, tmp_path):
    backbone = ["precision=float32", "compile=false"]
    shared = [
        "data=folder",
        f"data.dir={folder}",
        "data.synthetic=null",
        *(f"model.backbone.{entry}" for entry in backbone),
        f"paths.cache={tmp_path / 'cache'}",
    ]
    network = ("model.backbone.name=resnet18", "model.backbone.weights=null", "data.image_size=32")
    training = ("trainer.accelerator=cpu", "trainer.max_epochs=1", *network, *plain)
    run("train.py", *shared, *training, f"paths.logs={tmp_path}").succeeded()
    best = only_run(tmp_path) / "checkpoints" / "best.ckpt"
    shared += [f"ckpt_path={best}", "images_per_set=0", "device=cpu"]
    ended = run("evaluate.py", *shared, f"paths.logs={tmp_path}").succeeded()
    run_folder = only_run(tmp_path, "evaluate")
    assert "near-duplicates across splits: 1 photo" in ended.out
    assert "computing the features" not in ended.out  # training has cached them
    assert read_metrics(run_folder)["data/near_duplicates"] == 1
    assert (run_folder / "near_duplicates.csv").is_file()
    logs = tmp_path / "off"
    out = run("evaluate.py", *shared, f"paths.logs={logs}", "data_checks=false").succeeded().out
    assert "near-duplicates" not in out
    assert not list(logs.rglob("*.csv"))
