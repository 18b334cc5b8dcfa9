"""What validation images teach about confidence, kept in a checkpoint beside the head."""

from typing import Any

import torch
from torch import Tensor, nn

from fashion_transfer.confidence import metrics
from fashion_transfer.confidence.calibration import fit_temperature

CAREFUL = 1.645
"""Standard errors on the careful side: with 95 % certainty, confidence is not too high."""

FAMILIAR = 0.99
"""Of the validation images: the fraction that is not called unfamiliar."""


class Calibrator(nn.Module):
    """A temperature (Guo et al. 2017), and the distance from which an image is unfamiliar.

    Args:
        num_classes: C; a logit beyond them is that of several items.

    Attributes:
        temperature: scalar; 1 until `fit`.
        familiar: scalar, the largest familiar distance; infinite until `fit`.
        validation: `confidence` and `right`, (N,), of the validation images; empty until `fit`.
    """

    temperature: Tensor
    familiar: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("familiar", torch.full((), torch.inf))
        self.validation: dict[str, Any] = {}

    def fit(self, logits: Tensor, labels: Tensor, distance: Tensor) -> None:
        """Learns from validation images; from logits that are not finite, nothing.

        Args:
            logits: (N, C) or (N, C + 1).
            labels: int64, (N,).
            distance: (N,), see `models.Classifier.examine`; 0 where it is not known.
        """
        if not logits.isfinite().all():
            return
        self.temperature.fill_(fit_temperature(logits, labels, careful=CAREFUL))
        if distance.any():
            self.familiar.copy_(distance.quantile(FAMILIAR))
        confidence, right = metrics.confidence_and_right(self.of_classes(logits), labels)
        self.validation = {"confidence": confidence, "right": right}

    def forward(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities, in the logits' shape: softmax(logits / temperature)."""
        return (logits / self.temperature).softmax(dim=1)

    def of_classes(self, logits: Tensor) -> Tensor:
        """The classes' calibrated probabilities, (N, C)."""
        return self(logits)[:, : self.num_classes]

    def measure(
        self, logits: Tensor, labels: Tensor, distance: Tensor, threshold: float
    ) -> dict[str, float]:
        """What confidence is worth on images that nothing was fitted on, by name.

        `_uncalibrated` is at temperature 1; `warned` is the fraction with a confidence under the
        threshold or unfamiliar, `selective_accuracy` the accuracy of the others, if there are any.
        """
        measured: dict[str, float] = {}
        raw = logits.softmax(dim=1)[:, : self.num_classes]
        for probabilities, name in ((self.of_classes(logits), ""), (raw, "_uncalibrated")):
            measured |= {
                f"ece{name}": metrics.ece(probabilities, labels),
                f"adaptive_ece{name}": metrics.adaptive_ece(probabilities, labels),
                f"nll{name}": metrics.nll(probabilities, labels),
                f"brier{name}": metrics.brier(probabilities, labels),
            }
        confidence, right = metrics.confidence_and_right(self.of_classes(logits), labels)
        sure = (confidence >= threshold) & (distance <= self.familiar).cpu()
        sure |= torch.tensor(threshold == 0)  # which never warns
        if sure.any():
            measured["selective_accuracy"] = float(right[sure].double().mean())
        return measured | {
            "aurc": metrics.aurc(confidence, right),
            "warned": 1 - float(sure.double().mean()),
            "temperature": float(self.temperature),
            "threshold": threshold,
        }
