"""What is exported: from prepared pixels to calibrated probabilities and warnings."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fashion_transfer.confidence.decision import warn
from fashion_transfer.data.augmentation import render
from fashion_transfer.data.batch import Batch
from fashion_transfer.models import Classifier
from fashion_transfer.models.second_opinion import IMAGE_SIZE


class Outputs(NamedTuple):
    """What an export gives for N images, by the names of its outputs.

    Attributes:
        probabilities: float32, (N, C), or (N, C + 1) with that of several items last; calibrated,
            and pooled with the second opinion.
        ood_score: float32, (N,), out-of-distribution score; 1 is usual.
        warning: bool, (N,), whether the prediction should not be relied on.
        reason: int64, (N,), position of the warning's reason in `REASONS`, from 1; 0 for none.
    """

    probabilities: Tensor
    ood_score: Tensor
    warning: Tensor
    reason: Tensor


class ClassifierGraph(nn.Module):
    """A classifier as tensor operations alone, as `Classifier.predict_prepared` computes it.

    Args:
        classifier: in eval mode, its backbone in float32 and not compiled.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.ood_limit = float(classifier.calibrator.ood_limit)

    def forward(
        self, images: Tensor, colours: Tensor | None = None, colour_rows: Tensor | None = None
    ) -> Outputs:
        """Returns the outputs for N images of one size, in any number and size.

        Args:
            images: uint8, (N, 1 or 3, h, w), `Prepared.pixels`.
            colours: uint8, (M, 3, t, u), `Prepared.colour` of the images that have one; only of a
                classifier with a second opinion.
            colour_rows: int64, (M,), the rows of `images` that `colours` belong to.
        """
        classifier = self.classifier
        pixels = render(images, classifier.image_size)
        logits, ood_score = classifier.outputs(Batch(images=pixels))
        probabilities = classifier.calibrator(logits)
        if colours is not None and colour_rows is not None:
            assert classifier.opinion is not None, "the classifier has no second opinion"
            imagenet = classifier.backbone.imagenet_logits(render(colours, IMAGE_SIZE))
            pooled = classifier.opinion(probabilities[colour_rows], imagenet)
            probabilities = probabilities.index_copy(0, colour_rows, pooled)
        count, threshold = len(classifier.class_names), classifier.threshold
        reason = warn(probabilities, ood_score, count, threshold, self.ood_limit)
        return Outputs(probabilities, ood_score, reason > 0, reason)


def example_inputs(classifier: Classifier) -> dict[str, Tensor]:
    """Returns inputs of `ClassifierGraph` to trace it with, by name."""
    inputs = {"images": torch.zeros(2, 3, 28, 30, dtype=torch.uint8)}
    if classifier.opinion is not None:
        inputs["colours"] = torch.zeros(3, 3, 40, 42, dtype=torch.uint8)
        inputs["colour_rows"] = torch.zeros(3, dtype=torch.int64)
    return inputs
