"""How a backbone runs: on a device, in a precision, compiled or not, in passes of one size."""

import logging
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError, FashionTransferError, first_line
from fashion_transfer.features.package import Package, PackageCache
from fashion_transfer.features.precision import check_precision, choose_precision

log = logging.getLogger(__name__)

PASS_PIXELS = 16 * 224 * 224
"""Pixels of a pass on a CPU. What passes of this size compute stays in its last-level cache: at
224 px, passes of 16 images are an eighth faster than passes of 32."""

MAX_PASS_SIZE = {"cpu": 128, "cuda": 256, "mps": 64}
"""Images of a pass at most, by the type of the device."""

MIN_COMPILED_SIZE = 128
"""Image size in pixels from which compiling (about 15 s) pays within the passes of one job."""

MIN_COMPILED_IMAGES = 700
"""Images from which it pays: one then takes 10 ms instead of 17 (ResNet50, 224 px, two cores)."""

Forward = Callable[[Tensor], dict[str, Tensor]]
"""Images in, nodes by name out."""


class Engine:
    """Runs the stages of a backbone in passes of one size.

    Args:
        stages: images in, a dictionary of nodes out (see `BackboneAdapter.make_stages`).
        name: of the backbone, for the log.
        precision: "auto", "float32", "bfloat16" or "float16" (see `choose_precision`).
        compile: "auto": compile for images of `MIN_COMPILED_SIZE` pixels or more, on a CPU with
            a compiler installed; or True, or False.
        image_size: the only image size that the network takes, pixels; None: any.

    Attributes:
        device: where it runs; None before `to_device`.
        auto: whether "auto" compiles at all; None: if a compiler is installed.
        packages: where compiled networks are cached; None: torch.compile, anew in each process.
        single: whether `run` takes images one by one, if there is a package for that, or if
            `compile` is True, which builds it.
        runtime: what computes: "torch", or "openvino" (see `OpenVinoEngine`).
        versions: of packages beside torch that the features depend on.
        quantised: SHA-256 of an int8 network; None in any other precision.

    Raises:
        ArgumentError: an unknown precision, or another value of `compile`.
    """

    runtime = "torch"
    pass_pixels = PASS_PIXELS
    quantised: str | None = None

    def __init__(
        self,
        stages: nn.Module,
        name: str,
        precision: str = "auto",
        compile: Literal["auto"] | bool = "auto",
        image_size: int | None = None,
    ) -> None:
        if compile not in ("auto", True, False):
            raise ArgumentError("compile", f"must be auto, true or false, got {compile!r}")
        self.stages = stages
        self.name = name
        self.precision = check_precision(precision)
        if compile is True and (variable := _switched_off()):
            log.warning("%s=1: the backbone runs without torch.compile", variable)
        self.compile = False if _switched_off() else compile
        self.image_size = image_size
        self.device: torch.device | None = None
        self.packages: PackageCache | None = None
        self.single = False
        self.auto: bool | None = None
        self.versions: dict[str, str] = {}
        self._compiled: Forward | None = None
        self._opened: dict[torch.Size, Package | None] = {}

    def __getstate__(self) -> dict[str, Any]:  # compiled code cannot be pickled or copied
        return self.__dict__ | {"_compiled": None, "_opened": {}}

    def to_device(self, device: torch.device | str) -> str:
        """Moves the stages to a device and to the precision for it.

        Returns:
            The precision's name. It is logged once, with the reason.
        """
        device = torch.device(device)
        dtype, reason = choose_precision(self.precision, device)
        moved = next(self.stages.parameters()).device.type != device.type
        if self.device != device or moved:  # Lightning moves it to the CPU after training
            self.stages.to(device=device, dtype=dtype)
        if self.device != device:
            self.device = device
            self._opened = {}
            log.info("backbone %s on %s in %s: %s", self.name, device, self.runs_in(), reason)
        return self.runs_in()

    def runs_in(self) -> str:
        """Returns the name of the precision that the stages are in."""
        return str(next(self.stages.parameters()).dtype).removeprefix("torch.")

    def compiles(self, image_size: int) -> bool:
        """Whether images of this size, in pixels, go through compiled code."""
        if self.compile == "auto":
            on_cpu = self.device is None or self.device.type == "cpu"
            pays = _has_compiler() if self.auto is None else self.auto
            return on_cpu and image_size >= MIN_COMPILED_SIZE and pays
        return self.compile

    def pays(self, image_size: int, channels: int, count: int) -> bool:
        """Whether compiled code pays for some images: they are many, and it can be had."""
        if count < MIN_COMPILED_IMAGES or _has_compiler():
            return count >= MIN_COMPILED_IMAGES
        shape = self.pass_size(image_size), channels, image_size, image_size
        return self.packages is not None and self.packages.has(self.runs_in(), shape)

    def try_compiling(self, image_size: int, channels: int = 1) -> bool:
        """Compiles for images of a size; where that fails, logs why and runs without.

        Returns:
            Whether `compiles` still holds.

        Raises:
            FashionTransferError: the network does not take images of this size.
        """
        images = torch.zeros(1, channels, image_size, image_size, device=self.device)
        check_image_size(images, self.image_size, self.name)
        try:
            self.run(images)
        except Exception as error:  # a compiler fails in as many ways as there are compilers
            reason = first_line(error)
            log.warning("torch.compile failed (%s): the backbone runs without it", reason)
            self.compile = False
        return self.compiles(image_size)

    def pass_size(self, image_size: int) -> int:
        """Returns how many images go through the backbone at once.

        It depends on the device and the image size alone. Shorter batches are padded to it, so
        that a feature never depends on the images beside it, and only one shape is compiled.
        """
        device = "cpu" if self.device is None else self.device.type
        maximum = MAX_PASS_SIZE.get(device, 64)
        if device != "cpu":
            return maximum
        fitting = max(1, self.pass_pixels // image_size**2)
        return min(maximum, 1 << (fitting.bit_length() - 1))

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """Computes all nodes of a batch, padded to whole passes only where it is compiled.

        Args and results are those of `extract`; gradients can flow to the images where it is not.
        """
        if self.single and len(images):
            if self.compile is True or self._package(images[:1], build=False):
                return self._in_passes(images, 1, self._forward_compiled)
        elif self.compiles(images.shape[-1]):
            return self.extract(images)
        check_image_size(images, self.image_size, self.name)
        return self._forward(images)

    def extract(self, images: Tensor) -> dict[str, Tensor]:
        """Computes all nodes of any number of images, in passes of exactly `pass_size` images.

        Args:
            images: float32, (B, 1 or 3, H, W), in [0, 1].

        Returns:
            Each node by name: float32, (B, D). Its values depend on its own image alone.

        Raises:
            FashionTransferError: the network does not take images of this size.
        """
        size = images.shape[-1]
        forward = self._forward_compiled if self.compiles(size) else self._forward
        return self._in_passes(images, self.pass_size(size), forward)

    @torch.no_grad()
    def node_widths(self, image_size: int) -> dict[str, int]:
        """Returns the width D of each node by name, for images of a size in pixels."""
        device = next(self.stages.parameters()).device
        nodes = self.stages(torch.zeros(1, 3, image_size, image_size, device=device))
        return {name: node.shape[1] for name, node in nodes.items()}

    @torch.no_grad()
    def _in_passes(self, images: Tensor, size: int, forward: Forward) -> dict[str, Tensor]:
        """Computes all nodes of any number of images, in padded passes of exactly that many."""
        check_image_size(images, self.image_size, self.name)
        passes: list[dict[str, Tensor]] = []
        for start in range(0, max(1, len(images)), size):
            part = images[start : start + size]
            count = len(part)
            if count < size:
                part = torch.cat([part, part.new_zeros(size - count, *part.shape[1:])])
            passes.append({name: node[:count] for name, node in forward(part).items()})
        return {name: torch.cat([nodes[name] for nodes in passes]) for name in passes[0]}

    def _forward(self, images: Tensor) -> dict[str, Tensor]:
        nodes: dict[str, Tensor] = self.stages(images)
        return nodes

    def _package(self, images: Tensor, build: bool) -> Package | None:
        """Opens the package for images of a shape, once; where that fails, logs why."""
        if self.packages is None or images.device.type != "cpu" or not len(images):
            return None
        if images.shape not in self._opened:
            try:
                package = self.packages.open(self.runs_in(), images.shape)
                if package is None and build:
                    package = self.packages.build(self.stages, self.runs_in(), images.shape)
            except Exception as error:  # as in `try_compiling`
                log.warning("the backbone runs without a package (%s)", first_line(error))
                self.packages = package = None  # nor another one
            self._opened[images.shape] = package
        return self._opened[images.shape]

    def _forward_compiled(self, images: Tensor) -> dict[str, Tensor]:
        if package := self._package(images, build=True):
            return package(images)
        if self._compiled is None:
            log.info("compiling the backbone (about 15 s, less once its kernels are cached)")
            self._compiled = _torch_compile(self.stages)
        return self._compiled(images)


def check_image_size(images: Tensor, expected: int | None, name: str) -> None:
    """Checks the size of images for a network that may take one only, in pixels.

    Raises:
        FashionTransferError: it takes another one.
    """
    size = images.shape[-1]
    if expected is not None and size != expected:
        raise FashionTransferError(f"image_size must be {expected} for {name}, got {size}")


def _torch_compile(stages: nn.Module) -> Forward:
    from torch._inductor import config  # a second to import: only where it is needed

    compiled = torch.compile(stages, dynamic=False)

    def forward(images: Tensor) -> dict[str, Tensor]:
        # Freezing makes the weights constants: laid out for the processor once, at compile time.
        # Tracing must know of it, too, so it is no option of torch.compile.
        with config.patch(freezing=True):
            nodes: dict[str, Tensor] = compiled(images)
        return nodes

    return forward


def _switched_off() -> str | None:
    """Returns the variable that has torch.compile return what it was given, if one is set."""
    variables = ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE")
    return next((name for name in variables if os.environ.get(name) == "1"), None)


def _has_compiler() -> bool:
    # What torch.compile needs on a CPU: a C++ compiler, and Python's headers to call the kernels.
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return headers.is_file() and any(map(shutil.which, ("c++", "g++", "clang++")))
