"""The last stage of a backbone, where it is unfrozen."""

import math

import torch
from torch import Tensor, nn

from fashion_transfer.features.nodes import pool_maps


class TrainableStage(nn.Module):
    """The unfrozen last stage: cached nodes in, features out.

    Args:
        stage: maps (B, C, H, W) in, maps out. Its BatchNorms are folded, so nothing but weights
            is trained.
        node: its name in the backbone's `pool`, which says how its maps are pooled.
        pooled_width: how many numbers of an input are pooled nodes, which pass through.
        channels: C of the square maps that follow them.
    """

    def __init__(self, stage: nn.Module, node: str, pooled_width: int, channels: int) -> None:
        super().__init__()
        self.stage = stage
        self.node = node
        self.pooled_width = pooled_width
        self.channels = channels

    def forward(self, cached: Tensor) -> Tensor:
        """Computes features from what the frozen backbone gives.

        Args:
            cached: float32, (B, pooled_width + C * H * W).

        Returns:
            float32, (B, D).
        """
        pooled, maps = cached[:, : self.pooled_width], cached[:, self.pooled_width :]
        side = math.isqrt(maps.shape[1] // self.channels)
        maps = maps.reshape(maps.shape[0], self.channels, side, side)
        maps = maps.contiguous(memory_format=torch.channels_last)
        return torch.cat([pooled, pool_maps(self.stage(maps), self.node)], dim=1)
