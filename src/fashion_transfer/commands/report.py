"""What the warnings of a classifier are worth, on images of every kind: numbers and figures."""

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from fashion_transfer.commands.runs import write_text
from fashion_transfer.confidence import Prediction, ThresholdPolicy, metrics
from fashion_transfer.confidence.policy import SEVERAL
from fashion_transfer.data import (
    HELD_OUT_LAYOUTS,
    TRAINED_LAYOUTS,
    FashionMNISTDataModule,
    MadeDataset,
)
from fashion_transfer.models import Classifier
from fashion_transfer.reporting import (
    WARNED,
    WarningRow,
    confidence_histograms,
    kinds_sheet,
    mistakes_sheet,
    reliability_diagram,
    risk_coverage_figure,
    save_figure,
    warnings_markdown,
    warnings_table,
)

SINGLE = "single test images"
SHOWN = 8  # examples of each kind on a sheet


class Answers(NamedTuple):
    """What a classifier says of the images of one kind.

    Attributes:
        raw: probabilities of the classes at temperature 1, (N, C).
        calibrated: the same at the classifier's temperature.
        predictions: with their warnings.
        labels: int64, (N,).
    """

    raw: Tensor
    calibrated: Tensor
    predictions: list[Prediction]
    labels: Tensor

    @property
    def confidence(self) -> Tensor:
        """Calibrated, (N,)."""
        return self.calibrated.max(dim=1).values

    def warned(self, reason: str = "") -> float:
        """Fraction with a warning, or with one for a reason."""
        found = [p.warning and reason in ("", p.reason) for p in self.predictions]
        return sum(found) / len(found)


def answers(
    classifier: Classifier, datamodule: FashionMNISTDataModule, loader: DataLoader[Any]
) -> Answers:
    """Asks a classifier about all images of a loader."""
    device = next(classifier.head.parameters()).device
    logits, distance, labels = [], [], []
    with torch.no_grad():
        for batch in loader:
            moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            found = classifier.examine(datamodule.on_after_batch_transfer(moved, 0))
            logits.append(found[0].float())
            distance.append(found[1])
            labels.append(batch["labels"])
    together, count = torch.cat(logits), len(classifier.classes)
    return Answers(
        together.softmax(dim=1)[:, :count].cpu(),
        classifier.calibrator.of_classes(together).cpu(),
        classifier.decide(together, torch.cat(distance)),
        torch.cat(labels),
    )


def measure(
    classifier: Classifier, datamodule: FashionMNISTDataModule, kinds: Mapping[str, MadeDataset]
) -> dict[str, Answers]:
    """Answers for the test images and every kind of `FashionMNISTDataModule.kinds`."""
    found = {SINGLE: answers(classifier, datamodule, datamodule.test_dataloader())}
    for name, made in kinds.items():
        found[name] = answers(classifier, datamodule, datamodule.kind_dataloader(made))
    return found


def plain_rule(found: Mapping[str, Answers]) -> dict[str, Answers]:
    """The same by the reference notebook's rule: 80 %, probabilities as they come."""
    return {
        name: kind._replace(
            calibrated=kind.raw,
            predictions=ThresholdPolicy([str(i) for i in range(kind.raw.shape[1])])(
                kind.raw / kind.raw.sum(dim=1, keepdim=True)
            ),
        )
        for name, kind in found.items()
    }


