"""The stages of a backbone that are unfrozen: the last one, or more."""

import math

import torch
from torch import Tensor, nn


class TrainableStages(nn.Module):
    """The unfrozen stages: cached nodes in, features out.

    Args:
        stages: maps (B, C, H, W) in, a dictionary of pooled nodes out. Their BatchNorms are folded,
            so nothing but weights is trained.
        pooled_width: how many numbers of an input are pooled nodes, which pass through.
        channels: C of the square maps that follow them.
    """

    def __init__(self, stages: nn.Module, pooled_width: int, channels: int) -> None:
        super().__init__()
        self.stages = stages
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
        nodes = self.stages(maps.contiguous(memory_format=torch.channels_last))
        return torch.cat([pooled, *nodes.values()], dim=1)
