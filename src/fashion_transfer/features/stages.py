"""The arithmetic of a backbone: pixels in, pooled stages out, by name."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from fashion_transfer.errors import FashionTransferError

MAP = "map"
"""After the @: the feature maps of a node themselves, (C, H, W) flattened."""

POOLED = "pooled"
"""The name of what a timm model itself gives to its classifier."""


class Stem(nn.Module):
    """The preprocessing of the weights, and the first convolution after it.

    Args:
        convolution: of three input channels.
        mean: of the preprocessing, a channel.
        std: likewise.
    """

    def __init__(self, convolution: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.convolution: Any = convolution
        # Plain numbers, not buffers: they stay float32 whatever precision the network runs in.
        self.mean = tuple(mean)
        self.std = tuple(std)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps for images float32, (B, 1 or 3, H, W), in [0, 1]."""
        mean = images.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.std).view(1, 3, 1, 1)
        x = (images - mean) / std  # broadcasts grey to three channels
        dtype = self.convolution.weight.dtype
        return self.convolution(x.to(dtype=dtype, memory_format=torch.channels_last))


def insert_stem(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Puts a `Stem` in the place of a network's first convolution."""
    name = next(name for name, part in network.named_modules() if isinstance(part, nn.Conv2d))
    network.set_submodule(name, Stem(network.get_submodule(name), mean, std))


class TorchvisionStages(nn.Module):
    """Any nodes of a torchvision network, averaged over the image or over the cells of a grid.

    Args:
        network: begins with a `Stem`.
        nodes: names as `torchvision.models.feature_extraction.get_graph_node_names` lists them;
            a module's name stands for its last node. `layer3@2` averages layer3 over each cell
            of a 2 x 2 grid, which keeps where in the image something is.

    Raises:
        FashionTransferError: the network has no such node.
    """

    def __init__(self, network: nn.Module, nodes: Sequence[str]) -> None:
        super().__init__()
        self.nodes = tuple(nodes)
        names = [split_node(node)[0] for node in nodes]
        leaves = {"leaf_modules": [Stem]}
        _, known = get_graph_node_names(network, tracer_kwargs=leaves, suppress_diff_warning=True)
        for node in names:
            if not any(name == node or name.startswith(f"{node}.") for name in known):
                stages = sorted({name.split(".")[0] for name in known if "." in name})
                raise FashionTransferError(
                    f"model.backbone.pool names {node!r}, which this network has not: it takes "
                    f"{', '.join(stages)}, their parts such as {known[len(known) // 2]}, or null"
                )
        self.network = create_feature_extractor(
            network, list(dict.fromkeys(names)), tracer_kwargs=leaves, suppress_diff_warning=True
        )

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Each node, float32, (B, C), by name, for images (B, 1 or 3, H, W) in [0, 1]."""
        found = self.network(images)
        return {node: average(found[split_node(node)[0]], node) for node in self.nodes}


class TimmStages(nn.Module):
    """The feature list of a timm network, averaged over the image, and its own pooled output.

    Args:
        network: begins with a `Stem`; without a classifier.
        nodes: names of its feature list (`feature_info`) with or without a grid, or `pooled`.

    Raises:
        FashionTransferError: the network has no such stage.
    """

    def __init__(self, network: nn.Module, nodes: Sequence[str]) -> None:
        super().__init__()
        known = timm_nodes(network)
        unknown = [node for node in nodes if split_node(node)[0] not in known]
        if unknown:
            raise FashionTransferError(
                f"model.backbone.pool names {unknown[0]!r}, which this network has not: it takes "
                f"{', '.join(known)}, or null"
            )
        self.network: Any = network
        self.nodes = tuple(nodes)
        self.indices = sorted({known.index(split_node(n)[0]) for n in nodes if n != POOLED})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """As `TorchvisionStages.forward`."""
        if not self.indices:
            return {POOLED: self.network(images).float()}
        last, maps = self.network.forward_intermediates(images, indices=self.indices)
        known = timm_nodes(self.network)
        found = {known[index]: part for index, part in zip(self.indices, maps, strict=True)}
        if POOLED in self.nodes:
            found[POOLED] = self.network.forward_head(last, pre_logits=True)
        return {node: average(found[split_node(node)[0]], node) for node in self.nodes}


def split_node(node: str) -> tuple[str, int | None]:
    """The node's name and what becomes of it.

    `layer3@2` is layer3 averaged over a grid of 2 x 2, `layer3` over all of the image, `layer3@map`
    layer3 as it is, with None for a grid.

    Raises:
        FashionTransferError: what follows the `@` is no size of a grid.
    """
    name, _, grid = str(node).partition("@")
    if grid == MAP:
        return name, None
    if "@" in str(node) and not (grid.isdecimal() and int(grid) > 0):
        raise FashionTransferError(
            f"model.backbone.pool names {node!r}: after the @ comes the size of a grid, such as 2"
        )
    return name, int(grid or 1)


def torchvision_nodes(network: nn.Module) -> tuple[str, ...]:
    """The stages of a torchvision ResNet."""
    return tuple(name for name, _ in network.named_children() if name.startswith("layer"))


def timm_nodes(network: Any) -> tuple[str, ...]:
    """The feature list of a timm network, and `pooled`."""
    info = getattr(network, "feature_info", None)
    if not info or not hasattr(network, "forward_intermediates"):
        return (POOLED,)
    return (*(entry["module"] for entry in info), POOLED)


def average(stage: Tensor, node: str) -> Tensor:
    """What a node's name asks for of its feature maps (B, C, H, W): float32, (B, D)."""
    _, grid = split_node(node)
    if stage.ndim != 4 or grid is None:
        return stage.float().flatten(1)
    if grid == 1:
        return stage.mean((2, 3), dtype=torch.float32)
    return F.adaptive_avg_pool2d(stage.float(), grid).flatten(1)
