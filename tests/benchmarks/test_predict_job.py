"""The rate of predict.py over many files, beside the backbone's."""

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from fashion_transfer.benchmarks import first_prediction, predict_job
from fashion_transfer.benchmarks.predict_job import predict_rows, predicting_seconds, rate_rows
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import Classifier

START = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))


@pytest.fixture
def head(tmp_path) -> Revision:
    (tmp_path / "new" / "src" / "fashion_transfer" / "evaluation").mkdir(parents=True)
    return Revision("new", tmp_path / "new", "commit")


@pytest.fixture
def predictions(monkeypatch):
    """Stands for every process of `predict.py`; the options of each.

    Twenty images take a second, what comes before them two seconds more where it compiles.
    """
    calls = []

    def execute(command, output, cwd, environment):
        pictures, options = Path(command[2]), dict(part.split("=", 1) for part in command[3:])
        count = len(list(pictures.iterdir())) if pictures.is_dir() else 1
        compiles = options.get("model.backbone.compile", str(count >= 5).lower()) == "true"
        calls.append((count, compiles))
        run = Path(options["hydra.run.dir"].strip("'"))
        run.mkdir(exist_ok=True)
        lines = ["[2026-01-02 03:04:01,000][a][INFO] resnet18 is random"]
        lines += ["[2026-01-02 03:04:05,250][a][INFO] predicting 5 images with best.ckpt"]
        if compiles:
            lines.append("[2026-01-02 03:04:06,000][a][INFO] compiling the backbone (15 s)")
        (run / "predict.log").write_text("\n".join(lines))
        (run / "predictions.csv").write_text("path\n")
        end = START + 0.25 + count / 20 + 2 * compiles
        os.utime(run / "predictions.csv", (end, end))
        return 10.0

    monkeypatch.setattr(predict_job, "execute", execute)
    return calls


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (30, 40), "navy").save(folder / "0.jpg")
    return folder


def test_predicting_ends_with_the_table_of_predictions(head, predictions, photos, tmp_path):
    seconds, compiled = predicting_seconds(head, Path("best.ckpt"), photos, tmp_path)
    assert seconds == pytest.approx(0.05, abs=1e-5)
    assert not compiled
    seconds, compiled = predicting_seconds(head, Path("best.ckpt"), photos, tmp_path, True)
    assert seconds == pytest.approx(2.05, abs=1e-5)
    assert compiled


def test_log_without_a_beginning_is_an_error(head, photos, tmp_path, monkeypatch):
    def execute(*_):
        (tmp_path / "predict").mkdir()
        (tmp_path / "predict" / "predict.log").write_text("[2026-01-02 03:04:01,000] nothing")

    monkeypatch.setattr(predict_job, "execute", execute)
    with pytest.raises(FashionTransferError, match="does not say when it began"):
        predicting_seconds(head, Path("best.ckpt"), photos, tmp_path)


def test_rate_is_from_the_first_file_to_the_last_beside_the_backbone(
    head, predictions, photos, backbone, tmp_path, monkeypatch
):
    classifier = Classifier(
        backbone, ("a", "b"), {"name": "linear"}, image_size=32, preparation="photo"
    )
    trained = []
    monkeypatch.setattr(first_prediction, "execute", lambda *given: trained.append(given[0]))
    monkeypatch.setattr(predict_job, "load_classifier", lambda path, compile: classifier.eval())
    monkeypatch.setattr(predict_job, "LARGE", (160, 120))
    monkeypatch.setattr(predict_job, "LARGE_FILE", (0.005, 0.02))
    monkeypatch.setattr(predict_job, "PASSES", 1)
    monkeypatch.setattr(predict_job, "BATCH", 4)
    rows = {
        row["name"]: row for row in rate_rows(head, tmp_path, ["a=b"], 1, photos, counts=(5, 2))
    }
    assert set(rows) == {"predict_backbone", "predict_400px", "predict_12mp"}
    alone = rows["predict_backbone"]["value"]
    for name in ("predict_400px", "predict_12mp"):
        assert rows[name]["value"] == pytest.approx(20, rel=1e-3)
        assert rows[name]["ratio"] == pytest.approx(20 / alone, rel=1e-3)
    # One file alone is predicted as all are: with a compiled backbone, or with an eager one.
    assert predictions == 2 * [(5, True), (1, True), (2, False), (1, False)]
    for folder, size in (("predict_400px", (300, 400)), ("predict_12mp", (120, 160))):
        with Image.open(tmp_path / folder / "0000.jpg") as picture:
            assert picture.size == size
    [command] = trained
    assert {"data=folder", "a=b"} <= set(command)


def test_missing_net_is_named_before_anything_is_trained(head, photos, tmp_path):
    with pytest.raises(FashionTransferError, match="make cutout"):
        predict_rows(head, head, tmp_path, [], 1, photos)
