"""The engine: device, precision, compilation, and passes of one size."""

import logging
import pickle

import pytest
import torch
from torch import nn

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features import engine as module
from fashion_transfer.features.engine import Engine


@pytest.fixture(autouse=True)
def _whole_passes(monkeypatch):
    """Passes as large as for a user."""
    monkeypatch.setitem(module.MAX_PASS_SIZE, "cpu", 128)


@pytest.fixture
def engine(backbone):
    """The engine of the shared backbone; changed only by monkeypatch."""
    return backbone.engine


# Passes of one size


def test_extract_gives_features_that_do_not_depend_on_other_images(engine):
    images = torch.rand(45, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    together = engine.extract(images)["layer4"]
    order = torch.randperm(45, generator=torch.Generator().manual_seed(4))
    assert torch.equal(engine.extract(images[order])["layer4"], together[order])
    for place in (0, 31, 32, 44):
        alone = engine.extract(images[place : place + 1])["layer4"]
        assert torch.equal(alone[0], together[place])


def test_extract_equals_a_plain_pass(engine, images):
    extracted, plain = engine.extract(images), engine.run(images)
    assert list(extracted) == list(plain) == ["layer1", "layer2", "layer3", "layer4"]
    assert torch.allclose(extracted["layer4"], plain["layer4"], atol=1e-5)


def test_extract_takes_no_images(engine):
    nodes = engine.extract(torch.zeros(0, 1, 32, 32))
    assert {name: tuple(node.shape) for name, node in nodes.items()} == {
        "layer1": (0, 64),
        "layer2": (0, 128),
        "layer3": (0, 256),
        "layer4": (0, 512),
    }


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [("cpu", 224, 16), ("cpu", 64, 128), ("cpu", 600, 2), ("cpu", 4000, 1), ("cuda", 224, 256)],
)
def test_pass_size_suits_the_device(engine, monkeypatch, device, size, expected):
    monkeypatch.setattr(engine, "device", torch.device(device))
    assert engine.pass_size(size) == expected


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu"])
def test_pass_size_is_a_power_of_two_and_falls_with_the_image_size(engine, monkeypatch, device):
    monkeypatch.setattr(engine, "device", torch.device(device))
    sizes = [engine.pass_size(size) for size in range(32, 1200, 7)]
    assert all(size & (size - 1) == 0 for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) >= 1
    assert max(sizes) <= module.MAX_PASS_SIZE.get(device, 64)


def test_pass_size_fits_a_cpu(engine, monkeypatch):
    monkeypatch.setattr(engine, "device", None)
    for size in range(32, 800, 7):
        assert engine.pass_size(size) * size**2 <= module.PASS_PIXELS


# Compilation: torch.compile takes long and is torch's to test, so it is a stand-in here


