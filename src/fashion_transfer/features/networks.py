"""The networks that backbones are made of: built, filled with weights, checked."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.weights import PYPI_WEIGHTS, Weights, is_file_name, load_weights

log = logging.getLogger(__name__)


def build_network(name: str, weights: str | None) -> tuple[nn.Module, Weights]:
    """A network without its classifier, with its weights in it.

    Args:
        name: a torchvision ResNet, or `timm/NAME`.
        weights: see `load_weights`; for timm models also `pretrained`.

    Returns:
        The network, and the weights it was filled with.

    Raises:
        FashionTransferError: an unknown name, or weights that do not fit.
    """
    if name.startswith("timm/"):
        return _build_timm(name.removeprefix("timm/"), weights)
    known = torchvision.models.list_models(
        torchvision.models, include=("resnet*", "resnext*", "wide_resnet*")
    )
    if name not in known:
        raise FashionTransferError(
            f"model.backbone.name is {name!r}: it must be one of {', '.join(known)}, or timm/NAME"
        )
    found = load_weights(name, weights)
    if found.state is None:
        network, found = _random(lambda: torchvision.models.get_model(name), name)
    else:
        with torch.device("meta"):  # no time spent on random numbers, and none drawn
            network = torchvision.models.get_model(name)
        _load(network, found, ignored="fc.")
    network.fc = nn.Identity()
    return network, found


def _build_timm(name: str, weights: str | None) -> tuple[nn.Module, Weights]:
    try:
        import timm
    except ImportError as error:
        raise FashionTransferError(
            f'model.backbone.name=timm/{name} needs timm: run `pip install -e ".[timm]"`'
        ) from error
    if not timm.is_model(name):
        raise FashionTransferError(
            f"model.backbone.name is timm/{name}: timm {timm.__version__} has no such model; "
            'timm.list_models("*resnet*") finds names'
        )
    network: Any
    if weights == "pretrained":
        try:
            network = timm.create_model(name, pretrained=True, num_classes=0)
        except Exception as error:  # each of timm's sources fails in its own way
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise FashionTransferError(
                f"could not get timm's weights of {name} ({reason}): give a file with "
                "model.backbone.weights=PATH"
            ) from error
        sha256 = _sha256(network.state_dict())
        return network, Weights("pretrained", None, sha256, *_timm_preprocessing(network))
    if weights is not None and weights != PYPI_WEIGHTS and not is_file_name(weights):
        raise FashionTransferError(
            f"model.backbone.weights is {weights!r}: for a timm model give 'pretrained', a path to "
            "a state dict (.pth, .safetensors), or null"
        )
    found = load_weights(name, weights)
    if found.state is None:
        return _random(lambda: timm.create_model(name, num_classes=0), f"timm/{name}")
    network = timm.create_model(name)
    state = _in_order(found, network)
    found = Weights(found.name, state, found.sha256, *_timm_preprocessing(network))
    _load(network, found)
    network.reset_classifier(0)
    return network, found


def _timm_preprocessing(network: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    config = network.pretrained_cfg
    return tuple(config["mean"]), tuple(config["std"])


def _random(build: Callable[[], nn.Module], name: str) -> tuple[nn.Module, Weights]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a checkpoint holds no backbone: every run must draw this same one
        network = build()
    log.warning("backbone %s has RANDOM weights: what it says about an image is noise", name)
    return network, Weights("random", None, _sha256(network.state_dict()))


def _in_order(found: Weights, network: nn.Module) -> Mapping[str, Tensor] | None:
    """Renames tensors by their order where another implementation's names differ throughout."""
    assert found.state is not None
    own = network.state_dict()
    shapes = [tensor.shape for tensor in own.values()]
    if set(own) & set(found.state) or [t.shape for t in found.state.values()] != shapes:
        return found.state  # the ordinary check says what does not fit
    return dict(zip(own, found.state.values(), strict=True))


def _load(network: nn.Module, found: Weights, ignored: str = "\0") -> None:
    assert found.state is not None
    own = network.state_dict()
    needed = {key for key in own if not key.startswith(ignored)}
    missing = [k for k in own if k in needed and k not in found.state]
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    unknown = [k for k in found.state if k not in own and not k.startswith(ignored)]
    wrong = [
        f"{k} is {tuple(found.state[k].shape)}, not {tuple(own[k].shape)}"
        for k in own
        if k in needed and k in found.state and found.state[k].shape != own[k].shape
    ]
    parts = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for what, names in (
            ("missing tensors", missing),
            ("unknown tensors", unknown),
            ("wrong shapes", wrong),
        )
        if names
    ]
    if parts:
        raise FashionTransferError(
            f"the weights {found.name} do not fit {type(network).__name__}: {'; '.join(parts)}. "
            "Check model.backbone.name and model.backbone.weights"
        )
    state = {
        key: found.state[key].to(own[key].dtype)
        if key in found.state and key in needed
        else torch.zeros(own[key].shape, dtype=own[key].dtype)
        for key in own
    }
    network.load_state_dict(state, assign=True)


def fold_batch_norm(network: nn.Module) -> None:
    """Folds every BatchNorm into the convolution before it, exactly, in eval mode.

    In torchvision's ResNets neighbours in the list of children are neighbours in the network.
    """
    for parent in list(network.modules()):
        for (first, conv), (second, norm) in pairwise(list(parent.named_children())):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                setattr(parent, first, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(parent, second, nn.Identity())


def _sha256(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in state.items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
