"""The frozen backbone: images in, features out; nothing in it ever changes."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.adapters import get_adapter
from fashion_transfer.features.engine import Engine
from fashion_transfer.features.mirrored import Mirrored
from fashion_transfer.features.nodes import MAP, check_pool, split_pool
from fashion_transfer.features.openvino_engine import OpenVinoEngine
from fashion_transfer.features.package import PackageCache
from fashion_transfer.features.precision import INT8
from fashion_transfer.features.quantisation import quantised_dir
from fashion_transfer.features.stem import insert_stem
from fashion_transfer.features.store import FeatureStore
from fashion_transfer.features.trainable_stages import TrainableStages
from fashion_transfer.features.weights import is_file_name
from fashion_transfer.paths import user_path


class Backbone(nn.Module):
    """A frozen network up to its pooled features.

    It has no gradients and stays in eval mode even under `train()`. It carries its weights' own
    preprocessing, so images come as plain pixels in [0, 1].

    Args:
        name: a torchvision ResNet (`resnet50`), or `timm/NAME` for a timm model (extra `[timm]`);
            see `features.adapters`.
        weights: see `features.weights.load_weights`; for timm models also `pretrained`.
        pool: nodes whose averages over the image make up the features, in this order; for ResNets
            `layer1` to `layer4` or any node that torchvision names, for timm models their feature
            list or `pooled`, the input of their own classifier. None: the last of these.
            `layer3@2` averages over each cell of a 2 x 2 grid instead.
        mean: preprocessing mean per channel; None: the one that belongs to the weights.
        std: standard deviation likewise.
        unfreeze: the first stage that is trained: it and those after it are left to
            `trainable_stages`, and the backbone gives the pooled nodes before it and the maps that
            go into it. None: all is frozen. ResNets only.
        mirror: features are the mean of those of an image and of its mirror image.
        precision: see `Engine`.
        compile: see `Engine`.
        engine: "torch"; "openvino" (extra `[openvino]`, on a CPU); or "auto": OpenVINO for the
            precision int8, else torch. In int8, `calibrate` or `load_quantised` comes first.

    Attributes:
        feature_dim: D of the features.
        cached_nodes: the nodes that it gives for an image: `pool`, or what `unfreeze` says.
        node_widths: width of each node that a pass computes, by name: of all stages, since a pass
            up to the last one computes the others, too.
        image_size: the only image size it takes, pixels; None: any.
        source: `weights` as given, or the absolute path.
        weights_name: name of the weights, or of their file.
        fingerprint: SHA-256 of the weights' file (of the tensors, if there is none).
        imagenet: ImageNet's classifier on the last stage; None if the weights have none.
        versions: of the libraries that define the network and, beside torch, compute it.

    Raises:
        ArgumentError: an unknown name or node, another impossible value, weights that do not fit.
        FashionTransferError: the weights are not there or are damaged.
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = "IMAGENET1K_V1",
        pool: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        unfreeze: str | None = None,
        mirror: bool = False,
        precision: str = "auto",
        compile: Literal["auto"] | bool = "auto",
        engine: Literal["auto", "torch", "openvino"] = "auto",
    ) -> None:
        super().__init__()
        new_engine = _engine_class(engine, precision)
        self.name = name
        is_file = weights is not None and is_file_name(weights)
        self.source = str(user_path(str(weights)).resolve()) if is_file else weights
        adapter = get_adapter(name)
        network, loaded = adapter.build(weights)
        self.weights_name, self.fingerprint = loaded.name, loaded.sha256
        self.mean = tuple(loaded.mean if mean is None else mean)
        self.std = tuple(loaded.std if std is None else std)
        network.requires_grad_(False).train(False)
        known = adapter.nodes(network)
        self.pool = check_pool(pool, known)
        self.image_size = adapter.image_size(network)
        insert_stem(network, self.mean, self.std)
        network.to(memory_format=torch.channels_last)
        self.cached_nodes = self.pool
        self._last_node = known[-1]
        self.unfreeze = unfreeze
        self._unfrozen: tuple[nn.Module, ...] = ()  # in a tuple: no part of the backbone's state
        if unfreeze is not None:
            if mirror:
                raise ArgumentError("mirror", "must be false with unfreeze: leave out one of them")
            before = adapter.node_before(network, unfreeze)
            frozen, trained = split_pool(self.pool, known, unfreeze)
            self._unfrozen = (adapter.trainable_stages(network, unfreeze, trained),)
            self.cached_nodes = (*frozen, f"{before}@{MAP}")
            known = known[: known.index(unfreeze)]
        nodes = tuple(dict.fromkeys((*known, *self.cached_nodes)))
        stages = adapter.make_stages(network, nodes)
        self.mirror = mirror
        self.stages = Mirrored(stages) if mirror else stages
        # A stage that is trained gives other features than those that it was trained on.
        self.imagenet = adapter.imagenet_classifier(loaded) if unfreeze is None else None
        super().train(False)
        self.engine = new_engine(self.stages, name, precision, compile, self.image_size)
        self.versions = adapter.versions | self.engine.versions
        self.node_widths = self.engine.node_widths(self.image_size or 32)
        self.feature_dim = sum(self.node_widths[node] for node in self.cached_nodes)
        if trainable := self.trainable_stages():
            self.feature_dim = trainable(torch.zeros(1, self.feature_dim)).shape[1]

    def train(self, mode: bool = True) -> "Backbone":
        """Does nothing: a frozen backbone has no training mode."""
        return self

    def trainable_stages(self) -> TrainableStages | None:
        """Returns a float32 copy of the stages to train; None without `unfreeze`."""
        if not self._unfrozen:
            return None
        stages = copy.deepcopy(self._unfrozen[0]).float().requires_grad_(True)
        pooled_width = sum(self.node_widths[node] for node in self.cached_nodes[:-1])
        channels = next(weight.shape[1] for weight in stages.parameters() if weight.ndim == 4)
        return TrainableStages(stages, pooled_width, channels)

    def cached_widths(self, image_size: int) -> dict[str, int]:
        """Returns the width of each cached node by name; that of maps depends on the image size.

        Args:
            image_size: height and width of the images, pixels.
        """
        widths = self.engine.node_widths(image_size) if self._unfrozen else self.node_widths
        return {node: widths[node] for node in self.cached_nodes}

    @property
    def identity(self) -> dict[str, Any]:
        """All that determines the features, apart from how they are computed; JSON types."""
        return {
            "weights": self.weights_name,
            "pool": list(self.pool),
            "unfreeze": self.unfreeze,
            **_network_identity(self),
            **({"quantised": self.engine.quantised} if self.engine.quantised else {}),
        }

    def calibrate(self, images: Tensor, cache: str | Path | None = None) -> None:
        """Quantises an int8 backbone, unless it is cached; does nothing in another precision.

        Args:
            images: float32, (N, 1 or 3, H, W), in [0, 1]: clean training images.
            cache: beside whose features the network is cached; None: the user's.

        Raises:
            FashionTransferError: NNCF is not installed, or the cache cannot be written.
        """
        if self.engine.precision != INT8:
            return
        assert isinstance(self.engine, OpenVinoEngine)
        key = _network_identity(self) | {"nodes": list(self.node_widths), "versions": self.versions}
        self.engine.calibrate(images, key, quantised_dir(cache))

    def load_quantised(self, sha256: str, cache: str | Path | None = None) -> None:
        """Has an int8 backbone use a network that was calibrated, by the SHA-256 of its file.

        Raises:
            FashionTransferError: it is not there, or is damaged.
        """
        assert isinstance(self.engine, OpenVinoEngine)
        self.engine.load_quantised(sha256, quantised_dir(cache))

    def to_device(self, device: torch.device | str) -> str:
        """Moves to a device and to the precision for it, whose name it returns."""
        return self.engine.to_device(device)

    def compiles(self, image_size: int) -> bool:
        """Whether images of this size, in pixels, go through compiled code."""
        return self.engine.compiles(image_size)

    def use_packages(self, store: FeatureStore) -> None:
        """Has what is compiled cached in a store, as packages (see `Engine`)."""
        network = _network_identity(self) | {"versions": self.versions}
        self.engine.packages = PackageCache(store, network, tuple(self.node_widths))

    def pass_size(self, image_size: int) -> int:
        """Returns how many images go through the backbone at once (see `Engine.pass_size`)."""
        return self.engine.pass_size(image_size)

    def forward(self, images: Tensor) -> Tensor:
        """Computes features of a batch of images; padded to whole passes only where compiled.

        Args:
            images: float32, (B, 1 or 3, H, W), in [0, 1]; grey stands for three equal channels.

        Returns:
            float32, (B, D): the `cached_nodes` side by side.

        Raises:
            FashionTransferError: the network does not take images of this size.
        """
        nodes = self.engine.run(images)
        return torch.cat([nodes[node] for node in self.cached_nodes], dim=1)

    def imagenet_logits(self, images: Tensor) -> Tensor:
        """Returns logits of ImageNet's classes, float32, (B, 1000); it needs `imagenet`.

        Args:
            images: as of `forward`.
        """
        assert self.imagenet is not None, f"the weights {self.weights_name} have no classifier"
        logits: Tensor = self.imagenet(self.engine.run(images)[self._last_node])
        return logits

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Computes all nodes in `node_widths`, in padded passes (see `Engine.extract`)."""
        return self.engine.extract(images)


def _engine_class(engine: str, precision: str) -> type[Engine]:
    if engine not in ("auto", "torch", "openvino"):
        raise ArgumentError("engine", f"must be one of auto, torch, openvino, got {engine!r}")
    needed = engine == "openvino" or (engine == "auto" and precision == INT8)
    return OpenVinoEngine if needed else Engine


def _network_identity(backbone: Backbone) -> dict[str, Any]:
    """Returns all that determines the nodes of an image, whichever of them are pooled."""
    return {
        "name": backbone.name,
        "fingerprint": backbone.fingerprint,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        **({"mirror": True} if backbone.mirror else {}),  # not in the keys of older features
    }
