"""The same test images give the same predictions by evaluate.py and, as files, by predict.py."""

import csv

import numpy as np
import pytest
from outcomes import only_run
from PIL import Image

from fashion_transfer.commands import evaluate as command
from fashion_transfer.data.alignment import align_foreground
from fashion_transfer.data.idx_files import load_pair

BACKBONE = ("model.backbone.precision=float32", "device=cpu")
BATCH_SIZE = 20  # of both: the last bits of a feature depend on how many images are beside it


@pytest.fixture(scope="module")
def data(idx_dir, write_idx, tmp_path_factory):
    """A data set like `idx_dir`, in which some items do not fill the test image or are rotated."""
    folder = tmp_path_factory.mktemp("small-items")
    for path in idx_dir.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    images = load_pair(folder, train=False, check_md5=False).images
    for image in images[::3]:
        small = Image.fromarray(image).resize((14, 14))
        image[:] = np.asarray(small.rotate(20, expand=True).resize((28, 28)).convert("L"))
        image[:] = 0
        image[4:18, 9:23] = np.asarray(small)
    for image in images[1::3]:
        image[:] = np.asarray(Image.fromarray(image).resize((16, 16)).rotate(30).resize((28, 28)))
        image[:5] = image[-5:] = 0
    [old] = folder.glob("t10k-images-idx3-ubyte*")
    write_idx(old, images)
    return folder


@pytest.fixture(scope="module")
def test_images(data):
    return load_pair(data, train=False, check_md5=False).images


@pytest.fixture(scope="module")
def by_file(run, trained, test_images, tmp_path_factory):
    """Rows of `predictions.csv` for the test images as PNG files, in their order."""
    folder = tmp_path_factory.mktemp("png")
    for number, image in enumerate(test_images):
        Image.fromarray(image).save(folder / f"{number:02d}.png")
    logs = tmp_path_factory.mktemp("by-file")
    given = (f"ckpt_path={trained.best}", f"paths.logs={logs}", *BACKBONE)
    run("predict.py", folder, *given, f"batch_size={BATCH_SIZE}").succeeded()
    with (only_run(logs, "predict") / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def by_evaluation(run, trained, data, tmp_path, monkeypatch):
    """`by_evaluation(*more)`: the predictions of an evaluation, in the order of the test images."""
    evaluated = []

    def spy(classifier, batches):
        evaluated.append(evaluate_set(classifier, batches))
        return evaluated[-1]

    evaluate_set = command.evaluate_set
    monkeypatch.setattr(command, "evaluate_set", spy)

    def predictions(*more: str):
        given = (f"data.dir={data}", "data.check_md5=false", "images_per_set=0", *BACKBONE)
        paths = (f"ckpt_path={trained.best}", f"paths.logs={tmp_path}")
        loading = ("model.backbone.compile=false", f"data.batch_size={BATCH_SIZE}")
        run("evaluate.py", *given, *paths, *loading, *more).succeeded()
        [of_test] = evaluated
        return of_test.predictions

    return predictions


def test_some_items_do_not_fill_the_image(test_images):
    changed = [align_foreground(image[None]).shape != (1, 28, 28) for image in test_images]
    assert 10 < sum(changed) < len(changed)


def test_evaluation_and_prediction_of_the_same_images_agree(by_file, by_evaluation):
    predictions = by_evaluation("store=false")
    assert len(predictions) == len(by_file) == 60
    for expected, row in zip(predictions, by_file, strict=True):
        assert row["label"] == expected.label
        assert float(row["confidence"]) == pytest.approx(expected.confidence, abs=1e-6)
        assert row["warning"] == str(expected.warning).lower()
        assert row["reason"] == expected.reason
        assert row["message"] == expected.message
    assert {row["warning"] for row in by_file} == {"true", "false"}
    assert len({row["label"] for row in by_file}) > 1


def test_evaluation_on_cached_features_agrees_but_for_their_rounding(by_file, by_evaluation):
    # Features are cached in float16.
    for expected, row in zip(by_evaluation(), by_file, strict=True):
        assert float(row["confidence"]) == pytest.approx(expected.confidence, abs=0.02)
