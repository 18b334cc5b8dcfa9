"""The inference loop: every image of a set goes through a classifier once."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from fashion_transfer.confidence import Prediction
from fashion_transfer.confidence.decision import decide
from fashion_transfer.data import Batch
from fashion_transfer.models import Classifier, Outputs


class Evaluated(NamedTuple):
    """What a classifier gives for the images of one evaluation set.

    Attributes:
        outputs: on the CPU.
        probabilities: calibrated, of the classes, float32, (N, C).
        uncalibrated: the same at temperature 1.
        predictions: N, with their warnings.
    """

    outputs: Outputs
    probabilities: Tensor
    uncalibrated: Tensor
    predictions: list[Prediction]

    @property
    def labels(self) -> Tensor:
        """int64, (N,)."""
        return self.outputs.labels

    @property
    def confidence(self) -> Tensor:
        """Calibrated, float32, (N,)."""
        return self.probabilities.max(dim=1).values

    def warned(self, reason: str | None = None) -> float:
        """Fraction of the images with a warning, or with one for this reason."""
        warned = [p.warning and reason in (None, p.reason) for p in self.predictions]
        return sum(warned) / len(warned)


@torch.no_grad()
def infer(classifier: Classifier, batches: Iterable[Batch]) -> Outputs:
    """Outputs of a classifier for all images of a loader, in order, on the CPU.

    Args:
        classifier: in eval mode.
        batches: with labels.
    """
    device = next(classifier.head.parameters()).device
    logits, scores, labels = [], [], []
    for batch in batches:
        assert batch.labels is not None
        of_batch = classifier.outputs(batch.to(device))
        logits.append(of_batch[0].float().cpu())
        scores.append(of_batch[1].cpu())
        labels.append(batch.labels)
    return Outputs(torch.cat(logits), torch.cat(scores), torch.cat(labels))


def evaluate_set(classifier: Classifier, batches: Iterable[Batch]) -> Evaluated:
    """Outputs, probabilities and predictions of a classifier for one evaluation set."""
    outputs = infer(classifier, batches)
    return Evaluated(
        outputs,
        classifier.calibrator.class_probabilities(outputs.logits),
        outputs.logits.softmax(dim=1)[:, : len(classifier.class_names)],
        classifier.decide(outputs.logits, outputs.ood_score),
    )


def reference_rule(evaluated: Evaluated, threshold: float = 0.8) -> Evaluated:
    """The same outputs under the reference notebook's rule: 80 %, no calibration, no OOD limit."""
    probabilities = evaluated.uncalibrated
    return evaluated._replace(
        probabilities=probabilities,
        predictions=decide(
            probabilities / probabilities.sum(dim=1, keepdim=True),
            torch.zeros(len(probabilities)),
            [str(label) for label in range(probabilities.shape[1])],
            threshold,
            float("inf"),
        ),
    )
