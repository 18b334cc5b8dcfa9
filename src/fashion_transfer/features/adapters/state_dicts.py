"""Filling a network with weights: random ones, or a state dict that is checked first."""

import hashlib
import logging
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.weights import Weights

log = logging.getLogger(__name__)


def build_random(build: Callable[[], nn.Module], name: str) -> tuple[nn.Module, Weights]:
    """Builds a network with random weights: the same in every run, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a checkpoint holds no backbone: every run must draw this same one
        network = build()
    log.warning("backbone %s has RANDOM weights: its features carry no knowledge of images", name)
    return network, Weights("random", None, state_sha256(network.state_dict()))


def load_state(network: nn.Module, weights: Weights, name: str, ignored: str = "\0") -> None:
    """Loads a state dict into a network; counters of BatchNorms may be missing.

    Args:
        network: may be on the meta device.
        weights: with a state.
        name: of the network, for errors.
        ignored: prefix of tensors that are not loaded, such as the classifier's.

    Raises:
        ArgumentError: tensors are missing or unknown, or have another shape.
    """
    given, own = dict(weights.state or {}), network.state_dict()
    needed = [key for key in own if not key.startswith(ignored)]
    problems = {
        "missing tensors": [
            key for key in needed if key not in given and not key.endswith("num_batches_tracked")
        ],
        "unknown tensors": [key for key in given if key not in own and not key.startswith(ignored)],
        "wrong shapes": [
            f"{key} is {tuple(given[key].shape)}, not {tuple(own[key].shape)}"
            for key in needed
            if key in given and given[key].shape != own[key].shape
        ],
    }
    parts = [
        f"{len(entries)} {problem} ({', '.join(entries[:3])}{', …' if len(entries) > 3 else ''})"
        for problem, entries in problems.items()
        if entries
    ]
    if parts:
        raise ArgumentError(
            "weights",
            f"in {weights.name} do not fit {name}: {', '.join(parts)}; give the weights of {name}, "
            "or the name of their network",
        )
    loaded = set(needed) & set(given)
    state = {
        key: given[key].to(tensor.dtype)
        if key in loaded
        else torch.zeros(tensor.shape, dtype=tensor.dtype)
        for key, tensor in own.items()
    }
    network.load_state_dict(state, assign=True)


def rename_by_order(state: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Renames tensors by their order where another implementation's names all differ.

    Where names agree or shapes do not, the state comes back as it is: `load_state` then reports
    what does not fit.
    """
    own = network.state_dict()
    shapes = [tensor.shape for tensor in own.values()]
    if set(own) & set(state) or [tensor.shape for tensor in state.values()] != shapes:
        return state
    return dict(zip(own, state.values(), strict=True))


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of tensors and their names, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