@pytest.mark.parametrize("count", [1, 128, 136])
def test_compiled_engine_sees_only_whole_passes(make_backbone, monkeypatch, count):
    shapes, settings = [], []

    def compile_nothing(stages, **options):
        settings.append(options)

        def run(part):
            shapes.append(tuple(part.shape))
            return stages(part)

        return run

    monkeypatch.setattr(torch, "compile", compile_nothing)
    backbone = make_backbone(compile=True)
    images = torch.rand(count, 1, 32, 32)
    plain = backbone.stages(images)["layer4"]
    assert torch.allclose(backbone(images), plain, atol=1e-5)
    backbone.extract(images)
    passes = -(-count // 128)
    assert shapes == [(128, 1, 32, 32)] * (2 * passes)
    assert len(settings) == 1
    assert settings[0]["dynamic"] is False


class Compiled(nn.Module):
    """What torch.compile gives is a module, too."""

    def __init__(self, stages, **options):
        super().__init__()
        self.stages = stages
        self.local = lambda: None  # cannot be pickled, as compiled code cannot

    def forward(self, part):
        return self.stages(part)


def test_compiling_adds_nothing_to_the_state(make_backbone, monkeypatch, images):
    monkeypatch.setattr(torch, "compile", Compiled)
    backbone = make_backbone(compile=True)
    before = list(backbone.state_dict())
    backbone(images)
    assert list(backbone.state_dict()) == before


def test_compiled_backbone_can_be_pickled(make_backbone, monkeypatch, images):
    monkeypatch.setattr(torch, "compile", Compiled)
    backbone = make_backbone(compile=True)
    expected = backbone(images)
    restored = pickle.loads(pickle.dumps(backbone))
    assert restored.engine.stages is restored.stages
    assert torch.equal(restored(images), expected)


@pytest.mark.parametrize(
    ("setting", "compiler", "size", "expected"),
    [
        ("auto", True, 128, True),
        ("auto", True, 127, False),
        ("auto", False, 224, False),
        (True, False, 32, True),
        (False, True, 224, False),
    ],
)
def test_compiles_auto_wants_large_images_and_a_compiler(
    engine, monkeypatch, setting, compiler, size, expected
):
    monkeypatch.setattr(module, "_has_compiler", lambda: compiler)
    monkeypatch.setattr(engine, "compile", setting)
    monkeypatch.setattr(engine, "auto", None)  # the last extractor has decided
    assert engine.compiles(size) is expected


@pytest.mark.parametrize(("size", "auto"), [(224, True), (224, False), (127, True)])
def test_compiles_auto_is_what_was_decided(engine, monkeypatch, size, auto):
    monkeypatch.setattr(module, "_has_compiler", lambda: not auto)
    monkeypatch.setattr(engine, "compile", "auto")
    monkeypatch.setattr(engine, "auto", auto)
    assert engine.compiles(size) is (size == 224 and auto)


@pytest.mark.parametrize("variable", ["TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"])
@pytest.mark.parametrize("setting", ["auto", True])
def test_nothing_is_compiled_where_a_variable_switches_it_off(
    make_backbone, monkeypatch, caplog, variable, setting
):
    monkeypatch.setattr(module, "_has_compiler", lambda: True)
    monkeypatch.setenv(variable, "1")
    assert make_backbone(compile=setting).compiles(224) is False
    assert (f"{variable}=1" in caplog.text) is (setting is True)


def test_compiles_auto_is_false_on_a_gpu(engine, monkeypatch):
    monkeypatch.setattr(module, "_has_compiler", lambda: True)
    monkeypatch.setattr(engine, "compile", "auto")
    monkeypatch.setattr(engine, "device", torch.device("cuda"))
    assert not engine.compiles(224)


@pytest.mark.parametrize("moment", ["at once", "when it runs"])
def test_try_compiling_warns_and_gives_up_where_the_compiler_fails(
    make_backbone, monkeypatch, images, caplog, moment
):
    def fail(*args, **options):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", fail if moment == "at once" else lambda *_, **__: fail)
    backbone = make_backbone(compile=True)
    backbone.to_device("cpu")
    assert backbone.engine.try_compiling(32) is False
    assert "torch.compile failed (no compiler): the backbone runs without it" in caplog.text
    assert not backbone.compiles(224)
    assert torch.equal(backbone(images), backbone.stages(images)["layer4"])


def test_try_compiling_keeps_a_compiler_that_works(make_backbone, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda stages, **options: stages)
    backbone = make_backbone(compile=True)
    backbone.to_device("cpu")
    assert backbone.engine.try_compiling(32) is True


def test_try_compiling_does_not_take_another_image_size_for_a_failed_compiler():
    engine = Engine(nn.Identity(), "identity", compile=True, image_size=224)
    with pytest.raises(FashionTransferError, match="^image_size must be 224 for identity, got 32"):
        engine.try_compiling(32)
    assert engine.compiles(224)


@pytest.mark.parametrize("compile", ["always", None, 2])
def test_engine_rejects_another_value_of_compile(compile):
    with pytest.raises(ArgumentError, match="^compile must be auto, true or false, got") as caught:
        Engine(nn.Identity(), "identity", compile=compile)
    assert repr(compile) in str(caught.value)


# Device and precision


def test_to_device_logs_once_what_was_chosen_and_why(make_backbone, caplog):
    backbone = make_backbone()
    with caplog.at_level(logging.INFO):
        assert backbone.to_device("cpu") == backbone.to_device(torch.device("cpu")) == "float32"
    messages = [r.getMessage() for r in caplog.records if "float32" in r.getMessage()]
    assert messages == ["backbone resnet18 on cpu in float32: as requested"]


def test_to_device_runs_in_bfloat16_and_gives_float32(make_backbone, backbone, images):
    half = make_backbone(precision="bfloat16")
    assert half.to_device("cpu") == "bfloat16"
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    features, expected = half(images), backbone(images)
    assert features.dtype == torch.float32
    assert torch.allclose(features, expected, atol=0.05 * expected.abs().max().item())


def test_engine_rejects_an_unknown_precision():
    with pytest.raises(ArgumentError, match="^precision must be one of auto, .*, got 'half'"):
        Engine(nn.Identity(), "identity", precision="half")
