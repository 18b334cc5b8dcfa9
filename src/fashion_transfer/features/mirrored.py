"""Features that are the same for an image and its mirror image."""

from torch import Tensor, nn


class Mirrored(nn.Module):
    """Computes the mean of the nodes of an image and of its mirror image.

    Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks",
    section 4.1, average predictions over horizontal reflections; here the features are averaged, so
    that a head is also trained on what it is given to predict. It takes twice the time.

    Args:
        stages: images in, a dictionary of nodes out (see `BackboneAdapter.make_stages`).
    """

    def __init__(self, stages: nn.Module) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Returns each node, float32, (B, D), for images (B, 1 or 3, H, W) in [0, 1]."""
        nodes, mirrored = self.stages(images), self.stages(images.flip(-1))
        return {name: (node + mirrored[name]) / 2 for name, node in nodes.items()}
