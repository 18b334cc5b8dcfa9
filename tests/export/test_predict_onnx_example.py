"""`docs/examples/predict_onnx.py`: the same predictions, and no torch."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fashion_transfer.data import read_image

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "predict_onnx.py"

WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = sys.modules["torchvision"] = sys.modules["lightning"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """A grey item on black, an item in colour on white, and a file that is no image."""
    folder = tmp_path_factory.mktemp("pictures")
    grey = Image.new("L", (28, 28))
    ImageDraw.Draw(grey).rectangle((1, 8, 26, 20), 200)
    grey.save(folder / "grey.png")
    photo = Image.new("RGB", (90, 120), "white")
    ImageDraw.Draw(photo).rectangle((20, 15, 65, 100), "navy")
    photo.save(folder / "photo.png")
    (folder / "broken.jpg").write_text("no image")
    return [folder / name for name in ("grey.png", "photo.png", "broken.jpg")]


def start(*arguments: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_example_prints_the_classifiers_predictions_without_torch(exported, with_opinion, files):
    ended = start(EXAMPLE, exported, *files)
    assert ended.returncode == 0, ended.stderr
    expected = []
    for path, p in zip(files, with_opinion.predict(files[:2]), strict=False):
        warning = f", warning: {p.reason}" if p.warning else ""
        expected.append(f"{path}: {p.label}, {p.confidence:.0%}{warning}")
    *lines, broken = ended.stdout.splitlines()
    assert lines == expected
    assert broken.startswith(f"{files[2]}: ")


def test_example_imports_no_torch():
    code = f"import runpy, sys; runpy.run_path({str(EXAMPLE)!r}); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    heavy = {"torch", "torchvision", "lightning", "hydra", "scipy", "matplotlib"}
    assert not heavy & set(ended.stdout.split())


def test_class_of_the_example_takes_images_in_any_form(exported, with_opinion, files):
    classifier = runpy.run_path(str(EXAMPLE))["OnnxClassifier"](str(exported))
    [expected] = with_opinion.predict(files[1])
    for image in (files[1], Image.open(files[1]), read_image(files[1])):
        prediction = classifier.predict(image)
        assert (prediction.label, prediction.reason) == (expected.label, expected.reason)
        assert prediction.confidence == pytest.approx(expected.confidence, abs=1e-5)


def test_preparation_of_another_version_is_named(exported, capsys, monkeypatch):
    from fashion_transfer.data.preparation import FashionMNISTPreparation

    monkeypatch.setattr(FashionMNISTPreparation, "version", 99)
    runpy.run_path(str(EXAMPLE))["OnnxClassifier"](str(exported))
    assert "preparation has changed" in capsys.readouterr().err


def test_predictions_for_batches_of_the_same_size_agree(exported, mixed):
    from fashion_transfer.data.onnx_session import open_session
    from fashion_transfer.export import onnx_inputs

    session = open_session(exported)
    together = session.run(None, onnx_inputs(mixed, True))[0]
    alone = [session.run(None, onnx_inputs([image], True))[0][0] for image in mixed]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_example_without_images_prints_its_usage(exported):
    ended = start(EXAMPLE, exported)
    assert ended.returncode == 1
    assert "Usage: python predict_onnx.py classifier.onnx photo.jpg" in ended.stderr
