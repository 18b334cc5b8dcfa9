"""What a classifier gives for a set of images, collected, and the metrics of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_accuracy

from fashion_transfer.confidence import metrics
from fashion_transfer.confidence.calibrator import Calibrator
from fashion_transfer.confidence.decision import accepted


class Outputs(NamedTuple):
    """Outputs for N images, on one device.

    Attributes:
        logits: float32, (N, C), or (N, C + 1) with the multi-item one last.
        ood_score: float32, (N,), out-of-distribution score; 1 is usual.
        labels: int64, (N,).
    """

    logits: Tensor
    ood_score: Tensor
    labels: Tensor


class OutputCollector(Metric):
    """Collects `Outputs` over the batches of an epoch, and over processes."""

    full_state_update = False
    logits: list[Tensor]
    ood_score: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in Outputs._fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, ood_score: Tensor, labels: Tensor) -> None:
        """Adds the outputs of a batch."""
        self.logits.append(logits.float())
        self.ood_score.append(ood_score)
        self.labels.append(labels)

    def compute(self) -> list[Tensor]:
        """All outputs so far, in order, as torchmetrics gives them; see `take`."""
        # After a reduction over processes, a state is one tensor.
        states: list[Any] = [self.logits, self.ood_score, self.labels]
        return [torch.cat(s) if isinstance(s, list) else s for s in states]

    def take(self) -> Outputs:
        """All outputs so far, in order; then the next set begins."""
        logits, ood_score, labels = self.compute()
        self.reset()
        # torchmetrics makes a scalar of a tensor with one entry, as for a single image.
        return Outputs(logits, ood_score.reshape(-1), labels.reshape(-1))


class Measured(NamedTuple):
    """What a metric is computed from, for images of one item each.

    Attributes:
        logits: float32, (N, C), of the classes alone.
        probabilities: calibrated, (N, C); a row lacks to 1 what the multi-item logit takes.
        uncalibrated: the same at temperature 1.
        labels: int64, (N,).
        accepted: bool, (N,), predictions without a warning.
    """

    logits: Tensor
    probabilities: Tensor
    uncalibrated: Tensor
    labels: Tensor
    accepted: Tensor


class _Labelled(Protocol):
    @property
    def logits(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...


def _accuracy(m: _Labelled, average: Any = "micro") -> Tensor:
    value: Tensor = multiclass_accuracy(m.logits, m.labels, m.logits.shape[1], average=average)
    return value


def _image_counts(m: _Labelled) -> Tensor:
    """Images per class, int64, (C,)."""
    return m.labels.bincount(minlength=m.logits.shape[1])


def _macro_accuracy(m: _Labelled) -> Tensor:
    """The mean of the accuracies of the classes, those without an image left out.

    torchmetrics counts such a class as 0 once it is predicted.
    """
    there = (_image_counts(m) > 0).float()
    return (there * _accuracy(m, "none") / there.sum()).sum()


def _confidence_and_correct(m: Measured) -> tuple[Tensor, Tensor]:
    return metrics.confidence_and_correct(m.probabilities, m.labels)


METRICS: dict[str, Callable[[Measured], Tensor | float]] = {
    "accuracy": _accuracy,
    "macro_accuracy": _macro_accuracy,
    "ece": lambda m: metrics.ece(m.probabilities, m.labels),
    "adaptive_ece": lambda m: metrics.adaptive_ece(m.probabilities, m.labels),
    "nll": lambda m: metrics.nll(m.probabilities, m.labels),
    "brier": lambda m: metrics.brier(m.probabilities, m.labels),
    "ece_uncalibrated": lambda m: metrics.ece(m.uncalibrated, m.labels),
    "adaptive_ece_uncalibrated": lambda m: metrics.adaptive_ece(m.uncalibrated, m.labels),
    "nll_uncalibrated": lambda m: metrics.nll(m.uncalibrated, m.labels),
    "brier_uncalibrated": lambda m: metrics.brier(m.uncalibrated, m.labels),
    "aurc": lambda m: metrics.aurc(*_confidence_and_correct(m)),
    "augrc": lambda m: metrics.augrc(*_confidence_and_correct(m)),
    "coverage_at_1_percent_risk": lambda m: metrics.coverage_at_risk(
        *_confidence_and_correct(m), risk=0.01
    ),
    "coverage_at_3_percent_risk": lambda m: metrics.coverage_at_risk(
        *_confidence_and_correct(m), risk=0.03
    ),
    "warned": lambda m: 1 - m.accepted.double().mean(),
}
"""Every test metric that is one number, by name; a new one is one line here."""


def validation_metrics(outputs: Outputs, num_classes: int) -> dict[str, Tensor]:
    """Loss (cross-entropy), accuracy and macro accuracy of single-item images, by name.

    Args:
        outputs: of the classifier.
        num_classes: C, without the multi-item label.
    """
    of_classes = outputs._replace(logits=outputs.logits[:, :num_classes])
    return {
        "loss": F.cross_entropy(outputs.logits, outputs.labels),
        "accuracy": _accuracy(of_classes),
        "macro_accuracy": _macro_accuracy(of_classes),
    }


def single_item_metrics(
    outputs: Outputs, class_names: Sequence[str], calibrator: Calibrator, threshold: float
) -> dict[str, float]:
    """Metrics of single-item images that nothing was fitted on, by name.

    Beside `METRICS`: `loss` (cross-entropy of the uncalibrated logits), `accuracy/<class>` (where
    there are images of it, see `class_keys`), `selective_accuracy` (of the predictions without a
    warning, if there are any), and the temperature and threshold they were computed with.

    Args:
        outputs: of the classifier.
        class_names: by label.
        calibrator: gives probabilities and the OOD limit.
        threshold: confidence under which a prediction carries a warning.
    """
    count = len(class_names)
    probabilities = calibrator.class_probabilities(outputs.logits)
    confidence, correct = metrics.confidence_and_correct(probabilities, outputs.labels)
    without_warning = accepted(confidence, outputs.ood_score.cpu(), threshold, calibrator.ood_limit)
    measured = Measured(
        outputs.logits[:, :count],
        probabilities,
        outputs.logits.softmax(dim=1)[:, :count],
        outputs.labels,
        without_warning,
    )
    values = {"loss": float(F.cross_entropy(outputs.logits, outputs.labels))}
    values |= {name: float(compute(measured)) for name, compute in METRICS.items()}
    per_class = zip(_accuracy(measured, "none").tolist(), _image_counts(measured), strict=True)
    for name, (accuracy, images) in zip(class_keys(class_names), per_class, strict=True):
        if images:
            values[f"accuracy/{name}"] = accuracy
    if without_warning.any():
        values["selective_accuracy"] = metrics.selective_accuracy(correct.cpu(), without_warning)
    return values | {"temperature": float(calibrator.temperature), "threshold": threshold}


def class_keys(class_names: Sequence[str]) -> list[str]:
    """A key for each class, by label: its slug, with a number where an earlier class has the same.

    Args:
        class_names: by label.
    """
    keys: list[str] = []
    for name in class_names:
        key, number = slug(name), 1
        while key in keys:
            number += 1
            key = f"{slug(name)}_{number}"
        keys.append(key)
    return keys


def slug(name: str) -> str:
    """A class name for keys and file names: `T-shirt/top` becomes `t_shirt_top`."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())
