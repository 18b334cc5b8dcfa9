"""The preprocessing of the weights, as a part of the network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError


class Stem(nn.Module):
    """Normalises images, then applies the network's first convolution.

    Args:
        convolution: of three input channels.
        mean: of the preprocessing, per channel.
        std: standard deviation likewise.

    Raises:
        ArgumentError: `mean` or `std` is not three numbers, or `std` is not above 0.
    """

    def __init__(self, convolution: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != 3:
            raise ArgumentError("mean", f"must be three numbers, got {list(mean)}")
        if len(std) != 3 or not all(value > 0 for value in std):
            raise ArgumentError("std", f"must be three numbers above 0, got {list(std)}")
        self.convolution: Any = convolution
        # Plain numbers, not buffers: they stay float32 in whatever precision the network runs.
        self.mean = tuple(mean)
        self.std = tuple(std)

    def forward(self, images: Tensor) -> Tensor:
        """Returns feature maps for images float32, (B, 1 or 3, H, W), in [0, 1]."""
        mean = images.new_tensor(self.mean).view(1, 3, 1, 1)
        std = images.new_tensor(self.std).view(1, 3, 1, 1)
        x = (images - mean) / std  # broadcasts grey to three channels
        dtype = self.convolution.weight.dtype
        maps: Tensor = self.convolution(x.to(dtype=dtype, memory_format=torch.channels_last))
        return maps


def insert_stem(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Replaces a network's first convolution by a `Stem`."""
    name = next(name for name, part in network.named_modules() if isinstance(part, nn.Conv2d))
    network.set_submodule(name, Stem(network.get_submodule(name), mean, std))
