"""The frozen backbone: images in, features out; nothing in it ever changes."""

import copy
import logging
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.networks import build_network, fold_batch_norm
from fashion_transfer.features.precision import choose_precision
from fashion_transfer.features.stages import (
    MAP,
    TimmStages,
    TorchvisionStages,
    insert_stem,
    split_node,
    timm_nodes,
    torchvision_nodes,
)
from fashion_transfer.features.tail import Tail
from fashion_transfer.features.weights import is_file_name

log = logging.getLogger(__name__)

PASS_PIXELS = 16 * 224 * 224
"""Pixels a pass on a processor. What passes of this size compute stays in its last cache: at
224 px, passes of 16 images are an eighth faster than passes of 32."""

MOST_A_PASS = {"cpu": 128, "cuda": 256, "mps": 64}
"""Images a pass at most, by the type of the device."""

COMPILE_FROM = 128
"""Image size in pixels from which compiling (about 15 s) pays within the passes of one job."""


class Backbone(nn.Module):
    """A frozen network up to its pooled features.

    Frozen means frozen: no gradients, always in eval mode whatever `train()` says, BatchNorm
    folded into the convolutions before it. It carries its weights' own preprocessing, so images
    come as plain pixels in [0, 1].

    Args:
        name: a torchvision ResNet (`resnet50`), or `timm/NAME` for a timm model (extra `[timm]`).
        weights: see `features.weights.load_weights`; for timm models also `pretrained`.
        pool: nodes whose global averages make up the features, in this order; for ResNets
            `layer1` to `layer4` or any node that torchvision names, for timm models their feature
            list or `pooled`, what they give to their own classifier. None: the last of these.
            `layer3@2` averages over the cells of a 2 x 2 grid instead.
        mean: preprocessing mean a channel; None: the one that belongs to the weights.
        std: likewise.
        unfreeze_last: leave the last stage, which must come last in `pool`, to `make_tail`: what
            is kept of an image is then the pooled stages before it and the maps that go into it.
            ResNets only.
        precision: "auto", "float32", "bfloat16" or "float16" (see `choose_precision`).
        compile: "auto": torch.compile batches of images of `COMPILE_FROM` pixels or more, on a CPU
            where a compiler is there; or True, or False.

    Attributes:
        feature_dim: D of the features.
        kept: the nodes that are kept of an image: `pool`, or with `unfreeze_last` what it says.
        widths: C of each stage that a pass computes, by name: all of the network's, since a
            pass that has come to the last one has computed the others.
        image_size: the only image size it takes, pixels; None: any.
        source: `weights` as given, a path made absolute.
        fingerprint: SHA-256 of the weights' file (of the tensors, if random).

    Raises:
        FashionTransferError: an unknown name, or weights that do not fit.
    """

    def __init__(
        self,
        name: str = "resnet50",
        weights: str | None = "IMAGENET1K_V1",
        pool: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        unfreeze_last: bool = False,
        precision: str = "auto",
        compile: Literal["auto"] | bool = "auto",
    ) -> None:
        super().__init__()
        self.name = name
        is_file = weights is not None and is_file_name(weights)
        self.source = str(Path(str(weights)).expanduser().resolve()) if is_file else weights
        self.precision = precision
        self.compile_mode = compile
        network, found = build_network(name, weights)
        self.weights_name, self.fingerprint = found.name, found.sha256
        self.mean = tuple(found.mean if mean is None else mean)
        self.std = tuple(found.std if std is None else std)
        if not (len(self.mean) == len(self.std) == 3 and all(s > 0 for s in self.std)):
            raise FashionTransferError(
                f"model.backbone.mean is {self.mean} and std is {self.std}: each takes three "
                "numbers, std above 0"
            )
        network.requires_grad_(False).train(False)
        is_timm = name.startswith("timm/")
        if not is_timm:
            fold_batch_norm(network)
        known = timm_nodes(network) if is_timm else torchvision_nodes(network)
        self.pool = _check_pool(pool, known)
        self.image_size = _fixed_image_size(network)
        insert_stem(network, self.mean, self.std)
        network.to(memory_format=torch.channels_last)
        self.kept, self._tail = self.pool, None
        if unfreeze_last:
            self.kept, known = _before_last(name, known, self.pool)
            self._tail = [network.get_submodule(split_node(self.pool[-1])[0])]
        build = TimmStages if is_timm else TorchvisionStages
        self.stages: nn.Module = build(network, tuple(dict.fromkeys((*known, *self.kept))))
        super().train(False)
        with torch.no_grad():
            side = self.image_size or 32
            probe = self.stages(torch.zeros(1, 3, side, side))
        self.widths = {name: stage.shape[1] for name, stage in probe.items()}
        self.feature_dim = sum(self.widths[name] for name in self.kept)
        if tail := self.make_tail():
            with torch.no_grad():
                self.feature_dim = tail(torch.zeros(1, self.feature_dim)).shape[1]
        self._settled: torch.device | None = None
        self._compiled: Callable[[Tensor], dict[str, Tensor]] | None = None

    def train(self, mode: bool = True) -> "Backbone":
        """Does nothing: a frozen backbone has no training mode."""
        return self

    def make_tail(self) -> Tail | None:
        """The last stage, a copy that learns; None without `unfreeze_last`."""
        if self._tail is None:
            return None
        stage = copy.deepcopy(self._tail[0]).float().requires_grad_(True)
        frozen = sum(self.widths[name] for name in self.kept[:-1])
        channels = next(p.shape[1] for p in stage.parameters() if p.ndim == 4)
        return Tail(stage, self.pool[-1], frozen, channels)

    def kept_widths(self, image_size: int) -> dict[str, int]:
        """Width of each node that is kept of an image, by name; that of maps depends on the size.

        Args:
            image_size: height and width of the images, pixels.
        """
        widths = {name: self.widths[name] for name in self.kept}
        if self._tail is not None:
            parameter = next(self.parameters())
            probe = torch.zeros(1, 1, image_size, image_size, device=parameter.device)
            with torch.no_grad():
                widths[self.kept[-1]] = self.stages(probe)[self.kept[-1]].shape[1]
        return widths

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for two backbones to give the same features; JSON types only."""
        return {
            "name": self.name,
            "weights": self.weights_name,
            "fingerprint": self.fingerprint,
            "pool": list(self.pool),
            "unfreeze_last": self._tail is not None,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @property
    def versions(self) -> dict[str, str]:
        """Of the library that defines the network."""
        if self.name.startswith("timm/"):
            import timm

            return {"timm": timm.__version__}
        return {"torchvision": torchvision.__version__}

    def settle(self, device: torch.device | str) -> str:
        """Moves to a device and into the precision that suits it.

        Returns:
            The precision's name. What was chosen, and why, is logged once.
        """
        device = torch.device(device)
        dtype, reason = choose_precision(self.precision, device)
        if self._settled != device:
            self.to(device=device, dtype=dtype)
            self._settled = device
            log.info("backbone %s on %s in %s: %s", self.name, device, str(dtype)[6:], reason)
        return str(dtype)[6:]

    def compiles(self, image_size: int) -> bool:
        """Whether batches of images of this size go through torch.compile."""
        if self.compile_mode == "auto":
            on_cpu = self._settled is None or self._settled.type == "cpu"
            return on_cpu and image_size >= COMPILE_FROM and _compiler_is_there()
        return self.compile_mode

    def try_compiling(self, image_size: int) -> bool:
        """Compiles for grey images of a size; where that fails, says so and gives it up.

        Returns:
            Whether `compiles` still holds.
        """
        try:
            self.extract(torch.zeros(1, 1, image_size, image_size, device=self._settled))
        except Exception as error:  # a compiler fails in as many ways as there are compilers
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("torch.compile failed (%s): the backbone runs without it", reason)
            self.compile_mode = False
        return self.compiles(image_size)

    def pass_size(self, image_size: int) -> int:
        """How many images go through the backbone at once.

        One number for a device and an image size: shorter batches are padded to it, so that a
        feature never depends on which images it was computed beside, and one shape is compiled.
        """
        device = "cpu" if self._settled is None else self._settled.type
        most = MOST_A_PASS.get(device, 64)
        if device != "cpu":
            return most
        fits = max(1, PASS_PIXELS // image_size**2)
        return min(most, 2 ** (fits.bit_length() - 1))

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch of images; padded to whole passes only if it is compiled.

        Args:
            images: float32, (B, 1 or 3, H, W), in [0, 1]; grey stands for three equal channels.

        Returns:
            float32, (B, D): the nodes in `kept` side by side.

        Raises:
            FashionTransferError: images of a size that this network does not take.
        """
        self._check_size(images)
        run = self.extract if self.compiles(images.shape[-1]) else self.stages
        stages = run(images)
        return torch.cat([stages[name] for name in self.kept], dim=1)

    @torch.no_grad()
    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """As `stages`, in passes of exactly `pass_size` images, compiled where that pays.

        Any number of images is padded to whole passes, so a feature's value depends on its image
        alone. Grey images and large batches are welcome.
        """
        self._check_size(images)
        size = self.pass_size(images.shape[-1])
        passes = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            count = len(part)
            if count < size:
                part = torch.cat([part, part.new_zeros(size - count, *part.shape[1:])])
            run = self._compiled_stages() if self.compiles(part.shape[-1]) else self.stages
            passes.append({name: stage[:count] for name, stage in run(part).items()})
        return {name: torch.cat([done[name] for done in passes]) for name in self.widths}

    def _check_size(self, images: Tensor) -> None:
        if self.image_size is not None and images.shape[-1] != self.image_size:
            raise FashionTransferError(
                f"data.image_size is {images.shape[-1]}: {self.name} takes {self.image_size} only"
            )

    def _compiled_stages(self) -> Callable[[Tensor], dict[str, Tensor]]:
        if self._compiled is None:
            from torch._inductor import config  # a second to import: only where it is needed

            log.info("compiling the backbone (about 15 s, less once its kernels are kept)")
            compiled: Any = torch.compile(self.stages, dynamic=False)

            def run(images: Tensor) -> dict[str, Tensor]:
                # Freezing makes the weights constants: laid out for the processor once, at compile
                # time. Tracing must know of it, too, so it is no option of torch.compile.
                with config.patch(freezing=True):
                    return compiled(images)

            self._compiled = run  # a function: a module would be a second child in state_dict
        return self._compiled


