"""torchvision's ResNets.

torchvision takes as long to import as torch: it is, only where a network is built.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.adapters.base import BackboneAdapter
from fashion_transfer.features.adapters.state_dicts import build_random, load_state
from fashion_transfer.features.nodes import pool_maps, split_node
from fashion_transfer.features.stem import Stem
from fashion_transfer.features.weights import Weights, load_weights

IMAGENET_CLASSES = 1000


class TorchvisionAdapter(BackboneAdapter):
    """A ResNet of torchvision; its stages can be unfrozen."""

    @classmethod
    def choices(cls) -> str:
        """Returns the ResNets' names."""
        return f"one of {', '.join(_resnets())}"

    @property
    def versions(self) -> dict[str, str]:
        """Version of torchvision."""
        import torchvision

        return {"torchvision": torchvision.__version__}

    def has_network(self) -> bool:
        """Whether this is one of torchvision's ResNets."""
        return self.model_name in _resnets()

    def build(self, weights: str | None) -> tuple[nn.Module, Weights]:
        """Builds the ResNet, with its BatchNorms folded into its convolutions.

        Args:
            weights: see `load_weights`.
        """
        loaded = load_weights(self.model_name, weights)
        if loaded.state is None:
            network, loaded = build_random(self._create, self.name)
        else:
            with torch.device("meta"):  # no time spent on random numbers, and none drawn
                network = self._create()
            load_state(network, loaded, self.name, ignored="fc.")
        network.fc = nn.Identity()
        fold_batch_norm(network.requires_grad_(False).eval())
        return network, loaded

    def _create(self) -> nn.Module:
        import torchvision

        network: nn.Module = torchvision.models.get_model(self.model_name)
        return network

    def nodes(self, network: nn.Module) -> tuple[str, ...]:
        """Returns `layer1` to `layer4`."""
        return _stage_names(network)

    def make_stages(self, network: nn.Module, nodes: Sequence[str]) -> nn.Module:
        """Returns `TorchvisionStages(network, nodes)`."""
        return TorchvisionStages(network, nodes)

    def imagenet_classifier(self, weights: Weights) -> nn.Linear | None:
        """Returns the layer `fc` of the weights, if it is of ImageNet's 1,000 classes."""
        state = weights.state or {}
        weight, bias = state.get("fc.weight"), state.get("fc.bias")
        if weight is None or bias is None or len(weight) != IMAGENET_CLASSES:
            return None
        layer = nn.Linear(weight.shape[1], len(weight), device="meta").requires_grad_(False)
        layer.load_state_dict({"weight": weight.float(), "bias": bias.float()}, assign=True)
        return layer

    def node_before(self, network: nn.Module, stage: str) -> str:
        """Returns the child before a stage: `layer3` for `layer4`, `maxpool` for `layer1`."""
        stages = self.nodes(network)
        if stage not in stages:
            raise ArgumentError(
                "unfreeze", f"must be one of {', '.join(stages)}, or None, got {stage!r}"
            )
        return ("maxpool", *stages)[stages.index(stage)]

    def trainable_stages(self, network: nn.Module, first: str, nodes: Sequence[str]) -> nn.Module:
        """Returns `TorchvisionStages(network, nodes, first)`."""
        return TorchvisionStages(network, nodes, first)


class TorchvisionStages(nn.Module):
    """Computes any nodes of a torchvision network, pooled over the image or a grid.

    Args:
        network: begins with a `Stem`.
        nodes: names as `torchvision.models.feature_extraction.get_graph_node_names` lists them,
            with or without a grid; a module's name stands for its last node.
        first: a stage that takes the place of the images: its input is given instead; nodes are
            then whole stages.

    Raises:
        ArgumentError: the network has no such node.
    """

    def __init__(self, network: nn.Module, nodes: Sequence[str], first: str | None = None) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        names = list(dict.fromkeys(split_node(node)[0] for node in nodes))
        # Tracing, which gives nodes within a stage, too, takes a third of a second.
        stages = _stage_names(network)
        whole = bool(stages) and set(names) <= {"maxpool", *stages}
        self.network = _Stages(network, names, first) if whole else _trace(network, names)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns each node, float32, (B, D), for images (B, 1 or 3, H, W) in [0, 1]."""
        maps = self.network(images)
        return {node: pool_maps(maps[split_node(node)[0]], node) for node in self.nodes}


class _Stages(nn.Sequential):
    """The children of a ResNet up to the last one that is asked for: a ResNet applies them in turn.

    Args:
        network: a ResNet.
        names: of the children whose maps are asked for.
        first: the child to begin with; None: the first one.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], first: str | None = None) -> None:
        children = dict(network.named_children())
        order = list(children)
        start = 0 if first is None else order.index(first)
        end = 1 + max(map(order.index, names))
        super().__init__(OrderedDict((name, children[name]) for name in order[start:end]))
        self.names = frozenset(names)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns the maps of each child by name."""
        maps = {}
        for name, child in self.named_children():
            images = child(images)
            if name in self.names:
                maps[name] = images
        return maps


def _stage_names(network: nn.Module) -> tuple[str, ...]:
    """Returns the stages of a ResNet, in order."""
    return tuple(name for name, _ in network.named_children() if name.startswith("layer"))


def _trace(network: nn.Module, names: Sequence[str]) -> nn.Module:
    """Returns a network that gives any of its nodes by name."""
    from torchvision.models.feature_extraction import (
        create_feature_extractor,
        get_graph_node_names,
    )

    leaves = {"leaf_modules": [Stem]}
    _, known = get_graph_node_names(network, tracer_kwargs=leaves, suppress_diff_warning=True)
    for name in names:
        if not any(other == name or other.startswith(f"{name}.") for other in known):
            stages = sorted({other.split(".")[0] for other in known if "." in other})
            raise ArgumentError(
                "pool",
                f"takes {', '.join(stages)}, their parts such as {known[len(known) // 2]}, or "
                f"None for the last stage, got {name!r}",
            )
    traced: nn.Module = create_feature_extractor(
        network, names, tracer_kwargs=leaves, suppress_diff_warning=True
    )
    return traced


def fold_batch_norm(network: nn.Module) -> None:
    """Folds every BatchNorm of a network in eval mode into the convolution before it, exactly.

    In torchvision's ResNets neighbours in the list of children are neighbours in the network.
    """
    for parent in list(network.modules()):
        for (first, conv), (second, norm) in pairwise(list(parent.named_children())):
            if type(conv) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
                setattr(parent, first, fuse_conv_bn_eval(conv, norm).requires_grad_(False))
                setattr(parent, second, nn.Identity())


def _resnets() -> list[str]:
    import torchvision

    names: list[str] = torchvision.models.list_models(
        torchvision.models, include=("resnet*", "resnext*", "wide_resnet*")
    )
    return names
