"""The frozen backbone: images in, features out; nothing in it ever changes."""

import logging
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torchvision
from torch import Tensor, nn

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.networks import build_network, fold_batch_norm
from fashion_transfer.features.precision import choose_precision
from fashion_transfer.features.weights import is_file_name

log = logging.getLogger(__name__)

CHUNK = 32
"""Images a pass of the compiled backbone. Shorter batches are padded to it, so that it is compiled
for one shape only, and a feature never depends on which images it was computed beside."""

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
        pool: stages whose global average makes up the features, in this order; for ResNets any
            of `layer1` to `layer4`. None: the last one, and all that timm models have.
        mean: preprocessing mean a channel; None: the one that belongs to the weights.
        std: likewise.
        precision: "auto", "float32", "bfloat16" or "float16" (see `choose_precision`).
        compile: "auto": torch.compile batches of images of `COMPILE_FROM` pixels or more, on a CPU
            where a compiler is there; or True, or False.

    Attributes:
        feature_dim: D of the features.
        widths: C of each pooled stage, by name.
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
        self.pool = _check_pool(name, network, pool)
        network.requires_grad_(False).train(False)
        if not name.startswith("timm/"):
            fold_batch_norm(network)
        network.to(memory_format=torch.channels_last)
        self.stages = Stages(network, self.pool, self.mean, self.std)
        super().train(False)
        with torch.no_grad():
            probe = self.stages(torch.zeros(1, 3, 32, 32))
        self.widths = {name: stage.shape[1] for name, stage in probe.items()}
        self.feature_dim = sum(self.widths.values())
        self._settled: torch.device | None = None
        self._compiled: Any = None

    def train(self, mode: bool = True) -> "Backbone":
        """Does nothing: a frozen backbone has no training mode."""
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What must agree for two backbones to give the same features; JSON types only."""
        return {
            "name": self.name,
            "weights": self.weights_name,
            "fingerprint": self.fingerprint,
            "pool": list(self.pool),
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

    def forward(self, images: Tensor) -> Tensor:
        """Features of a batch of images; padded to whole passes only if it is compiled.

        Args:
            images: float32, (B, 1 or 3, H, W), in [0, 1]; grey stands for three equal channels.

        Returns:
            float32, (B, D): the pooled stages side by side.
        """
        run = self.extract if self.compiles(images.shape[-1]) else self.stages
        return torch.cat(list(run(images).values()), dim=1)

    @torch.no_grad()
    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """As `stages`, in passes of exactly `CHUNK` images, compiled where that pays.

        Any number of images is padded to whole passes, so a feature's value depends on its image
        alone. Grey images and large batches are welcome.
        """
        passes = []
        for start in range(0, len(images), CHUNK):
            part = images[start : start + CHUNK]
            count = len(part)
            if count < CHUNK:
                part = torch.cat([part, part.new_zeros(CHUNK - count, *part.shape[1:])])
            run = self._compiled_stages() if self.compiles(part.shape[-1]) else self.stages
            passes.append({name: stage[:count] for name, stage in run(part).items()})
        return {name: torch.cat([done[name] for done in passes]) for name in self.pool}

    def _compiled_stages(self) -> Any:
        if self._compiled is None:
            # Freezing makes the weights constants: laid out for the processor once, at compile
            # time. torch keeps the kernels under TORCHINDUCTOR_CACHE_DIR between runs.
            options: dict[str, Any] = {"freezing": True}
            log.info("compiling the backbone (about 15 s, less once its kernels are kept)")
            compiled: Any = torch.compile(self.stages, dynamic=False, options=options)
            self._compiled = compiled.__call__  # bare, it would be a second child in state_dict
        return self._compiled


class Stages(nn.Module):
    """The arithmetic of a backbone: pixels in [0, 1] to pooled stages.

    A module of its own, since torch.compile freezes the weights of modules only.

    Args:
        network: torchvision's ResNet, run up to the last pooled stage, or a timm model.
        pool: stages to pool; for a timm model the one name that its output gets.
        mean: of the preprocessing, a channel.
        std: likewise.
    """

    def __init__(
        self, network: nn.Module, pool: Sequence[str], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.network = network
        self.pool = tuple(pool)
        self.by_stage = any(name == self.pool[-1] for name, _ in network.named_children())
        # Plain numbers, not buffers: they stay float32 whatever precision the network runs in.
        self.mean = tuple(mean)
        self.std = tuple(std)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Each pooled stage, float32, (B, C), by name, for images (B, 1 or 3, H, W) in [0, 1]."""
        mean = images.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.std).view(1, 3, 1, 1)
        x = (images - mean) / std  # broadcasts grey to three channels
        x = x.to(dtype=next(self.network.parameters()).dtype, memory_format=torch.channels_last)
        if not self.by_stage:
            return {self.pool[0]: self.network(x).float()}
        pooled: dict[str, Tensor] = {}
        for name, stage in self.network.named_children():
            x = stage(x)
            if name in self.pool:
                pooled[name] = x.mean((2, 3), dtype=torch.float32)
            if len(pooled) == len(self.pool):
                break
        return {name: pooled[name] for name in self.pool}


def _check_pool(name: str, network: nn.Module, pool: Sequence[str] | None) -> tuple[str, ...]:
    if name.startswith("timm/"):
        if pool is not None:
            raise FashionTransferError(
                f"model.backbone.pool is {list(pool)}: timm models are pooled as they come; "
                "give null"
            )
        return ("pooled",)
    stages = [stage for stage, _ in network.named_children() if stage.startswith("layer")]
    pool = stages[-1:] if pool is None else list(pool)
    if not pool or len(set(pool)) < len(pool) or not set(pool) <= set(stages):
        raise FashionTransferError(
            f"model.backbone.pool is {list(pool)}: it takes each of {', '.join(stages)} once at "
            "most"
        )
    return tuple(pool)


def _compiler_is_there() -> bool:
    # What torch.compile needs on a CPU: a C++ compiler, and Python's headers to call the kernels.
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.is_file() and any(map(shutil.which, ("c++", "g++", "clang++")))