def _before_last(
    name: str, known: Sequence[str], pool: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is kept, and the stages that are computed, where the last one is unfrozen."""
    frozen = [split_node(node)[0] for node in pool[:-1]]
    if name.startswith("timm/") or split_node(pool[-1])[0] != known[-1] or known[-1] in frozen:
        raise FashionTransferError(
            f"model.backbone.unfreeze_last takes a torchvision ResNet and a pool that ends in its "
            f"last stage, not {name} with {list(pool)}"
        )
    return (*pool[:-1], f"{known[-2]}@{MAP}"), tuple(known[:-1])


def _check_pool(pool: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    pool = known[-1:] if pool is None else list(pool)
    if not pool or len(set(pool)) < len(pool):
        raise FashionTransferError(
            f"model.backbone.pool is {list(pool)}: it takes each of {', '.join(known)} once at most"
        )
    for node in pool:
        if split_node(node)[1] is None:
            raise FashionTransferError(
                f"model.backbone.pool names {node!r}: maps are no features, their number depends "
                "on the size of the image"
            )
    return tuple(pool)


def _fixed_image_size(network: Any) -> int | None:
    """The one image size that some timm models take."""
    config = getattr(network, "pretrained_cfg", {})
    return int(config["input_size"][-1]) if config.get("fixed_input_size") else None


def _compiler_is_there() -> bool:
    # What torch.compile needs on a CPU: a C++ compiler, and Python's headers to call the kernels.
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.is_file() and any(map(shutil.which, ("c++", "g++", "clang++")))
