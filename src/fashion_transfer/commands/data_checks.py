"""Checks of a data set of image files: near-duplicates across splits, and wrong labels.

They only report: nothing is trained on, chosen or removed by what they name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fashion_transfer.data import Batch, ClassificationDataModule, Split
from fashion_transfer.data.datamodule import SplitName
from fashion_transfer.evaluation import (
    LabelIssue,
    NearDuplicate,
    label_issues,
    near_duplicate_photos,
    principal_components,
)
from fashion_transfer.files import write_csv
from fashion_transfer.models import Classifier
from fashion_transfer.reporting import label_issues_sheet, save_figure
from fashion_transfer.reporting.tables import printable

NEAR_DUPLICATES, LABEL_ISSUES = "near_duplicates", "label_issues"
"""Names of the files, without their endings."""

SPLITS: dict[SplitName, str] = {"train": "training", "val": "validation", "test": "test"}
"""Names of the splits for people."""

ON_SHEET, PRINTED = 24, 3
"""Images on the sheet, and in the printed line."""


class _Photo(NamedTuple):
    """An image file, its split and its label."""

    path: Path
    split: str
    label: str

    def __str__(self) -> str:
        return f"{self.split} {printable(Path(self.path.parent.name, self.path.name))}"


def can_check(datamodule: ClassificationDataModule) -> bool:
    """Whether the images of a data set, after `setup("test")`, are files that can be named."""
    test_set = datamodule.test_set
    return test_set is not None and hasattr(test_set.split.images, "path")


def check_data(
    classifier: Classifier, datamodule: ClassificationDataModule, folder: Path
) -> dict[str, int]:
    """Prints and writes near-duplicates across splits, and photos that are probably mislabelled.

    Args:
        classifier: whose backbone gives the features.
        datamodule: with an extractor, for which `can_check` holds.
        folder: the run folder, for the two tables and the sheet.

    Returns:
        How many there are of both, by the names of metrics.
    """
    loaded = ((title, datamodule.load_split(name)) for name, title in SPLITS.items())
    splits = {title: split for title, split in loaded if split is not None}
    features = [_features(classifier, datamodule, split) for split in splits.values()]
    components = principal_components(np.concatenate(features))
    sizes = [len(split) for split in splits.values()]
    photos = _Photos(splits, datamodule.class_names)
    near = near_duplicate_photos(components, np.repeat(range(len(sizes)), sizes), photos.read)
    _report_near_duplicates(near, photos, folder)
    issues = label_issues(components, np.concatenate([s.labels for s in splits.values()]))
    _report_label_issues(issues, photos, datamodule.class_names, folder)
    return {f"data/{NEAR_DUPLICATES}": len(near), f"data/{LABEL_ISSUES}": len(issues)}


class _Photos:
    """The photos of all splits, by their position among all."""

    def __init__(self, splits: dict[str, Split], class_names: Sequence[str]) -> None:
        self.class_names = class_names
        self.places = [
            (title, split, number)
            for title, split in splits.items()
            for number in range(len(split))
        ]

    def __getitem__(self, position: int) -> _Photo:
        title, split, number = self.places[position]
        images: Any = split.images
        label = self.class_names[split.labels[number]]
        return _Photo(images.path(split.rows[number]), title, label)

    def read(self, positions: Sequence[int]) -> list[np.ndarray]:
        """Photos by position, each uint8, (C, h, w)."""
        places = (self.places[position] for position in positions)
        return [split.read(split.rows[number : number + 1])[0] for _, split, number in places]


def _features(
    classifier: Classifier, datamodule: ClassificationDataModule, split: Split
) -> np.ndarray:
    """Features of the clean images of a split, all from the frozen backbone: float32, (N, D)."""
    loader = datamodule.dataloader(*datamodule.make_datasets([split]))
    return torch.cat([_frozen_features(classifier, batch) for batch in loader]).numpy()


def _frozen_features(classifier: Classifier, batch: Batch) -> Tensor:
    if batch.features is not None:
        return batch.features
    # Trained stages have learnt the labels, the wrong ones, too: their input has not.
    assert batch.maps is not None, "the features are cached"
    assert classifier.stages is not None, "maps are for trainable stages"
    pooled, maps = batch.maps.tensor_split([classifier.stages.pooled_width], dim=1)
    channels = classifier.stages.channels
    return torch.cat([pooled, maps.reshape(len(maps), channels, -1).mean(dim=2)], dim=1)


def _report_near_duplicates(near: Sequence[NearDuplicate], photos: _Photos, folder: Path) -> None:
    header = ("path", "split", "label", "other path", "other split", "other label", "similarity")
    rows = [(*photos[a], *photos[b], f"{similarity:.4f}") for a, b, similarity in near]
    path = folder / f"{NEAR_DUPLICATES}.csv"
    write_csv(path, header, rows)
    examples = [f"{photos[a]} of {photos[b]}" for a, b, _ in near[:PRINTED]]
    _print("near-duplicates across splits", len(near), examples, path)


def _report_label_issues(
    issues: Sequence[LabelIssue], photos: _Photos, class_names: Sequence[str], folder: Path
) -> None:
    header = ("path", "split", "label", "suggested label", "probability")
    rows = [(*photos[i], class_names[label], f"{value:.4f}") for i, label, value in issues]
    path = folder / f"{LABEL_ISSUES}.csv"
    write_csv(path, header, rows)
    shown = issues[:ON_SHEET]
    if shown:
        sheet = label_issues_sheet(
            photos.read([issue.position for issue in shown]),
            [photos[issue.position].label for issue in shown],
            [class_names[issue.suggested] for issue in shown],
            np.array([issue.probability for issue in shown]),
            len(issues),
        )
        save_figure(sheet, folder / f"{LABEL_ISSUES}.png")
    examples = [f"{photos[i]} ({class_names[label]}?)" for i, label, _ in issues[:PRINTED]]
    _print("probably mislabelled", len(issues), examples, path.with_suffix(".png"))


def _print(title: str, count: int, examples: Sequence[str], path: Path) -> None:
    if not count:
        print(f"{title}: no photo")
        return
    photos = "1 photo" if count == 1 else f"{count:,} photos"
    more = ", ..." if count > len(examples) else ""
    print(f"{title}: {photos} (see {path}): {', '.join(examples)}{more}")
