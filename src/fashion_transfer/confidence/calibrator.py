"""What validation images say about confidence; a checkpoint stores it beside the head."""

import torch
from torch import Tensor, nn

from fashion_transfer.confidence.metrics import confidence_and_correct
from fashion_transfer.confidence.temperature import fit_temperature

STANDARD_ERRORS = 1.645
"""Lowers 1 / T to its one-sided 95 % confidence limit, so that confidence is rarely too high."""

OOD_QUANTILE = 0.99
"""The fraction of validation images whose OOD score is within the limit."""

MIN_IMAGES = 50
"""Validation images under which nothing is fitted: of 50 at an accuracy of 90 %, five are wrong,
and temperature and threshold depend on these; the OOD limit is next to the highest score."""


class Calibrator(nn.Module):
    """A temperature, which calibrates logits, and the limit of the out-of-distribution score.

    Guo et al. 2017, "On calibration of modern neural networks", section 4.2.

    Args:
        num_classes: C; a logit after those of the classes is the multi-item one.

    Attributes:
        temperature: float32, scalar; 1 until `fit`.
        ood_limit: float32, scalar, the OOD score over which an image is out-of-distribution;
            infinite until `fit`.
        validation: `confidence` (float64) and `correct` (bool), both (N,), of the validation
            images, as `fit_threshold` takes them; empty until `fit`.
        num_images: of the last `fit`, whether they were enough or not; 0 until then.
    """

    temperature: Tensor
    ood_limit: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("ood_limit", torch.full((), torch.inf))
        self.validation: dict[str, Tensor] = {}
        self.num_images = 0

    def fit(self, logits: Tensor, labels: Tensor, ood_score: Tensor) -> None:
        """Fits temperature and OOD limit to validation images; nothing if a logit is not finite.

        Under `MIN_IMAGES` images, both are as they were before any fit.

        Args:
            logits: (N, C) or (N, C + 1).
            labels: int64, (N,).
            ood_score: float, (N,), higher for images less like the training images; 0 for all
                where it is unknown, which leaves the limit as it is.
        """
        self.num_images = len(labels)
        if self.num_images < MIN_IMAGES:
            self.temperature.fill_(1)
            self.ood_limit.fill_(torch.inf)
            self.validation = {}
            return
        if not logits.isfinite().all():
            return
        temperature = fit_temperature(logits, labels, standard_errors=STANDARD_ERRORS)
        self.temperature.fill_(temperature)
        if ood_score.any():
            self.ood_limit.copy_(ood_score.quantile(OOD_QUANTILE))
        confidence, correct = confidence_and_correct(self.class_probabilities(logits), labels)
        self.validation = {"confidence": confidence, "correct": correct}

    def forward(self, logits: Tensor) -> Tensor:
        """Returns calibrated probabilities, softmax(logits / temperature), in the logits' shape.

        They are on the device of the logits, which may be another than the calibrator's.
        """
        return (logits / self.temperature.to(logits.device)).softmax(dim=1)

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Returns the calibrated probabilities of the classes alone, (N, C).

        A row sums to 1 less the probability of a multi-item image.
        """
        return self.forward(logits)[:, : self.num_classes]
