"""The interface between a backbone and the library that defines its network."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import nn

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.weights import Weights


class BackboneAdapter(ABC):
    """One network of one library.

    Args:
        name: of the backbone, with the library's prefix.
        model_name: the library's own name of the network.
    """

    def __init__(self, name: str, model_name: str) -> None:
        self.name = name
        self.model_name = model_name

    @classmethod
    @abstractmethod
    def choices(cls) -> str:
        """Returns the names that this library takes, as the middle of an error message."""

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the library, by package: other versions may give other features."""

    @abstractmethod
    def has_network(self) -> bool:
        """Whether the library has a network of this name.

        Raises:
            ArgumentError: the library is not installed.
        """

    @abstractmethod
    def build(self, weights: str | None) -> tuple[nn.Module, Weights]:
        """Builds the network without its classifier.

        Args:
            weights: a name, a path, or None for random weights (see `Backbone`).

        Returns:
            The network, and the weights that are in it.

        Raises:
            FashionTransferError: the weights are unknown, damaged or do not fit.
        """

    @abstractmethod
    def nodes(self, network: nn.Module) -> tuple[str, ...]:
        """Returns the names of the network's stages, in its order; every pass computes them all.

        The last one is what is pooled by default.
        """

    @abstractmethod
    def make_stages(self, network: nn.Module, nodes: Sequence[str]) -> nn.Module:
        """Returns a module that computes nodes of a network that begins with a `Stem`.

        It takes images (B, 1 or 3, H, W) in [0, 1] and returns a dictionary of each node, pooled:
        float32, (B, D), by name and in the order of `nodes`.

        Raises:
            ArgumentError: the network has no such node.
        """

    def image_size(self, network: nn.Module) -> int | None:
        """Returns the only image size that the network takes, pixels; None: any."""
        return None

    def imagenet_classifier(self, weights: Weights) -> nn.Linear | None:
        """Returns ImageNet's classifier on the last stage, pooled; None if weights have none."""
        return None

    def node_before(self, network: nn.Module, stage: str) -> str:
        """Returns the name of the node whose maps go into a stage that is to be trained.

        Raises:
            ArgumentError: it has no such stage, or networks of this library can only be frozen, as
                here.
        """
        raise ArgumentError(
            "unfreeze",
            f"must be None for {self.name}: its stages cannot be trained, those of torchvision's "
            "ResNets can",
        )

    def trainable_stages(self, network: nn.Module, first: str, nodes: Sequence[str]) -> nn.Module:
        """Returns a module that computes nodes from the maps that go into a stage.

        It takes what `node_before` names, (B, C, H, W), and returns what `make_stages` does. Only a
        library whose `node_before` gives a name needs it.

        Args:
            network: begins with a `Stem`.
            first: the stage.
            nodes: of it and of the stages after it, with or without a grid.
        """
        raise NotImplementedError
