import os

import pytest
import torch

from fashion_transfer.commands.inference import choose_device
from fashion_transfer.errors import FashionTransferError


@pytest.fixture
def machine(monkeypatch):
    """`machine(cuda=1, mps=True)`: the GPUs that torch finds."""

    def has(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    has()
    yield has
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("gpus", "device"), [({}, "cpu"), ({"cuda": 1}, "cuda"), ({"mps": True}, "mps")]
)
def test_choose_device_auto_takes_a_gpu_if_there_is_one(machine, gpus, device):
    machine(**gpus)
    assert choose_device("auto").type == device
    assert choose_device("cpu").type == "cpu"


def test_choose_device_takes_one_of_several_gpus(machine):
    machine(cuda=2)
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_choose_device_rejects_what_the_machine_lacks(machine, name):
    with pytest.raises(FashionTransferError, match=f"device={name} is not available"):
        choose_device(name)


def test_choose_device_rejects_a_gpu_too_many(machine):
    machine(cuda=1)
    with pytest.raises(FashionTransferError, match="device=cuda:1 is not available"):
        choose_device("cuda:1")


@pytest.mark.parametrize("name", ["abacus", "cuda:x", None, 3])
def test_choose_device_rejects_another_name(machine, name):
    with pytest.raises(FashionTransferError, match="device must be auto, cpu, cuda or mps, got"):
        choose_device(name)


def test_choose_device_makes_torch_deterministic(machine, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    choose_device("cpu")
    assert torch.are_deterministic_algorithms_enabled()
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"
