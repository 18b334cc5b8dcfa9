"""Node names such as `layer3`, `layer3@2` and `layer3@map`, and the pooling each asks for."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fashion_transfer.errors import ArgumentError

MAP = "map"
"""After the @: the feature maps of a node themselves, (C, H, W), flattened."""


def split_node(node: str) -> tuple[str, int | None]:
    """Splits a node into its name and the size of its pooling grid.

    `layer3@2` is layer3 averaged over each cell of a 2 x 2 grid, `layer3` over the whole image
    (grid size 1). `layer3@map` is layer3 without pooling: its grid size is None.

    Raises:
        ArgumentError: what follows the `@` is not the size of a grid.
    """
    name, _, grid = str(node).partition("@")
    if grid == MAP:
        return name, None
    if "@" in str(node) and not (grid.isdecimal() and int(grid) > 0):
        raise ArgumentError(
            "pool", f"needs the size of a grid after the @, such as 2, got {node!r}"
        )
    return name, int(grid or 1)


def pool_maps(maps: Tensor, node: str) -> Tensor:
    """Pools feature maps as a node's name asks.

    Args:
        maps: (B, C, H, W); anything else, such as features pooled already, is only flattened.
        node: see `split_node`.

    Returns:
        float32, (B, D).
    """
    _, grid = split_node(node)
    if maps.ndim != 4 or grid is None:
        return maps.float().flatten(1)
    if grid == 1:
        return maps.mean((2, 3), dtype=torch.float32)
    maps = maps.float()
    if lacks_grid_pooling(maps.device, maps.shape[2:], grid, maps.requires_grad):
        return pool_by_products(maps, grid).flatten(1)
    return F.adaptive_avg_pool2d(maps, grid).flatten(1)


def lacks_grid_pooling(
    device: torch.device, sides: Sequence[int], grid: int, with_gradient: bool
) -> bool:
    """Returns whether torch cannot pool maps over a grid.

    On MPS it cannot where the grid does not divide the maps. On CUDA it has no gradient that is the
    same every time, which `trainer.deterministic` asks for.

    Args:
        device: of the maps.
        sides: their height and width.
        grid: its size.
        with_gradient: whether the maps are trained.
    """
    if device.type == "mps":
        return any(side % grid for side in sides)
    return device.type == "cuda" and with_gradient


def pool_by_products(maps: Tensor, grid: int) -> Tensor:
    """Returns `adaptive_avg_pool2d(maps, grid)` but for rounding, by a matrix product per side.

    Args:
        maps: float32, (B, C, H, W).
        grid: its size.
    """
    # (H, grid) and (W, grid): the weight of each row and column in each cell
    weights = [F.adaptive_avg_pool1d(torch.eye(side), grid) for side in maps.shape[2:]]
    rows, columns = (weight.to(maps.device) for weight in weights)
    return rows.T @ maps @ columns


def check_pool(pool: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Returns the nodes to pool; by default the last stage.

    Args:
        pool: nodes, or None.
        known: names of the network's stages.

    Raises:
        ArgumentError: `pool` is a string, is empty, names a node twice, or asks for maps.
    """
    if isinstance(pool, str):
        raise ArgumentError("pool", f"must be a list, such as [{pool}], got {pool!r}")
    pool = list(known[-1:] if pool is None else pool)
    if not pool or len(set(pool)) < len(pool):
        raise ArgumentError("pool", f"takes each of {', '.join(known)} at most once, got {pool}")
    for node in pool:
        if split_node(node)[1] is None:
            raise ArgumentError(
                "pool", f"takes no maps, because their size depends on the image's, got {node!r}"
            )
    return tuple(pool)


def split_pool(
    pool: Sequence[str], known: Sequence[str], first: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Splits a pool into the nodes before a stage, and those of it and of the stages after it.

    Args:
        pool: nodes to pool.
        known: names of the network's stages, in its order.
        first: the first one that is trained.

    Raises:
        ArgumentError: the pool does not end in nodes of the trained stages, whole ones.
    """
    trained = known[known.index(first) :]
    frozen = tuple(node for node in pool if split_node(node)[0].split(".")[0] not in trained)
    others = tuple(pool[len(frozen) :])
    if not others or not {split_node(node)[0] for node in others} <= set(trained):
        suggested = ",".join((*frozen, trained[-1]))
        raise ArgumentError(
            "unfreeze",
            f"needs a pool that ends in whole stages that are trained, such as [{suggested}], got "
            f"{list(pool)}",
        )
    return frozen, others
