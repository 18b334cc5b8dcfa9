"""The precision: what the hardware computes in, or what was asked for."""

import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.precision import PRECISIONS, choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def cpu_has(monkeypatch):
    """`cpu_has(**capabilities)`: what torch says of the processor."""

    def pretend(**capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    return pretend


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_what_was_asked_for_is_used_everywhere(name, device):
    dtype, reason = choose_precision(name, torch.device(device))
    assert dtype is PRECISIONS[name] is getattr(torch, name)
    assert reason == "as asked"


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_auto_on_a_processor_with_bfloat16(cpu_has, capability):
    cpu_has(**{capability: True, "avx2": True})
    dtype, reason = choose_precision("auto", CPU)
    assert dtype is torch.bfloat16
    assert "processor has bfloat16" in reason


@pytest.mark.parametrize("capabilities", [{}, {"avx2": True, "avx512_bf16": False}])
def test_auto_on_a_processor_without_bfloat16(cpu_has, capabilities):
    cpu_has(**capabilities)
    dtype, reason = choose_precision("auto", CPU)
    assert dtype is torch.float32
    assert "no bfloat16" in reason


def test_auto_on_a_torch_that_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", CPU)[0] is torch.float32


@pytest.mark.parametrize(("supported", "expected"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_looks_at_what_it_computes_in(monkeypatch, supported, expected):
    asked = []

    def is_supported(including_emulation=True):
        asked.append(including_emulation)
        return supported

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    dtype, reason = choose_precision("auto", torch.device("cuda"))
    assert dtype is getattr(torch, expected)
    assert "GPU" in reason
    assert asked == [False]  # emulated bfloat16 is slower than float16


def test_auto_on_apples_gpu_is_float16():
    assert choose_precision("auto", torch.device("mps"))[0] is torch.float16


@pytest.mark.parametrize("name", ["half", "float64", "", "Auto", "bf16"])
def test_an_unknown_name_is_refused_with_those_known(name):
    with pytest.raises(FashionTransferError) as caught:
        choose_precision(name, CPU)
    message = str(caught.value)
    assert f"model.backbone.precision is {name!r}" in message
    for known in ("auto", "float32", "bfloat16", "float16"):
        assert known in message
