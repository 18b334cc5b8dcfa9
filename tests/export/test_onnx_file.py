"""The exported file: what it gives, what it says about itself, and when it is refused."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from fashion_transfer.confidence import REASONS
from fashion_transfer.data.batch import Batch
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.data.onnx_session import open_session
from fashion_transfer.data.preparation import Prepared
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.export import metadata, onnx_file, onnx_inputs, write_onnx
from fashion_transfer.export.parity import Parity

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(exported):
    return open_session(exported)


def assert_same(session, classifier, images: list[Prepared]) -> None:
    """Compares all outputs for a batch with what the classifier predicts."""
    inputs = onnx_inputs(images, classifier.opinion is not None)
    probabilities, ood_score, warning, reason = session.run(None, inputs)
    predictions = classifier.predict_prepared(images)
    np.testing.assert_allclose(probabilities, [p.probabilities for p in predictions], atol=1e-5)
    assert warning.tolist() == [p.warning for p in predictions]
    names = ["", *REASONS]
    assert [names[position] for position in reason] == [p.reason for p in predictions]
    features = classifier.extract(images).features
    with torch.no_grad():
        _, expected = classifier.outputs(Batch(features=features))
    np.testing.assert_allclose(ood_score, expected, rtol=1e-3, atol=1e-5)


# What it gives


def test_file_gives_what_the_classifier_predicts(session, with_opinion, mixed):
    assert_same(session, with_opinion, mixed)


@pytest.mark.parametrize("rows", [[0], [1], [0, 0, 0, 0], [2, 1], [1, 0]])
def test_any_number_of_images_may_have_a_colour_picture(session, with_opinion, mixed, rows):
    assert_same(session, with_opinion, [mixed[row] for row in rows])


@pytest.mark.parametrize("shape", [(1, 20, 20), (3, 28, 28), (1, 32, 90), (3, 200, 130)])
def test_image_may_have_any_size_and_be_grey_or_in_colour(session, with_opinion, draw, shape):
    # Larger than the backbone's input, too: these are antialiased.
    assert_same(session, with_opinion, [Prepared(draw(*shape)), Prepared(draw(*shape, seed=1))])


@pytest.mark.parametrize("size", [30, 224, 500])
def test_colour_picture_may_have_any_size(session, with_opinion, draw, size):
    assert_same(session, with_opinion, [Prepared(draw(1, 28, 28), "", draw(3, size, size))])


def test_second_opinion_changes_the_probabilities_of_its_rows_alone(session, mixed):
    with_colours = session.run(None, onnx_inputs(mixed, True))[0]
    grey = [image._replace(colour=None) for image in mixed]
    without = session.run(None, onnx_inputs(grey, True))[0]
    changed = np.abs(with_colours - without).max(axis=1) > 1e-3
    assert changed.tolist() == [False, True, True]


def test_trained_stages_are_exported(make_classifier, draw, tmp_path):
    classifier = make_classifier({"unfreeze": "layer3", "pool": ["layer2", "layer4"]})
    with torch.no_grad():
        for weight in classifier.stages.parameters():
            weight.mul_(1.1)  # so that it is not the backbone's own
    write_onnx(classifier, tmp_path / "a.onnx")
    images = [Prepared(draw(1, 28, 28, seed=seed)) for seed in range(2)]
    assert_same(open_session(tmp_path / "a.onnx"), classifier, images)


def test_classifier_of_photos_is_exported(make_classifier, draw, tmp_path):
    backbone = {"name": "timm/test_resnet" if find_spec("timm") else "resnet18"}
    mlp = {"name": "mlp", "hidden": 8}
    options = {"standardise": False, "preparation": "photo", "threshold": 0.0, "head": mlp}
    classifier = make_classifier(backbone, **options, class_names=("hat", "shoe"))
    classifier.calibrator.ood_limit.fill_(torch.inf)
    write_onnx(classifier, tmp_path / "a.onnx")
    session = open_session(tmp_path / "a.onnx")
    assert [value.name for value in session.get_inputs()] == ["images"]
    assert_same(session, classifier, [Prepared(draw(3, 50, 50, seed=seed)) for seed in range(3)])
    assert metadata(classifier)["ood_limit"] is None


# What it takes and what it says about itself


def test_inputs_and_outputs_have_names_and_types(session):
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert inputs == {
        "images": ("tensor(uint8)", ["N", "channels", "height", "width"]),
        "colours": ("tensor(uint8)", ["M", 3, "colour_height", "colour_width"]),
        "colour_rows": ("tensor(int64)", ["M"]),
    }
    outputs = {value.name: (value.type, value.shape) for value in session.get_outputs()}
    assert outputs == {
        "probabilities": ("tensor(float)", ["N", len(CLASS_NAMES) + 1]),
        "ood_score": ("tensor(float)", ["N"]),
        "warning": ("tensor(bool)", ["N"]),
        "reason": ("tensor(int64)", ["N"]),
    }


def test_images_of_two_or_four_channels_are_refused(session, draw):
    for channels in (2, 4):
        inputs = onnx_inputs([Prepared(draw(channels, 28, 28))], True)
        with pytest.raises(Exception, match="Expand|broadcast"):
            session.run(None, inputs)


def test_metadata_describe_the_classifier(session, with_opinion):
    stored = session.get_modelmeta().custom_metadata_map
    described = {name: json.loads(value) for name, value in stored.items()}
    assert described == metadata(with_opinion)
    assert described["class_names"] == list(CLASS_NAMES)
    assert described["reasons"] == list(REASONS)
    assert described["ood_limit"] == pytest.approx(1.2)
    assert described["temperature"] == pytest.approx(0.3)
    assert described["preparation"] == "fashion_mnist"
    assert described["second_opinion"] is described["multi_item"] is True
    assert described["weights"] == "imagenet.pth"
    assert len(described["weights_sha256"]) == 64
    assert described["weights_licence"] == "not stated"


def test_weights_are_in_the_file_and_only_once(exported, with_opinion):
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]
    parts = (with_opinion.backbone, with_opinion.head)
    weights = sum(4 * weight.numel() for part in parts for weight in part.parameters())
    assert weights <= exported.stat().st_size < 1.02 * weights


def test_exported_weights_are_the_classifiers_own_afterwards(with_opinion):
    assert not with_opinion.training
    assert next(with_opinion.backbone.parameters()).dtype == torch.float32


# When it is refused


@pytest.fixture
def old(tmp_path):
    """A file of an earlier export."""
    path = tmp_path / "classifier.onnx"
    path.write_text("an earlier export")
    return path


@pytest.fixture
def traced(monkeypatch):
    """Stands for the exporter, which takes seconds."""

    class Program:
        def save(self, path):
            path.write_text("a new export")

    monkeypatch.setattr(onnx_file, "_trace", lambda classifier: Program())


@pytest.mark.parametrize(
    "parity", [Parity(0.002, 0, 0), Parity(np.inf, 0, 0), Parity(1e-9, 0, 1)], ids=str
)
def test_file_that_gives_something_else_is_refused(with_opinion, traced, old, monkeypatch, parity):
    monkeypatch.setattr(onnx_file, "compare", lambda *_: parity)
    with pytest.raises(FashionTransferError, match=r"classifier.onnx was not written: .*differ"):
        write_onnx(with_opinion, old)
    assert old.read_text() == "an earlier export"
    assert [*old.parent.glob("*.onnx"), *old.parent.glob(".*")] == [old]


def test_largest_difference_is_returned(with_opinion, traced, old, monkeypatch):
    monkeypatch.setattr(onnx_file, "compare", lambda *_: Parity(2e-7, 0, 0))
    assert write_onnx(with_opinion, old) == 2e-7
    assert old.read_text() == "a new export"


def test_file_that_onnxruntime_cannot_read_is_refused(with_opinion, traced, old):
    with pytest.raises(FashionTransferError, match="onnxruntime cannot run it"):
        write_onnx(with_opinion, old)
    assert old.read_text() == "an earlier export"


def test_file_that_cannot_be_written_is_an_error(with_opinion, traced, tmp_path):
    with pytest.raises(FashionTransferError, match="cannot be written"):
        write_onnx(with_opinion, tmp_path / "no" / "folder.onnx")


@pytest.mark.parametrize("options", [{"precision": "bfloat16"}, {"compile": True}], ids=str)
def test_classifier_in_bfloat16_or_compiled_is_refused(make_classifier, tmp_path, options):
    classifier = make_classifier(options)
    classifier.backbone.to_device("cpu")
    with pytest.raises(FashionTransferError, match="precision=float32 and compile=false"):
        write_onnx(classifier, tmp_path / "a.onnx")


def test_network_that_cannot_be_exported_is_named(with_opinion, tmp_path, monkeypatch):
    def export(*args, **options):
        raise RuntimeError("no such operator\nand a page more")

    monkeypatch.setattr(torch.onnx, "export", export)
    expected = r"resnet18 cannot be exported \(no such operator\)"
    with pytest.raises(FashionTransferError, match=expected):
        write_onnx(with_opinion, tmp_path / "a.onnx")
    assert not list(tmp_path.glob("*.onnx"))


def test_missing_packages_are_named_with_the_extra(with_opinion, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None if name == "onnx" else name)
    expected = r"an export needs onnx: run `pip install -e \"\.\[export\]\"`"
    with pytest.raises(FashionTransferError, match=expected):
        write_onnx(with_opinion, tmp_path / "a.onnx")
