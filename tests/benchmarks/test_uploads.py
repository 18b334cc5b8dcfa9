"""`make uploads`: phone photos in halves, product pictures, pairs, saved test images."""

import csv
import hashlib
import json
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from fashion_transfer.benchmarks import bootstrap, saved_test_images, upload_sets, uploads
from fashion_transfer.benchmarks.phone_photos import HALVES, phone_photos
from fashion_transfer.benchmarks.saved_test_images import compare_saved
from fashion_transfer.benchmarks.upload_sets import as_values, half_sets, upload_metrics
from fashion_transfer.benchmarks.uploads import measure_saved
from fashion_transfer.confidence import Prediction
from fashion_transfer.data import get_preparation
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.data.preparation import Prepared
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import ClassificationTask, Classifier, load_classifier

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("backbones_drawn_once")]

LABELS = ("t-shirt", "pants", "shoes", "hat")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(bootstrap, "RESAMPLES", 50)
    monkeypatch.setattr(upload_sets, "PAIR_COUNT", 4)
    monkeypatch.setattr(upload_sets, "EXAMPLES", 2)


def mask(image):
    """Saliency of what is dark."""
    return (image.mean(axis=0) < 120).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three dark items on white per label and half; do not change them."""
    root = tmp_path_factory.mktemp("clothing")
    for label in LABELS:
        inside = root / "validation" / label
        inside.mkdir(parents=True)
        left = dict.fromkeys((0, 1), 3)
        for number in range(100):
            name = f"{label} {number}.jpg"
            bit = hashlib.sha256(name.encode("utf-8")).digest()[-1] % 2
            if left[bit]:
                left[bit] -= 1
                image = Image.new("RGB", (60, 70), "white")
                ImageDraw.Draw(image).rectangle((15, 10, 40, 55), (10 * number % 90, 60, 30))
                image.save(inside / name)
    (root / "train").mkdir()
    return root


@pytest.fixture(scope="module")
def checkpoint(backbone, idx_dir, tmp_path_factory) -> Path:
    from fashion_transfer.data import FashionMNISTDataModule

    folder = tmp_path_factory.mktemp("run")
    data = FashionMNISTDataModule(
        str(idx_dir), images_per_class=8, val_per_class=4, image_size=32, check_md5=False
    )
    classifier = Classifier(
        backbone, CLASS_NAMES, {"name": "linear"}, multi_item=False, image_size=32
    )
    adamw = partial(torch.optim.AdamW, lr=0.01)
    task = ClassificationTask(classifier, optimizer=adamw, scheduler=None, mixup=0.0)
    off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=folder, **dict.fromkeys(off, False)
    )
    trainer.fit(task, datamodule=data)
    trainer.save_checkpoint(folder / "best.ckpt")
    return folder / "best.ckpt"


def prediction(label="Shirt", warning=False, reason="") -> Prediction:
    return Prediction(label, 0.9, ((label, 0.9),), warning, reason)


@pytest.fixture
def call(tmp_path, folder):
    """`call(*arguments)`: the command on the photos; returns its row."""

    def measure(*arguments, photos=folder) -> dict:
        output = tmp_path / "uploads.json"
        own = ["--dir", photos, "--output", output, "--sheet", tmp_path / "sheets" / "s.png"]
        uploads.main([*map(str, own), "--test-images", "0", *map(str, arguments)], mask)
        return json.loads(output.read_text())

    return measure


def test_half_is_the_last_bit_of_the_hash_of_the_name(folder):
    photos = phone_photos(folder)
    assert photos == phone_photos(folder / "validation")
    for photo in photos:
        odd = int(hashlib.sha256(photo.path.name.encode()).hexdigest()[-1], 16) % 2
        assert photo.half == HALVES[odd]
    assert [sum(photo.half == half for photo in photos) for half in HALVES] == [12, 12]
    assert {photo.folder for photo in photos if not photo.accepted} == {"hat"}


def test_photos_of_the_project_have_the_sizes_of_the_issue():
    folder = Path(__file__).resolve().parents[3] / "shared" / "clothing"
    if not folder.is_dir():
        pytest.skip(f"no clothing photos at {folder}")
    photos = phone_photos(folder)
    assert uploads._sizes(photos, "development") == [140, 28]
    assert uploads._sizes(photos, "reported") == [150, 23]


def test_sets_of_a_half_are_photos_and_what_is_made_of_them(folder):
    photos = [photo for photo in phone_photos(folder) if photo.half == "reported"]
    sets = half_sets(photos, get_preparation("fashion_mnist"), mask)
    assert {name: len(of_set.prepared) for name, of_set in sets.items()} == {
        "photos": 9,
        "out_of_distribution": 3,
        "product_pictures": 6 * 6,  # without shoes, on every ground
        "pairs": 4,
    }
    assert ("Sandal", "Sneaker", "Ankle boot") in sets["photos"].accepted
    assert set(sets["product_pictures"].accepted) == {("T-shirt/top",), ("Trouser",)}
    assert sets["product_pictures"].accepted[:6] == [sets["product_pictures"].accepted[0]] * 6
    assert list(sets["pairs"].examples) == [0, 3]
    assert sets["pairs"].examples[0].shape == (3, 480, 960)


def test_nothing_to_cut_out_is_an_error(folder):
    photos = phone_photos(folder)
    with pytest.raises(FashionTransferError, match="make cutout"):
        half_sets(photos, get_preparation("fashion_mnist"), lambda image: None)


def test_metrics_are_as_counted_by_hand():
    accepted = [("Coat",), ("Sneaker", "Sandal"), ("Shirt",), ("Shirt",)]
    of_set = upload_sets.UploadSet([Prepared(np.zeros((1, 2, 2), np.uint8))] * 4, accepted, {})
    answers = [
        prediction("Coat"),
        prediction("Sandal"),
        prediction("Coat"),
        prediction("Bag", True),
    ]
    photos = as_values("photos", of_set, answers)
    warned = [prediction(warning=True, reason="several items"), prediction(warning=True)]
    two = upload_sets.UploadSet(of_set.prepared[:2], [(), ()], {})
    product = upload_sets.UploadSet(of_set.prepared * 3, [("Shirt",)] * 12, {})
    products = as_values("product_pictures", product, [prediction(), *[prediction("Bag")] * 11])
    assert products["correct"].shape == (2, 6)
    measured = upload_metrics(
        {
            "photos": photos,
            "out_of_distribution": as_values("out_of_distribution", two, [warned[0], prediction()]),
            "product_pictures": products,
            "pairs": as_values("pairs", two, warned),
        }
    )
    assert measured["photos/accuracy"] == 0.5
    assert measured["photos/not_warned"] == 0.75
    assert measured["photos/selective_accuracy"] == pytest.approx(2 / 3)
    assert measured["out_of_distribution/warned"] == 0.5
    assert measured["product_pictures/accuracy"] == pytest.approx(1 / 12)
    assert measured["product_pictures/white/accuracy"] == 0.5
    assert measured["product_pictures/dark_green/accuracy"] == 0
    assert measured["pairs/warned"] == 1
    assert measured["pairs/reason_multi_item"] == 0.5
    assert measured.keys() == uploads.DESCRIPTIONS.keys()


def test_command_measures_both_halves_with_intervals(call, checkpoint, tmp_path, capsys):
    (tmp_path / "uploads.json").write_text(json.dumps({"other": {}}))
    content = call("--checkpoints", checkpoint, checkpoint)
    assert "other" in content
    row = content["default"]
    assert row["seeds"] == 2
    assert row["photos"] == {"development": [9, 3], "reported": [9, 3]}
    assert row["checkpoints"] == [hashlib.sha256(checkpoint.read_bytes()).hexdigest()] * 2
    assert row["machine"]["cores"]
    for half in HALVES:
        value = row["metrics"][f"{half}/photos/accuracy"]
        assert 0 <= value["low"] <= value["mean"] <= value["high"] <= 1
        assert f"{half}/pairs/warned" in row["metrics"]
    assert Image.open(tmp_path / "sheets" / "s.png").size[0] > 100
    out = capsys.readouterr().out
    assert out.index("development") < out.index("reported")
    assert "dark green" in out


def test_default_is_trained_for_every_seed(call, checkpoint, tmp_path, monkeypatch):
    trained = []

    def run(recipe, folder, seed, weights, weights_sha256, data):
        trained.append((recipe, folder, seed, data))
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "best.ckpt").write_bytes(checkpoint.read_bytes())

    weights = tmp_path / "w.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, weights)
    monkeypatch.setattr(uploads, "run", run)
    monkeypatch.setattr(uploads, "measure_photos", lambda *_: ({}, {}))
    call("--seeds", "2", "--weights", weights, "--runs", tmp_path / "runs", "--data", "d")
    default = uploads.RECIPES["default"]
    folders = [tmp_path / "runs" / "default" / str(seed) for seed in range(2)]
    assert trained == [(default, folders[seed], seed, "d") for seed in range(2)]


@pytest.fixture
def predictions_by_file(monkeypatch):
    """Stands for every process of `predict.py`; `labels` by the name of a file replace its own."""
    labels: dict[str, str] = {}

    def execute(command, output):
        assert command[1] == "predict.py"
        values = dict(part.split("=", 1) for part in command[3:])
        classifier = load_classifier(values["ckpt_path"].strip("'"))
        run = Path(values["hydra.run.dir"].strip("'"))
        run.mkdir()
        with (run / "predictions.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", "label", "warning"])
            for path in sorted(Path(command[2]).iterdir()):
                [answer] = classifier.predict([path])
                label = labels.get(path.name, answer.label)
                table.writerow([path, label, str(answer.warning).lower()])
        return 1.0

    monkeypatch.setattr(saved_test_images, "execute", execute)
    return labels


def test_saved_test_images_are_treated_as_by_evaluation(
    checkpoint, datamodule, predictions_by_file, tmp_path
):
    classifier = load_classifier(checkpoint)
    predictions_by_file["00002.png"] = "no class"
    values = compare_saved(classifier, checkpoint, datamodule(), 5, tmp_path)
    assert values["equal"].tolist() == [True] * 5
    assert values["same"].tolist() == [True, True, False, True, True]
    metrics = measure_saved([classifier], [checkpoint], lambda size: datamodule(), 5)
    assert metrics["test_images/equal"]["mean"] == 1
    assert metrics["test_images/same"]["mean"] == pytest.approx(0.8)
    assert metrics.keys() == uploads.SAVED.keys()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0"], "seeds must be from 1, got 0"),
        (["--test-images", "-1"], "test-images must be from 0, got -1"),
        (["--dir", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistake_is_one_line(call, checkpoint, arguments, message):
    with pytest.raises(SystemExit) as ended:
        call("--checkpoints", checkpoint, *arguments)
    assert ended.value.code.startswith(f"error: {message}")
    assert "\n" not in ended.value.code


def test_folder_of_another_label_is_named(tmp_path):
    (tmp_path / "hat").mkdir()
    (tmp_path / "sofa").mkdir()
    with pytest.raises(FashionTransferError, match=r"sofa is none of the labels t-shirt, .*hat"):
        phone_photos(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FashionTransferError, match="holds no folder"):
        phone_photos(tmp_path / "empty")


def test_classifier_of_photos_is_refused(folder, backbone):
    classifier = Classifier(backbone, CLASS_NAMES, image_size=32, preparation="photo")
    with pytest.raises(FashionTransferError, match="preparation photo: name those"):
        uploads.measure_photos(phone_photos(folder), [classifier], mask)


def test_missing_net_is_named(folder, capsys):
    with pytest.raises(SystemExit, match="error: .*make cutout"):
        uploads.main(["--dir", str(folder)])


def test_page_shows_the_reported_half_and_the_saved_test_images():
    value = {"mean": 0.5, "low": 0.25, "high": 0.75}
    names = ("reported/photos/accuracy", "development/photos/accuracy", "test_images/equal")
    metrics = dict.fromkeys(names, value)
    assert uploads.uploads_markdown(metrics).splitlines()[2:] == [
        "| phone photos: correct | 0.500 (0.25–0.75) |",
        "| test images as PNG: pixels equal | 0.500 (0.25–0.75) |",
    ]