def numbers(found: Mapping[str, Answers]) -> dict[str, float]:
    """Warned of each kind, and means over layouts, each layout as much as another."""
    told = {f"{name}/warned": kind.warned() for name, kind in found.items() if name != SINGLE}
    multi = {name: kind for name, kind in found.items() if name.startswith("multi/")}
    control = {name: kind for name, kind in found.items() if name.startswith("control/")}
    strange = [kind for name, kind in found.items() if name.startswith("unfamiliar/")]
    for name, layouts in (("trained", TRAINED_LAYOUTS), ("held_out", HELD_OUT_LAYOUTS)):
        for kind in ("multi", "control"):
            rates = [found[f"{kind}/{layout}"].warned() for layout in layouts]
            told[f"{kind}/{name}/warned"] = statistics.mean(rates)
    told["multi/several_items"] = statistics.mean(kind.warned(SEVERAL) for kind in multi.values())
    told["control/warned"] = statistics.mean(kind.warned() for kind in control.values())
    told["control/warned_over_single"] = told["control/warned"] - found[SINGLE].warned()
    told["control/accuracy"] = statistics.mean(
        (kind.calibrated.argmax(dim=1) == kind.labels).double().mean().item()
        for kind in control.values()
    )
    told["multi/auroc"] = metrics.auroc(
        torch.cat([1 - kind.confidence for kind in multi.values()]),
        torch.cat([1 - kind.confidence for kind in control.values()]),
    )
    told["unfamiliar/warned"] = statistics.mean(kind.warned() for kind in strange)
    single = found[SINGLE]
    told["single/ece"] = metrics.ece(single.calibrated, single.labels)
    told["single/warned"] = single.warned()
    sure = torch.tensor([not p.warning for p in single.predictions])
    right = single.calibrated.argmax(dim=1) == single.labels
    if sure.any():
        told["single/selective_accuracy"] = right[sure].double().mean().item()
    return told


def write(
    found: Mapping[str, Answers],
    reference: Mapping[str, Answers] | None,
    classifier: Classifier,
    datamodule: FashionMNISTDataModule,
    kinds: Mapping[str, MadeDataset],
    folder: Path,
) -> None:
    """Prints the table of warnings and writes it and the figures to a folder and TensorBoard."""
    rows = [
        WarningRow(
            name,
            len(kind.predictions),
            kind.warned(),
            {reason: kind.warned(reason) for reason in (SEVERAL, "ambiguous", "unfamiliar")},
            reference[name].warned() if reference else float("nan"),
        )
        for name, kind in found.items()
    ]
    write_text(folder / "warnings.md", warnings_markdown(rows))
    warnings_table(rows)
    single, test_set = found[SINGLE], datamodule.test_set
    assert test_set is not None
    sure = metrics.confidence_and_right(single.calibrated, single.labels)
    before = metrics.confidence_and_right(single.raw, single.labels)
    curves = {"this classifier": (*metrics.risk_coverage(*sure), metrics.aurc(*sure))}
    if reference:
        theirs = metrics.confidence_and_right(reference[SINGLE].raw, single.labels)
        curves["plain head"] = (*metrics.risk_coverage(*theirs), metrics.aurc(*theirs))

    def of(kind: str) -> Tensor:
        return torch.cat([k.confidence for name, k in found.items() if name.startswith(kind)])

    groups = {"right": sure[0][sure[1]], "wrong": sure[0][~sure[1]]}
    groups |= {"several items": of("multi/"), "unfamiliar": of("unfamiliar/")}
    told = [p.label for p in single.predictions]
    true = [classifier.classes[label] for label in single.labels.tolist()]
    images = test_set.split.images[test_set.indices]
    figures = {
        "reliability": reliability_diagram(before, sure),
        "risk_coverage": risk_coverage_figure(curves),
        "confidence": confidence_histograms(groups, classifier.policy.threshold),
        "mistakes": mistakes_sheet(images[: len(told)], told, sure[0], true),
        "kinds": kinds_sheet(_examples(found, kinds)),
    }
    with SummaryWriter(str(folder / "tensorboard")) as board:
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
            board.add_figure(f"report/{name}", figure)
    print(f"written: {folder}/warnings.md, {', '.join(f'{name}.png' for name in figures)}")


def _examples(
    found: Mapping[str, Answers], kinds: Mapping[str, MadeDataset]
) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Of each kind: the first images, and what was said of them."""
    examples = {}
    for name, made in kinds.items():
        images = np.stack(made.make(np.arange(min(SHOWN, len(made)))))
        told = [
            f"{WARNED} {p.reason}" if p.warning else f"{p.label} {p.confidence:.0%}"
            for p in found[name].predictions[: len(images)]
        ]
        examples[name] = (images, told)
    return examples
