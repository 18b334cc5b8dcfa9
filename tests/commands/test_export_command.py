"""export.py: one file of a checkpoint, a line about it, and mistakes in a line."""

import json
from pathlib import Path

import numpy as np
import pytest

from fashion_transfer.data.preparation import Prepared
from fashion_transfer.models import load_classifier

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from fashion_transfer.data.onnx_session import open_session  # noqa: E402
from fashion_transfer.export import onnx_file, onnx_inputs  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def export(run, trained, tmp_path):
    """`export(*arguments)`: runs export.py with a trained run's checkpoint."""

    def start(*arguments: str):
        given = (f"ckpt_path={trained.best}", f"paths.logs={tmp_path / 'logs'}")
        return run("export.py", *given, *arguments)

    return start


@pytest.fixture
def written(monkeypatch):
    """Stands for the exporter: the classifiers and files that it was asked for."""
    asked = []

    def write_onnx(classifier, path):
        asked.append((classifier, Path(path)))
        Path(path).write_bytes(bytes(2_000_000))
        return 3e-7

    monkeypatch.setattr("fashion_transfer.commands.export.write_onnx", write_onnx)
    return asked


def test_command_writes_one_file_and_a_line_about_it(export, trained, tmp_path):
    output = tmp_path / "my model (1).onnx"
    ended = export(f"output={output}", "policy.threshold=0.5").succeeded()
    last = ended.out.splitlines()[-1]
    assert last.startswith(f"written: {output}, {output.stat().st_size / 1e6:.1f} MB; ")
    assert "differ from the checkpoint's by at most" in last
    assert len(ended.out.splitlines()) <= 6
    assert not [line for line in ended.err.splitlines() if "RANDOM weights" not in line]
    session = open_session(output)
    described = session.get_modelmeta().custom_metadata_map
    assert json.loads(described["threshold"]) == 0.5
    classifier = load_classifier(trained.best, threshold=0.5)
    image = Prepared(np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8))
    probabilities, _, warning, _ = session.run(None, onnx_inputs([image], False))
    [prediction] = classifier.predict_prepared([image])
    assert probabilities[0] == pytest.approx(prediction.probabilities, abs=1e-4)
    assert warning[0] == prediction.warning


def test_file_lies_beside_the_checkpoint_unless_it_is_named(export, trained, written):
    out = export().succeeded().out
    [(classifier, path)] = written
    assert path == trained.best.with_name("classifier.onnx")
    path.unlink()
    assert out.splitlines()[-1] == (
        f"written: {path}, 2.0 MB; its probabilities differ from the checkpoint's by at most 3e-07"
    )
    assert next(classifier.backbone.parameters()).dtype.itemsize == 4


def test_newest_run_is_exported_unless_another_is_named(run, trained, written, tmp_path):
    run("export.py", f"paths.logs={trained.logs}", f"output={tmp_path / 'a.onnx'}").succeeded()
    assert [path for _, path in written] == [tmp_path / "a.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["output={folder}/no/a.onnx"], "no folder that exists"),
        (["output={folder}"], "is a folder"),
        (["policy.threshold=2"], "policy.threshold must be a number from 0 to 1"),
        (["+model.backbone.precision=bfloat16"], "there is no key model.backbone.precision"),
        (["model.backbone.weights=no.pth"], "no.pth"),
        (["ckpt_path={folder}/none.ckpt"], "no such file"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_mistake_is_one_line(export, written, tmp_path, arguments, message):
    ended = export(*(argument.format(folder=tmp_path) for argument in arguments))
    assert message in ended.mistake()
    assert not written


def test_missing_packages_are_a_mistake_that_names_the_extra(export, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    message = export().mistake()
    assert message == (
        'an export needs onnx, onnxscript, onnxruntime: run `pip install -e ".[export]"`'
    )
