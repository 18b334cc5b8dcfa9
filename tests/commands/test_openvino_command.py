"""A run in int8: what loads its checkpoint uses the same network, and nothing mixes precisions."""

import importlib.util
import sys

import pytest
import torch
from outcomes import only_run, read_metrics

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("openvino", "nncf")),
        reason="no OpenVINO, or no NNCF",
    ),
]


@pytest.fixture(scope="module")
def trained(run, tiny, imagenet_weights, tmp_path_factory):
    """`trained(precision)`: the run folder of a training; each is trained once."""
    if "nncf" in sys.modules:  # it keeps the captured stdout of its import, which is closed by now
        pytest.skip("NNCF was imported by other tests: run this file alone")
    folders = {}

    def train(precision):
        if precision not in folders:
            logs = tmp_path_factory.mktemp(precision)
            given = tiny(logs, f"model.backbone.weights={imagenet_weights}")
            run("train.py", *given, f"model.backbone.precision={precision}").succeeded()
            folders[precision] = only_run(logs)
        return folders[precision]

    return train


@pytest.fixture
def evaluate(run, tiny, tmp_path):
    """`evaluate(folder, *overrides)`: evaluates the checkpoint of a run folder."""
    keep = ("data.dir", "data.check_md5", "paths.cache")

    def start(folder, *overrides):
        data = [a for a in tiny(tmp_path) if a.startswith(keep)]
        path = folder / "checkpoints" / "best.ckpt"
        given = (*data, f"ckpt_path={path}", f"paths.logs={tmp_path}", "images_per_set=0")
        return run("evaluate.py", *given, "device=cpu", *overrides)

    return start


def test_checkpoint_names_its_network_and_evaluation_uses_it(trained, evaluate, tmp_path):
    folder = trained("int8")
    described = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["classifier"]
    assert (described["engine"], described["precision"]) == ("openvino", "int8")
    evaluate(folder).succeeded()
    [found] = tmp_path.rglob("metrics.json")
    metrics, of_training = read_metrics(found.parent), read_metrics(folder)
    assert metrics["backbone/quantised"] == described["backbone"]["quantised"]
    assert metrics["backbone/precision"] == "int8"
    assert metrics["test/accuracy"] == of_training["test/accuracy"]


@pytest.mark.parametrize(
    ("precision", "override", "message"),
    [
        ("int8", "model.backbone.precision=float32", "was trained on int8 features, and would"),
        ("int8", "model.backbone.engine=torch", "was trained on int8 features, and would"),
        ("float32", "model.backbone.precision=int8", "was not trained on int8 features"),
        ("int8", "paths.cache=elsewhere", "copy it from the machine that trained on it"),
    ],
)
def test_precisions_are_not_mixed(trained, evaluate, precision, override, message):
    assert message in evaluate(trained(precision), override).mistake()


def test_floats_of_openvino_do_for_a_head_of_torch(trained, evaluate, tmp_path):
    evaluate(trained("float32"), "model.backbone.engine=openvino").succeeded()
    [found] = tmp_path.rglob("metrics.json")
    metrics = read_metrics(found.parent)
    assert metrics["backbone/engine"] == "openvino"
    assert abs(metrics["test/accuracy"] - read_metrics(trained("float32"))["test/accuracy"]) < 0.05


def test_export_refuses_int8(run, trained, tmp_path):
    pytest.importorskip("onnx")
    path = trained("int8") / "checkpoints" / "best.ckpt"
    ended = run("export.py", f"ckpt_path={path}", f"output={tmp_path / 'a.onnx'}")
    assert "was trained on int8 features, and would lose accuracy on floats" in ended.mistake()
    assert not (tmp_path / "a.onnx").exists()
