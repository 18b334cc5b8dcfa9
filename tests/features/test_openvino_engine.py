"""The backbone through OpenVINO: as torch in floats, near it in int8, and one cached network."""

import importlib.util
import json
import logging
import pickle
import sys

import pytest
import torch

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features import Backbone
from fashion_transfer.features import openvino_engine as module
from fashion_transfer.features.quantisation import quantised_dir, read_quantised

CALIBRATION = torch.rand(12, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def _skip_without(package: str) -> None:
    if importlib.util.find_spec(package) is None:  # importing it here would report it to its makers
        pytest.skip(f"no {package}")


@pytest.fixture
def grey():
    return torch.rand(45, 1, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def make(reference_file):
    """`make(**overrides)`: the ResNet18 of `reference_file` by OpenVINO, in float32."""
    _skip_without("openvino")

    def make(**overrides) -> Backbone:
        given = {"precision": "float32", "engine": "openvino"} | overrides
        return Backbone("resnet18", str(reference_file), **given)

    return make


@pytest.fixture(scope="module")
def in_floats(make):
    return make()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def in_int8(make, cache):
    """Calibrated; do not change it."""
    _skip_without("nncf")
    backbone = make(precision="int8", engine="auto")
    backbone.calibrate(CALIBRATION, cache)
    return backbone


@pytest.fixture
def rounded(make, monkeypatch):
    """`rounded(folder)`: a backbone "in int8" whose network is left as it is; and how many were."""
    _skip_without("nncf")
    calls = []
    monkeypatch.setattr(
        module.import_nncf(), "quantize", lambda network, *a, **o: calls.append(1) or network
    )

    def calibrate(folder, images=CALIBRATION) -> Backbone:
        backbone = make(precision="int8")
        backbone.calibrate(images, folder)
        return backbone

    return calibrate, calls


# Floats


def test_float32_equals_torch(in_floats, reference_file, grey):
    expected = Backbone("resnet18", str(reference_file), precision="float32").extract(grey)
    nodes = in_floats.extract(grey)
    assert list(nodes) == list(expected)
    for name, values in expected.items():
        assert nodes[name].dtype == torch.float32
        assert torch.allclose(nodes[name], values, atol=1e-4 * values.abs().max().item())


def test_grids_and_maps_equal_torch(make, reference_file, images):
    options = {"pool": ["layer2@2", "layer4"], "unfreeze": "layer4"}
    torch_backbone = Backbone("resnet18", str(reference_file), precision="float32", **options)
    assert torch.allclose(make(**options)(images), torch_backbone(images), atol=1e-3)


def test_colour_and_grey_go_through_one_network(in_floats, grey):
    assert torch.equal(in_floats(grey[:2].expand(-1, 3, -1, -1)), in_floats(grey[:2]))
    assert in_floats.extract(grey[:0])["layer4"].shape == (0, 512)


@pytest.mark.parametrize("name", ["in_floats", pytest.param("in_int8", marks=pytest.mark.slow)])
def test_features_depend_on_their_own_image_alone(request, name, grey):
    backbone = request.getfixturevalue(name)
    together = backbone.extract(grey)["layer4"]
    order = torch.randperm(45, generator=torch.Generator().manual_seed(4))
    assert torch.equal(backbone.extract(grey[order])["layer4"], together[order])
    for place in (0, 7, 8, 44):
        assert torch.equal(backbone(grey[place : place + 1])[0], together[place])


@pytest.mark.parametrize(("size", "expected"), [(32, 8), (224, 2), (320, 1), (4000, 1)])
def test_pass_is_small(in_floats, size, expected):
    assert in_floats.pass_size(size) == expected  # the tests allow 8 at most


def test_to_device_logs_once_what_was_chosen(make, caplog):
    backbone = make()
    with caplog.at_level(logging.INFO):
        assert backbone.to_device("cpu") == backbone.to_device("cpu") == "float32"
    [message] = [r.getMessage() for r in caplog.records if "OpenVINO" in r.getMessage()]
    assert message == "backbone resnet18 by OpenVINO in float32: as requested"
    assert not backbone.compiles(224)


def test_versions_name_openvino(in_floats):
    assert set(in_floats.versions) == {"torchvision", "openvino"}


def test_backbone_can_be_pickled(in_floats, images):
    expected = in_floats(images)
    assert torch.equal(pickle.loads(pickle.dumps(in_floats))(images), expected)


# int8


@pytest.mark.slow
def test_int8_is_near_torch(in_int8, in_floats, grey):
    assert in_int8.to_device("cpu") == "int8"
    exact, rounded = in_floats(grey), in_int8(grey)
    assert torch.nn.functional.cosine_similarity(exact, rounded).min() > 0.95
    assert not torch.equal(exact, rounded)


@pytest.mark.slow
def test_identity_names_the_quantised_network(in_int8, in_floats, cache):
    sha256 = in_int8.identity["quantised"]
    assert (quantised_dir(cache) / f"{sha256[:16]}.safetensors").is_file()
    assert in_int8.identity == in_floats.identity | {"quantised": sha256}


def test_same_images_calibrate_once_and_others_anew(rounded, tmp_path):
    calibrate, calls = rounded
    first, again = calibrate(tmp_path), calibrate(tmp_path)
    assert len(calls) == 1
    assert again.identity == first.identity
    calibrate(tmp_path, 1 - CALIBRATION)
    assert len(calls) == 2


@pytest.mark.slow
def test_other_process_loads_what_was_calibrated(make, in_int8, cache, grey, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)  # not needed any more
    loaded = make(precision="int8")
    loaded.load_quantised(in_int8.identity["quantised"], cache)
    assert torch.equal(loaded(grey), in_int8(grey))


def test_network_of_another_calibration_is_another_backbone(rounded, tmp_path, monkeypatch):
    calibrate, _ = rounded
    first = calibrate(tmp_path)
    serialise = module._serialise
    monkeypatch.setattr(module, "_serialise", lambda n: (serialise(n)[0] + b" ", serialise(n)[1]))
    assert calibrate(tmp_path, 1 - CALIBRATION).identity != first.identity


def test_damaged_network_is_refused_and_calibrated_anew(rounded, make, tmp_path, caplog):
    calibrate, calls = rounded
    sha256 = calibrate(tmp_path).identity["quantised"]
    path = quantised_dir(tmp_path) / f"{sha256[:16]}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FashionTransferError, match="is damaged: delete it, and train again"):
        make(precision="int8").load_quantised(sha256, tmp_path)
    again = calibrate(tmp_path).identity["quantised"]
    assert len(calls) == 2
    assert "is missing or damaged: calibrating anew" in caplog.text
    read_quantised(again, quantised_dir(tmp_path))
    assert not list(tmp_path.rglob(".*.safetensors"))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"sha256": "0" * 64})])
