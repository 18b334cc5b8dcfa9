"""The precision: what the hardware computes in, or what was requested."""

import pytest
import torch

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.precision import PRECISIONS, check_precision, choose_precision

CPU = torch.device("cpu")


@pytest.fixture
def cpu_has(monkeypatch):
    """`cpu_has(**capabilities)`: what torch reports of the processor."""

    def pretend(**capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    return pretend


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_requested_precision_is_used_everywhere(name, device):
    dtype, reason = choose_precision(name, torch.device(device))
    assert dtype is PRECISIONS[name] is getattr(torch, name)
    assert reason == "as requested"


@pytest.mark.parametrize("capability", ["avx512_bf16", "amx_bf16"])
def test_auto_is_bfloat16_on_a_processor_with_it(cpu_has, capability):
    cpu_has(**{capability: True, "avx2": True})
    dtype, reason = choose_precision("auto", CPU)
    assert dtype is torch.bfloat16
    assert "processor has bfloat16" in reason


@pytest.mark.parametrize("capabilities", [{}, {"avx2": True, "avx512_bf16": False}])
def test_auto_is_float32_on_a_processor_without_bfloat16(cpu_has, capabilities):
    cpu_has(**capabilities)
    dtype, reason = choose_precision("auto", CPU)
    assert dtype is torch.float32
    assert "no bfloat16" in reason


def test_auto_is_float32_under_a_torch_without_capabilities(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", CPU)[0] is torch.float32


@pytest.mark.parametrize(("supported", "expected"), [(True, "bfloat16"), (False, "float16")])
def test_auto_on_a_gpu_is_what_it_computes_in(monkeypatch, supported, expected):
    calls = []

    def is_supported(including_emulation=True):
        calls.append(including_emulation)
        return supported

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    dtype, reason = choose_precision("auto", torch.device("cuda"))
    assert dtype is getattr(torch, expected)
    assert "GPU" in reason
    assert calls == [False]  # emulated bfloat16 is slower than float16


def test_auto_is_float16_on_apples_gpu():
    assert choose_precision("auto", torch.device("mps"))[0] is torch.float16


@pytest.mark.parametrize("name", ["half", "float64", "", "Auto", "bf16"])
def test_unknown_precision_is_rejected_with_the_choices(name):
    for check in (check_precision, lambda name: choose_precision(name, CPU)):
        with pytest.raises(ArgumentError) as caught:
            check(name)
        assert str(caught.value) == (
            f"precision must be one of auto, float32, bfloat16, float16, int8, got {name!r}"
        )
