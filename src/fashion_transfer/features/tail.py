"""The last stage of a backbone, where it is unfrozen."""

import math

import torch
from torch import Tensor, nn

from fashion_transfer.features.stages import average


class Tail(nn.Module):
    """The unfrozen last stage: pooled stages and maps in, pooled stages out.

    Args:
        stage: maps (B, C, H, W) in, maps out. Its BatchNorm is folded, so nothing but weights
            learns.
        node: its name in the backbone's `pool`, which says how its maps are averaged.
        frozen: how many numbers of an input are pooled stages, which pass through.
        channels: C of the square maps that follow them.
    """

    def __init__(self, stage: nn.Module, node: str, frozen: int, channels: int) -> None:
        super().__init__()
        self.stage = stage
        self.node = node
        self.frozen = frozen
        self.channels = channels

    def forward(self, kept: Tensor) -> Tensor:
        """Features, float32, (B, D), for what is kept of images, (B, frozen + C * H * W)."""
        maps = kept[:, self.frozen :].unflatten(1, (self.channels, -1))
        side = math.isqrt(maps.shape[2])
        maps = maps.unflatten(2, (side, side)).contiguous(memory_format=torch.channels_last)
        return torch.cat([kept[:, : self.frozen], average(self.stage(maps), self.node)], dim=1)
