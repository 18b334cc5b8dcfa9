"""The summary of an evaluation: every number, once, under one name."""

import statistics
from collections.abc import Mapping

import torch
from torch import Tensor

from fashion_transfer.confidence import metrics
from fashion_transfer.confidence.decision import MULTI_ITEM as MULTI_ITEM_REASON
from fashion_transfer.evaluation.inference import Evaluated
from fashion_transfer.evaluation.sets import CONTROL, MNIST, MULTI_ITEM, OOD, TEST
from fashion_transfer.models import Classifier, single_item_metrics
from fashion_transfer.synthetic import FAMILIES

PREFIXES = (MULTI_ITEM, CONTROL, OOD)

HELD_OUT = [layout for family in FAMILIES.values() for layout in family.held_out]

WORN = "worn_held_out"

GROUPS = {
    "trained": [layout for family in FAMILIES.values() for layout in family.trained],
    "held_out": HELD_OUT,
    WORN: [layout for layout in HELD_OUT if layout.startswith("worn_")],
}
"""Layouts that are averaged, where a data set has them; `worn_…` ones look like a person."""


def summarise(classifier: Classifier, evaluated: Mapping[str, Evaluated]) -> dict[str, float]:
    """Metrics of all evaluation sets by name, `test/…` as training reports them.

    Args:
        classifier: that gave the outputs.
        evaluated: by the name of the evaluation set.
    """
    test = single_item_metrics(
        evaluated[TEST].outputs,
        classifier.class_names,
        classifier.calibrator,
        classifier.threshold,
    )
    summary = {f"test/{name}": value for name, value in test.items()}
    scores = {name: of_set.outputs.ood_score for name, of_set in evaluated.items()}
    return summary | warning_metrics(evaluated) | ood_metrics(scores)


def warning_metrics(evaluated: Mapping[str, Evaluated]) -> dict[str, float]:
    """Metrics of the warnings on synthetic sets, by name; empty if there are none.

    Means over sets give each layout the same weight; that over OOD sets leaves out those that not
    every machine has. `<set>/warned` is the fraction of its images with a warning. OOD sets have
    the metrics of `ood_metrics` by confidence, too, named `<metric>_by_confidence`: the baseline of
    Hendrycks & Gimpel 2017.
    """
    names = {prefix: [n for n in evaluated if n.startswith(f"{prefix}/")] for prefix in PREFIXES}
    if not all(names.values()):
        return {}
    warned = {name: of_set.warned() for name, of_set in evaluated.items()}
    multi_item = [evaluated[name] for name in names[MULTI_ITEM]]
    controls = [evaluated[name] for name in names[CONTROL]]
    summary = {f"{name}/warned": rate for name, rate in warned.items() if name != TEST}
    for prefix in (MULTI_ITEM, CONTROL):
        for group, layouts in GROUPS.items():
            sets = [name for layout in layouts if (name := f"{prefix}/{layout}") in warned]
            if sets:
                rate = statistics.mean(warned[name] for name in sets)
                summary[f"{prefix}/{group}/warned"] = rate
    worn = [name for layout in GROUPS[WORN] if (name := f"{MULTI_ITEM}/{layout}") in warned]
    if worn:
        summary[f"{MULTI_ITEM}/{WORN}/reason_multi_item"] = statistics.mean(
            evaluated[name].warned(MULTI_ITEM_REASON) for name in worn
        )
    doubts = {name: 1 - of_set.confidence for name, of_set in evaluated.items()}
    summary |= {f"{name}_by_confidence": value for name, value in ood_metrics(doubts).items()}
    control_rate = statistics.mean(warned[name] for name in names[CONTROL])
    return summary | {
        "multi_item/reason_multi_item": statistics.mean(
            of_set.warned(MULTI_ITEM_REASON) for of_set in multi_item
        ),
        "multi_item/auroc": metrics.auroc(
            torch.cat([1 - of_set.confidence for of_set in multi_item]),
            torch.cat([1 - of_set.confidence for of_set in controls]),
        ),
        "control/warned": control_rate,
        "control/warned_over_single": control_rate - warned[TEST],
        "control/accuracy": statistics.mean(
            (of_set.probabilities.argmax(dim=1) == of_set.labels).double().mean().item()
            for of_set in controls
        ),
        "out_of_distribution/warned": statistics.mean(
            warned[name] for name in names[OOD] if name != MNIST
        ),
    }


def ood_metrics(scores: Mapping[str, Tensor]) -> dict[str, float]:
    """How well scores tell each OOD set from the test images, by name.

    `<set>/auroc` is the area under the ROC curve; `<set>/fpr95` the fraction of the set's images
    that pass where 95 % of the test images do.

    Args:
        scores: by the name of the evaluation set: float, (N,), higher for images less like the
            training images. The warning compares the OOD score with its limit.
    """
    summary = {}
    for name, of_set in scores.items():
        if name.startswith(f"{OOD}/"):
            summary[f"{name}/auroc"] = metrics.auroc(of_set, scores[TEST])
            summary[f"{name}/fpr95"] = metrics.fpr_at_tpr(of_set, scores[TEST])
    return summary
