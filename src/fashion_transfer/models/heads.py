"""Heads: standardised features in, logits out. Only these are trained."""

import torch
from torch import Tensor, nn

from fashion_transfer.errors import ArgumentError

COLUMNS = 512
"""Features whose statistics are computed at once: float64 of all would fill a laptop's memory."""


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

    def fit(self, features: Tensor) -> None:
        """Takes the statistics of the training images' features; constant ones stay as they are.

        Args:
            features: float, (N, D).
        """
        for start in range(0, features.shape[1], COLUMNS):
            columns = slice(start, start + COLUMNS)
            part = features[:, columns].cpu().double()  # not every device has float64
            std = part.std(dim=0, correction=0)
            self.mean[columns] = part.mean(dim=0).to(self.mean)
            self.std[columns] = torch.where(std > 1e-6, std, torch.ones_like(std)).to(self.std)
        self.fitted.fill_(True)

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features, (B, D)."""
        return (features - self.mean) / self.std


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
        raise ArgumentError("head", f"{name} cannot be built: {error}") from error
