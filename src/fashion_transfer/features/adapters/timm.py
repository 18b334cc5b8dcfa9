"""timm's models."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError, FashionTransferError, first_line
from fashion_transfer.features.adapters.base import BackboneAdapter
from fashion_transfer.features.adapters.state_dicts import (
    build_random,
    load_state,
    rename_by_order,
    state_sha256,
)
from fashion_transfer.features.nodes import pool_maps, split_node
from fashion_transfer.features.weights import PYPI_WEIGHTS, Weights, is_file_name, load_weights

POOLED = "pooled"
"""The node that is the input of a timm model's own classifier."""

PRETRAINED = "pretrained"
"""The weights that timm itself names for a model."""


class TimmAdapter(BackboneAdapter):
    """A model of timm (extra `[timm]`), which is imported only where one is used."""

    @classmethod
    def choices(cls) -> str:
        """Returns the form of the names, and how to list them."""
        return 'timm/NAME with a NAME such as timm.list_models("*resnet*") lists'

    @property
    def versions(self) -> dict[str, str]:
        """Version of timm."""
        return {"timm": self._timm.__version__}

    @property
    def _timm(self) -> ModuleType:
        try:
            import timm
        except ImportError as error:
            raise ArgumentError(
                "name", f'{self.name} needs timm: run `pip install -e ".[timm]"`'
            ) from error
        return timm

    def has_network(self) -> bool:
        """Whether timm has a model of this name."""
        return bool(self._timm.is_model(self.model_name))

    def build(self, weights: str | None) -> tuple[nn.Module, Weights]:
        """Builds the model.

        Args:
            weights: `pretrained`: those that timm names; or a path or a package, see
                `load_weights`; or None.
        """
        if weights == PRETRAINED:
            return self._build_pretrained()
        if weights is not None and weights != PYPI_WEIGHTS and not is_file_name(weights):
            raise ArgumentError(
                "weights",
                f"of a timm model must be {PRETRAINED!r}, a path to a state dict (.pth, "
                f".safetensors), or None for random ones, got {weights!r}",
            )
        loaded = load_weights(self.model_name, weights)
        if loaded.state is None:
            return build_random(self._create, self.name)
        network: Any = self._timm.create_model(self.model_name)
        state = rename_by_order(loaded.state, network)
        loaded = Weights(loaded.name, state, loaded.sha256, *_preprocessing(network))
        load_state(network, loaded, self.name)
        network.reset_classifier(0)
        return network, loaded

    def _create(self, pretrained: bool = False) -> Any:
        return self._timm.create_model(self.model_name, pretrained=pretrained, num_classes=0)

    def _build_pretrained(self) -> tuple[nn.Module, Weights]:
        try:
            network = self._create(pretrained=True)
        except Exception as error:  # each of timm's sources fails in its own way
            reason = first_line(error)
            raise FashionTransferError(
                f"could not get timm's weights of {self.model_name} ({reason}): give a path to a "
                "state dict instead"
            ) from error
        sha256 = state_sha256(network.state_dict())
        return network, Weights(PRETRAINED, None, sha256, *_preprocessing(network))

    def nodes(self, network: nn.Module) -> tuple[str, ...]:
        """Returns the model's feature list (`feature_info`), and `pooled`."""
        return timm_nodes(network)

    def make_stages(self, network: nn.Module, nodes: Sequence[str]) -> nn.Module:
        """Returns `TimmStages(network, nodes)`."""
        return TimmStages(network, nodes)

    def image_size(self, network: Any) -> int | None:
        """Returns the only image size, pixels, that models such as timm's ViTs take."""
        config = getattr(network, "pretrained_cfg", {})
        return int(config["input_size"][-1]) if config.get("fixed_input_size") else None


class TimmStages(nn.Module):
    """Computes entries of a timm model's feature list, pooled, and its own pooled output.

    Args:
        network: begins with a `Stem`; without a classifier.
        nodes: entries of its feature list with or without a grid, or `pooled`.

    Raises:
        ArgumentError: the network has no such node.
    """

    def __init__(self, network: nn.Module, nodes: Sequence[str]) -> None:
        super().__init__()
        self.known = timm_nodes(network)
        unknown = [node for node in nodes if split_node(node)[0] not in self.known]
        if unknown:
            raise ArgumentError(
                "pool", f"takes {', '.join(self.known)}, or None for the last, got {unknown[0]!r}"
            )
        self.network: Any = network
        self.nodes = tuple(nodes)
        self.names = {split_node(node)[0] for node in nodes}
        self.indices = sorted(self.known.index(name) for name in self.names - {POOLED})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns each node, float32, (B, D), for images (B, 1 or 3, H, W) in [0, 1]."""
        if self.indices:
            last, parts = self.network.forward_intermediates(images, indices=self.indices)
            maps = {self.known[i]: part for i, part in zip(self.indices, parts, strict=True)}
            if POOLED in self.names:
                maps[POOLED] = self.network.forward_head(last, pre_logits=True)
        else:
            maps = {POOLED: self.network(images)}
        return {node: pool_maps(maps[split_node(node)[0]], node) for node in self.nodes}


def timm_nodes(network: Any) -> tuple[str, ...]:
    """Returns the feature list of a timm model, and `pooled`; only that where it has no list."""
    info = getattr(network, "feature_info", None)
    if not info or not hasattr(network, "forward_intermediates"):
        return (POOLED,)
    return (*(entry["module"] for entry in info), POOLED)


def _preprocessing(network: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std of the preprocessing that timm names for a model."""
    config = network.pretrained_cfg
    return tuple(config["mean"]), tuple(config["std"])
