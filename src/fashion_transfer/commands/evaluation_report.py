"""The report of an evaluation: the table of warnings and the figures."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.tensorboard import FileWriter

from fashion_transfer.confidence import REASONS, Prediction
from fashion_transfer.confidence.metrics import aurc, confidence_and_correct, risk_coverage
from fashion_transfer.data import ImageDataset, Split
from fashion_transfer.evaluation import Evaluated
from fashion_transfer.evaluation.sets import MULTI_ITEM, OOD, TEST
from fashion_transfer.files import write_text
from fashion_transfer.models import Classifier
from fashion_transfer.reporting import (
    WarningRow,
    confidence_histograms,
    draw_figure,
    evaluation_sets_sheet,
    mistakes_sheet,
    picture_summary,
    print_warnings,
    reliability_diagram,
    risk_coverage_figure,
    save_picture,
    warnings_markdown,
)
from fashion_transfer.reporting.image_sheets import EXAMPLES, MAX_SETS

Examples = dict[str, tuple[list[np.ndarray], list[Prediction]]]
"""Images of each evaluation set, by its name, and their predictions."""


def write_report(
    evaluated: Mapping[str, Evaluated],
    reference: Mapping[str, Evaluated] | None,
    classifier: Classifier,
    sets: Mapping[str, ImageDataset],
    folder: Path,
) -> None:
    """Prints the table of warnings, and writes it and the figures to a folder and TensorBoard.

    Args:
        evaluated: by the name of the evaluation set.
        reference: the same by the reference rule, if it was measured.
        classifier: that was evaluated.
        sets: the images, by the same names.
        folder: the run folder.
    """
    rows = warning_rows(evaluated, reference)
    write_text(folder / "warnings.md", warnings_markdown(rows))
    print_warnings(rows)
    test, dataset = evaluated[TEST], sets[TEST]
    calibrated = confidence_and_correct(test.probabilities, test.labels)
    uncalibrated = confidence_and_correct(test.uncalibrated, test.labels)
    figures = {
        "reliability": reliability_diagram(uncalibrated, calibrated),
        "risk_coverage": risk_coverage_figure(_curves(calibrated, reference)),
        "confidence": confidence_histograms(_groups(evaluated, calibrated), classifier.threshold),
        "mistakes": mistakes_sheet(
            _Rows(dataset.split),
            [prediction.label for prediction in test.predictions],
            calibrated[0],
            [classifier.class_names[label] for label in test.labels.tolist()],
        ),
    }
    examples = _examples(evaluated, sets)
    figures |= {name: evaluation_sets_sheet(of_sheet) for name, of_sheet in _sheets(examples)}
    with closing(FileWriter(str(folder / "tensorboard"))) as board:
        for name, figure in figures.items():
            # Drawn and encoded once: a `SummaryWriter` would do both again.
            picture = draw_figure(figure)
            encoded = save_picture(picture, folder / f"{name}.png")
            board.add_summary(picture_summary(f"report/{name}", picture, encoded))
    print(f"written: {folder}/warnings.md, {', '.join(f'{name}.png' for name in figures)}")


def warning_rows(
    evaluated: Mapping[str, Evaluated], reference: Mapping[str, Evaluated] | None
) -> list[WarningRow]:
    """Returns how often images of each evaluation set get a warning, the sets of a group together.

    Args:
        evaluated: by the name of the evaluation set.
        reference: the same by the reference rule, if it was measured.
    """
    groups: dict[str, list[WarningRow]] = {}
    for name, of_set in evaluated.items():
        row = WarningRow(
            name,
            len(of_set.predictions),
            of_set.warned(),
            {reason: of_set.warned(reason) for reason in REASONS},
            reference[name].warned() if reference else float("nan"),
        )
        groups.setdefault(name.partition("/")[0], []).append(row)
    return [row for rows in groups.values() for row in rows]


def _curves(
    calibrated: tuple[Tensor, Tensor], reference: Mapping[str, Evaluated] | None
) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Risk-coverage curves by classifier, from confidence and whether a prediction is correct."""
    measured = {"this classifier": calibrated}
    if reference:
        test = reference[TEST]
        measured["reference rule"] = confidence_and_correct(test.probabilities, test.labels)
    return {name: (*risk_coverage(*pair), aurc(*pair)) for name, pair in measured.items()}


def _groups(
    evaluated: Mapping[str, Evaluated], calibrated: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Confidence by group of images."""
    confidence, correct = calibrated
    groups = {"correct": confidence[correct], "wrong": confidence[~correct]}
    for title, prefix in (("multi-item composites", MULTI_ITEM), ("out-of-distribution", OOD)):
        of_sets = [s.confidence for name, s in evaluated.items() if name.startswith(f"{prefix}/")]
        if of_sets:  # a data set may have no synthetic sets
            groups[title] = torch.cat(of_sets)
    return groups


def _examples(evaluated: Mapping[str, Evaluated], sets: Mapping[str, ImageDataset]) -> Examples:
    """The first images of each synthetic set, and their predictions."""
    examples = {}
    for name, of_set in evaluated.items():
        if name != TEST:
            split = sets[name].split
            examples[name] = split.read(split.rows[:EXAMPLES]), of_set.predictions[:EXAMPLES]
    return examples


def _sheets(examples: Examples) -> Iterator[tuple[str, Examples]]:
    """The examples by sheet: those of a group together, at most `MAX_SETS` sets on one."""
    groups: dict[str, list[str]] = {}
    for name in examples:
        groups.setdefault(name.partition("/")[0], []).append(name)
    for group, names in groups.items():
        for number, start in enumerate(range(0, len(names), MAX_SETS), start=1):
            page = f"_{number}" if number > 1 else ""
            chosen = names[start : start + MAX_SETS]
            yield f"{group}{page}", {name: examples[name] for name in chosen}


class _Rows:
    """The images of a split in its order, each read when it is asked for."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.split.read(self.split.rows[row : row + 1])[0]
