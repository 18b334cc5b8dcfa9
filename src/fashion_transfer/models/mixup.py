"""Mixup of features: pairs of images as one, with both labels."""

import torch
from torch import Tensor, nn


def mixed_logits(head: nn.Module, features: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of features that are mixed as by `mix`.

    Where a head begins with a linear layer, what that gives is mixed: the logits are the same, as
    the layer is linear, and it gives a fraction of the numbers that it takes.

    Args:
        head: of a classifier.
        features: float, (B, D).
        alpha: see `mix`.

    Returns:
        The logits, (B, C); for each row the other one, int64, (B,), and its share, (B,).
    """
    layers = [head]
    if isinstance(head, nn.Sequential) and type(head).forward is nn.Sequential.forward:
        layers = list(head)
    if isinstance(layers[0], nn.Linear):
        features = layers.pop(0)(features)
    mixed, other, share = mix(features, alpha)
    for layer in layers:
        mixed = layer(mixed)
    return mixed, other, share


def mix(features: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mixes each row of a batch with another, by a share that is drawn for each row.

    Zhang et al. 2018, "mixup: beyond empirical risk minimization", section 2; of features: Verma et
    al. 2019, "Manifold mixup". One share for the whole batch, as there, is less accurate the larger
    the batches are. A share is at least a half, so a row's own label weighs more.

    Args:
        features: float, (B, D).
        alpha: of the distribution Beta(alpha, alpha) of the shares, above 0.

    Returns:
        The mixed features, (B, D); for each row the other one, int64, (B,), and its share, (B,).
    """
    beta = torch.distributions.Beta(alpha, alpha, validate_args=False)
    share = beta.sample((len(features),)).to(features)
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(features), device=features.device)
    # In place: each copy of a batch takes time.
    mixed = features[other].lerp_(features, share[:, None])
    return mixed, other, share
