"""The baselines: chosen on validation, trained on training images, measured on the test images."""

import json
import re

import numpy as np
import pytest

from fashion_transfer.benchmarks import baselines, candidates
from fashion_transfer.benchmarks.baselines import main
from fashion_transfer.benchmarks.candidates import _RBFSVM, BASELINES, hog


@pytest.fixture
def measure(idx_dir, tmp_path, monkeypatch):
    """`measure(name, *overrides)`: the metrics of a baseline on the generated files."""
    monkeypatch.setattr(candidates, "PENALTIES", (1.0, 0.01))

    def run(name: str, *overrides: str) -> dict:
        folder = tmp_path / "out"
        folder.mkdir(exist_ok=True)
        given = [
            f"data.dir={idx_dir}",
            "data.check_md5=false",
            "data.image_size=32",
            "data.images_per_class=8",
            "data.val_per_class=4",
            "model.backbone.name=resnet18",
            "model.backbone.weights=null",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            f"paths.cache={tmp_path / 'cache'}",
            *overrides,
        ]
        main([name, *given, "--folder", str(folder)])
        return json.loads((folder / "metrics.json").read_text())

    return run


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_is_measured_as_a_training_run_is(measure, name, capsys):
    metrics = measure(name)
    assert {"test/accuracy", "test/macro_accuracy", "val/accuracy"} <= metrics.keys()
    assert sum(key.startswith("test/accuracy/") for key in metrics) == 10
    # The test images have as many of each class.
    assert metrics["test/accuracy"] == pytest.approx(metrics["test/macro_accuracy"])
    assert any(key.startswith("chosen/") for key in metrics)
    assert ("test/ece" in metrics) == (name != "hog_svm")
    assert ("weights/sha256" in metrics) == (name != "hog_svm")
    out, err = capsys.readouterr()
    assert "test/accuracy" in out
    first = measure(name)
    assert {k: v for k, v in metrics.items() if not k.startswith("seconds/")} == {
        k: v for k, v in first.items() if not k.startswith("seconds/")
    }


@pytest.mark.parametrize("name", BASELINES)
def test_one_image_per_class_is_enough(measure, name):
    metrics = measure(name, "data.images_per_class=1", "data.selection=random", "seed=3")
    assert 0 <= metrics["test/accuracy"] <= 1
    if name == "knn":
        assert metrics["chosen/k"] == 1


class Fixed:
    """A classifier that notes what it is given, and gets a fraction of the labels correct."""

    def __init__(self, log: list, quality: float) -> None:
        self.log, self.quality = log, quality

    def fit(self, inputs, labels):
        self.log.append(("fit", len(inputs)))
        self.labels = labels

    def predict(self, inputs):
        self.log.append(("predict", len(inputs)))
        # Labels come in order: all classes in turn, then the first alone.
        return np.full(len(inputs), -1)


def test_test_images_are_read_once_by_the_chosen_candidate_alone(measure, monkeypatch):
    log: list = []
    tried = [
        candidates.Candidate({"number": n}, "features", lambda n=n: Fixed(log, n)) for n in range(3)
    ]
    fake = BASELINES["knn"]._replace(candidates=lambda count, of_class: iter(tried))
    monkeypatch.setitem(baselines.BASELINES, "knn", fake)
    metrics = measure("knn")
    # 80 training, 40 validation, 60 test images; of equally good candidates the first one.
    assert log == [("fit", 80), ("predict", 40)] * 3 + [("predict", 60)]
    assert metrics["chosen/number"] == 0


def test_features_are_standardised_by_the_training_images():
    draw = np.random.default_rng(0)
    features = {
        name: draw.normal(5, 3, (200, 4)).astype(np.float32) for name in ("train", "val", "test")
    }
    result = baselines._standardised(features)
    assert np.allclose(result["train"].mean(0), 0, atol=1e-5)
    assert np.allclose(result["train"].std(0), 1, atol=1e-5)
    expected = (features["test"] - features["train"].mean(0)) / features["train"].std(0)
    assert np.allclose(result["test"], expected, atol=1e-4)


def test_svm_equals_that_of_scikit_learn_with_a_kernel_of_its_own():
    from sklearn.svm import SVC

    draw = np.random.default_rng(0)
    inputs, labels = draw.normal(size=(120, 6)), draw.integers(0, 3, 120)
    inputs[:, 0] += labels
    ours = _RBFSVM(3.0, 1.0)
    ours.fit(inputs, labels)
    expected = SVC(C=3.0, gamma="scale").fit(inputs, labels)
    others = draw.normal(size=(2500, 6))
    assert (ours.predict(others) == expected.predict(others)).mean() > 0.998


def test_hog_has_a_histogram_of_nine_orientations_per_cell_of_each_block():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    assert hog(images, cell=4).shape == (3, 6 * 6 * 4 * 9)
    assert hog(images, cell=3).shape == (3, 8 * 8 * 4 * 9)
    ramp = np.broadcast_to(np.arange(28, dtype=np.uint8) * 9, (1, 28, 28))
    upright, turned = hog(ramp, cell=4), hog(ramp.swapaxes(1, 2), cell=4)
    assert not np.allclose(upright, turned)


def test_neighbours_are_at_most_the_images_of_a_class():
    def most(of_class: int) -> int:
        return max(c.settings["k"] for c in BASELINES["knn"].candidates(10 * of_class, of_class))

    assert [most(count) for count in (1, 5, 10, 500)] == [1, 5, 9, 25]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.val_per_class=0"], "has no val split, which a baseline needs"),
        (["data.images_per_clas=5"], "images_per_clas"),
        (["data.images_per_class=0"], "images_per_class"),
    ],
)
def test_mistake_is_one_line(measure, overrides, message):
    with pytest.raises(SystemExit) as ended:
        measure("hog_svm", *overrides)
    assert re.match("error: ", ended.value.code)
    assert message in ended.value.code
    assert "\n" not in ended.value.code


def test_missing_scikit_image_is_one_line(measure, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.partition(".")[0] == "skimage"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SystemExit, match="hog_svm needs scikit-image"):
        measure("hog_svm")