def test_damaged_note_is_written_anew(rounded, tmp_path, text):
    calibrate, calls = rounded
    calibrate(tmp_path)
    [note] = quantised_dir(tmp_path).glob("*.json")
    note.write_text(text)
    sha256 = calibrate(tmp_path).identity["quantised"]
    assert len(calls) == 2
    assert json.loads(note.read_text())["sha256"] == sha256


def test_int8_needs_calibration(make, images):
    with pytest.raises(FashionTransferError, match="the int8 backbone is not calibrated"):
        make(precision="int8")(images)


def test_network_that_is_not_there_is_named(make, tmp_path):
    with pytest.raises(FashionTransferError, match=r"0000.safetensors cannot be read \(No such"):
        make(precision="int8").load_quantised("0" * 64, tmp_path)


def test_calibrate_names_a_folder_that_cannot_be_written(rounded, tmp_path):
    (tmp_path / "quantised").write_text("")
    with pytest.raises(FashionTransferError, match="cannot store the int8 network in"):
        rounded[0](tmp_path)


def test_calibrate_does_nothing_in_floats(make_backbone, tmp_path):
    make_backbone().calibrate(CALIBRATION, tmp_path)
    assert not list(tmp_path.iterdir())


def test_processor_without_vnni_is_named(make, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64"})
    make(precision="int8").to_device("cpu")
    assert "this processor has no VNNI, so int8 may be slower than floats" in caplog.text


# What cannot be


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_other_device_than_a_cpu_is_refused(in_floats, device):
    with pytest.raises(FashionTransferError, match=f"on a CPU alone, got the device {device}"):
        in_floats.to_device(device)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compile": True}, "compile is for the engine torch, and this is openvino"),
        ({"precision": "float16"}, "precision must be auto, float32, bfloat16 or int8 for"),
        ({"precision": "half"}, "precision must be one of auto, .*, int8, got 'half'"),
        ({"engine": "onnx"}, "engine must be one of auto, torch, openvino, got 'onnx'"),
        ({"precision": "int8", "engine": "torch"}, "precision int8 needs the engine openvino"),
    ],
)
def test_impossible_options_are_refused(make, options, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        make(**options)


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"engine": "openvino"}])
def test_missing_package_is_named_with_its_extra(make_backbone, monkeypatch, options):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(FashionTransferError, match=r'needs openvino: pip install -e "\.\[openvino'):
        make_backbone(**options)


def test_missing_nncf_is_named_with_its_extra(make, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(FashionTransferError, match=r'needs nncf: pip install -e "\.\[openvino'):
        make(precision="int8").calibrate(CALIBRATION, tmp_path)


def test_nothing_is_sent_to_anybody(make):
    module.import_openvino()
    assert sys.modules["openvino_telemetry"] is None
