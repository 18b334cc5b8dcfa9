"""ImageNet's own 1,000 classes as a second opinion on pictures of one's own.

The classifier that the backbone's weights were trained with has seen photos of clothes on people,
floors and hangers; a head that was trained on Fashion-MNIST has not. Their probabilities are pooled
with equal weights in log space (Genest & Zidek 1986, "Combining probability distributions",
section 3: the logarithmic opinion pool).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights

from fashion_transfer.features import Backbone

IMAGE_SIZE = 224
"""Size of the images that ImageNet's classes were learned from, pixels."""

FLOOR = 0.001
"""Added to the probability of each class: an opinion on some must not rule out the others."""

IMAGENET_CLASSES = {
    "T-shirt/top": ("jersey",),
    "Trouser": ("jean", "suit"),
    "Pullover": ("sweatshirt", "cardigan"),
    "Dress": ("gown", "hoopskirt", "overskirt", "sarong", "abaya", "kimono"),
    "Coat": ("trench coat", "fur coat", "poncho", "cloak", "academic gown"),
    "Sandal": ("sandal",),
    "Shirt": ("lab coat", "pajama"),
    "Sneaker": ("running shoe", "clog", "Loafer"),
    "Bag": ("backpack", "purse", "mailbag"),
    "Ankle boot": ("cowboy boot",),
}
"""The classes of ImageNet that are most like a class of Fashion-MNIST."""


class SecondOpinion(nn.Module):
    """Pools the probabilities of a classifier with those of ImageNet's classes.

    Args:
        class_names: by label, all in `IMAGENET_CLASSES`.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        names = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
        groups = torch.zeros(len(names), len(class_names))
        for label, name in enumerate(class_names):
            groups[[names.index(similar) for similar in IMAGENET_CLASSES[name]], label] = 1
        self.register_buffer("groups", groups, persistent=False)  # (1000, C)
        self.groups: Tensor

    def forward(self, probabilities: Tensor, imagenet_logits: Tensor) -> Tensor:
        """Returns pooled probabilities; the probability of several items stays as it is.

        Args:
            probabilities: float32, (B, C), or (B, C + 1) with that of several items last.
            imagenet_logits: float32, (B, 1000), of the same pictures (`Backbone.imagenet_logits`).
        """
        opinion = imagenet_logits.softmax(dim=1) @ self.groups  # (B, C)
        classes = probabilities[:, : opinion.shape[1]]
        pooled = (classes * (opinion + FLOOR)).sqrt()
        total = pooled.sum(dim=1).clamp(min=1e-30)  # 0 where several items are all but certain
        pooled = pooled * (classes.sum(dim=1) / total)[:, None]
        return torch.cat([pooled, probabilities[:, opinion.shape[1] :]], dim=1)


def has_second_opinion(backbone: Backbone, class_names: Sequence[str]) -> bool:
    """Whether a backbone's weights have ImageNet's classes, and the table has all class names."""
    return backbone.imagenet is not None and set(class_names) <= set(IMAGENET_CLASSES)
