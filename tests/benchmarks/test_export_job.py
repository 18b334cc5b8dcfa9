"""What an export gives and costs, beside its checkpoint and beside predict.py."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fashion_transfer.benchmarks import bench, export_job
from fashion_transfer.benchmarks.export_job import (
    export_rows,
    parity_rows,
    spread,
    start_rows,
    train_checkpoints,
    write_test_images,
)
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.benchmarks.rows import bench_row
from fashion_transfer.data import get_preparation
from fashion_transfer.export.parity import Parity


@pytest.fixture
def head(tmp_path) -> Revision:
    (tmp_path / "new" / "src" / "fashion_transfer" / "evaluation").mkdir(parents=True)
    return Revision("new", tmp_path / "new", "commit")


@pytest.fixture
def photo(tmp_path) -> Path:
    Image.new("RGB", (30, 40), "navy").save(tmp_path / "0.jpg")
    return tmp_path / "0.jpg"


class Loaded:
    """Stands for the classifier of a checkpoint."""

    def __init__(self, path: Path, precision: str) -> None:
        self.precision = precision
        self.preparation = get_preparation("photo")
        self.backbone = self

    def to_device(self, device: str) -> None:
        assert device == "cpu"


def test_predictions_are_compared_in_both_precisions(photo, monkeypatch):
    compared = []

    def compare(exported, classifier, prepared):
        compared.append((classifier.precision, [image.pixels.shape for image in prepared]))
        return Parity(2e-6, 0, 1) if classifier.precision == "float32" else Parity(0.02, 1, 2)

    monkeypatch.setattr(export_job, "load_classifier", Loaded)
    monkeypatch.setattr(export_job, "compare", compare)
    rows = parity_rows("a", Path("a.ckpt"), Path("a.onnx"), "photos", [photo] * 4)
    assert [(row["name"], row["value"], row["unit"]) for row in rows] == [
        ("export_a_photos_difference", pytest.approx(2), "ppm"),
        ("export_a_photos_labels", 0, "images"),
        ("export_a_photos_warnings", 1, "images"),
        ("export_a_photos_bfloat16", 75, "%"),
    ]
    assert compared == [(precision, [(3, 40, 40)] * 4) for precision in ("float32", "bfloat16")]


def test_first_predictions_alternate_and_the_first_of_each_does_not_count(
    head, photo, tmp_path, monkeypatch
):
    calls = []

    def answer(command, revision, errors):
        calls.append(Path(command[1]).name)
        seconds = {"predict.py": 4.0, "predict_onnx.py": 1.0}[calls[-1]]
        return 100.0 if len(calls) <= 2 else seconds

    monkeypatch.setattr(export_job, "seconds_to_prediction", answer)
    exported = tmp_path / "a.onnx"
    rows = start_rows("a", head, Path("a.ckpt"), exported, photo, tmp_path, repeats=2)
    assert calls == 3 * ["predict.py", "predict_onnx.py"]
    assert [(row["name"], row["value"]) for row in rows] == [
        ("export_a_predict", 4.0),
        ("export_a_example", 1.0),
    ]
    assert rows[1]["ratio"] == 0.25


def test_test_images_are_saved_as_they_are(idx_dir, tmp_path, monkeypatch):
    load_pair = export_job.load_pair
    monkeypatch.setattr(
        export_job, "load_pair", lambda data, train: load_pair(data, train, check_md5=False)
    )
    files = write_test_images(idx_dir, tmp_path / "images", 3)
    expected = load_pair(idx_dir, train=False, check_md5=False).images[:3]
    assert np.array_equal([np.asarray(Image.open(file)) for file in files], expected)


@pytest.mark.parametrize(("count", "chosen"), [(3, [0, 3, 6]), (10, list(range(10))), (99, None)])
def test_files_are_taken_from_all_over_the_list(count, chosen):
    files = [Path(f"{number}.jpg") for number in range(10)]
    expected = files if chosen is None else [files[number] for number in chosen]
    assert spread(files, count) == expected


def test_checkpoints_of_both_preparations_are_trained_on_few_images(head, tmp_path, monkeypatch):
    trained = []

    def train_checkpoint(revision, folder, overrides):
        trained.append((folder.name, overrides))
        return folder / "best.ckpt"

    monkeypatch.setattr(export_job, "train_checkpoint", train_checkpoint)
    checkpoints = train_checkpoints(head, tmp_path, ["a=b"])
    assert list(checkpoints) == ["fashion_mnist", "photo"]
    assert "data.images_per_class=20" in trained[0][1]
    assert "data=folder" in trained[1][1]
    assert all("a=b" in overrides for _, overrides in trained)


def test_every_checkpoint_is_compared_on_both_sets(head, photo, tmp_path, monkeypatch):
    monkeypatch.setattr(export_job, "load_classifier", Loaded)
    monkeypatch.setattr(export_job, "write_onnx", lambda *_: 0.0)
    monkeypatch.setattr(export_job, "write_test_images", lambda *_: [photo])
    monkeypatch.setattr(export_job, "parity_rows", lambda *given: [(given[0], given[3])])
    monkeypatch.setattr(export_job, "start_rows", lambda *given: [given[0]])
    checkpoints = {"a": Path("a.ckpt"), "b": Path("b.ckpt")}
    rows = export_rows(head, checkpoints, tmp_path, photo.parent, tmp_path, 1)
    sets = ("fashion_mnist", "photos")
    assert rows == [row for name in "ab" for row in (*((name, s) for s in sets), name)]


def test_bench_takes_checkpoints_or_trains_some(tmp_path, monkeypatch):
    measured = []

    def rows_of(head, checkpoints, *_):
        measured.append(checkpoints)
        return [bench_row("export_a_example", "example", 1.0, "s", ratio=0.2)]

    monkeypatch.setattr(bench, "export_rows", rows_of)
    monkeypatch.setattr(bench, "train_checkpoints", lambda *_: {"trained": Path("best.ckpt")})
    output = ["--output", str(tmp_path / "bench.json")]
    bench.main(["--only", "export", *output])
    bench.main(["--only", "export", "--checkpoints", "x/a.ckpt", "b.ckpt", *output])
    assert measured == [
        {"trained": Path("best.ckpt")},
        {"a": Path("x/a.ckpt"), "b": Path("b.ckpt")},
    ]
