"""Heads: standardised features in, logits out. Only these are trained."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fashion_transfer import ranks
from fashion_transfer.errors import ArgumentError, first_line

Moments = tuple[int, Tensor, Tensor]
"""Number of rows; their mean and their sum of squared deviations from it, float64, (D,)."""


class Standardise(nn.Module):
    """Shifts and scales each feature to mean 0 and standard deviation 1 over the training images.

    Args:
        dim: number of features.
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Takes the statistics of the training images' features; constant ones stay as they are.

        No more than a batch is in memory at once.

        Args:
            batches: each float, (B, D); of several ranks, those of this one.

        Raises:
            TypeError: it is one tensor, whose rows would be taken for batches.
        """
        if isinstance(batches, Tensor):
            raise TypeError("fit takes batches, (B, D) each: give [features] for one tensor")
        zeros = torch.zeros_like(self.mean, device="cpu", dtype=torch.float64)
        moments: Moments = (0, zeros, zeros)
        for batch in batches:
            moments = _merge(moments, _moments(batch))
        count, mean, squares = 0, zeros, zeros
        for of_rank in ranks.gather(moments):
            count, mean, squares = _merge((count, mean, squares), of_rank)
        std = (squares / count).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))
        self.fitted.fill_(True)

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features, (B, D)."""
        return (features - self.mean).div_(self.std)  # in place: each copy of a batch takes time


def _moments(features: Tensor) -> Moments:
    rows = features.cpu().double()  # not every device has float64
    mean = rows.mean(dim=0)
    return len(rows), mean, (rows - mean).square().sum(dim=0)


def _merge(one: Moments, other: Moments) -> Moments:
    """The moments of both: Chan et al. 1983, "Algorithms for computing the sample variance"."""
    count = one[0] + other[0]
    shift = other[1] - one[1]
    mean = one[1] + shift * (other[0] / count)
    return count, mean, one[2] + other[2] + shift.square() * (one[0] * other[0] / count)


class LinearHead(nn.Sequential):
    """One linear layer.

    Args:
        in_features: D of the features.
        num_classes: number of logits.
        dropout: probability of zeroing a feature in training.
    """

    def __init__(self, in_features: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Dropout(dropout), nn.Linear(in_features, num_classes))


class MLPHead(nn.Sequential):
    """A hidden layer with ReLU, and a linear one.

    Args:
        in_features: D of the features.
        num_classes: number of logits.
        hidden: units of the hidden layer.
        dropout: probability of zeroing a hidden unit in training.
    """

    def __init__(
        self, in_features: int, num_classes: int, hidden: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__(
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )


HEADS: dict[str, type[nn.Module]] = {"linear": LinearHead, "mlp": MLPHead}
"""Heads by the name that configurations and checkpoints use."""


def build_head(name: str, in_features: int, num_classes: int, **options: object) -> nn.Module:
    """Builds a head by its name in `HEADS`.

    A checkpoint names its head, so that loading one builds nothing but what is listed there.

    Args:
        name: of the head.
        in_features: D of the features.
        num_classes: number of logits.
        **options: of the head.

    Raises:
        ArgumentError: the name or an option is unknown, or a value is not possible.
    """
    if not isinstance(name, str) or name not in HEADS:
        raise ArgumentError("head.name", f"must be one of {', '.join(HEADS)}, got {name!r}")
    try:
        return HEADS[name](in_features, num_classes, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError("head", f"{name} cannot be built: {first_line(error)}") from error
