"""The sets of pictures that `make uploads` measures, prepared once, and their metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fashion_transfer.benchmarks.bootstrap import Values
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.benchmarks.phone_photos import SHOES, PhonePhoto, with_class
from fashion_transfer.benchmarks.product_pictures import (
    GROUNDS,
    CutOut,
    Mask,
    cut_out,
    draw_pairs,
    product_picture,
)
from fashion_transfer.confidence import Prediction, metrics
from fashion_transfer.confidence.decision import MULTI_ITEM
from fashion_transfer.data import Preparation, read_image
from fashion_transfer.data.preparation import Prepared
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import Classifier

PHOTOS, OOD, PRODUCTS, PAIRS = "photos", "out_of_distribution", "product_pictures", "pairs"
"""Sets of a half: photos of an item with a class, photos of the others, what was made of them."""

PAIR_COUNT = 200

BATCH = 16
"""Pictures in one call of the classifier."""

EXAMPLES = 12
"""Pictures of a set that are kept for a sheet."""


@dataclass(frozen=True)
class UploadSet:
    """N pictures, prepared.

    Attributes:
        prepared: N.
        accepted: for each the classes that count as correct; none where a warning does.
        examples: some of the pictures as they were, by position.
    """

    prepared: list[Prepared]
    accepted: list[tuple[str, ...]]
    examples: dict[int, np.ndarray]


def half_sets(
    photos: Sequence[PhonePhoto], preparation: Preparation, mask: Mask
) -> dict[str, UploadSet]:
    """Returns the sets of one half by name; those without a picture are left out.

    Args:
        photos: of the half.
        preparation: of the classifiers.
        mask: cuts the items out for product pictures.

    Raises:
        FashionTransferError: a photo cannot be read, or no item can be cut out.
    """
    known = with_class(photos)
    others = [photo for photo in photos if not photo.accepted]
    items = _cut_outs([photo for photo in known if photo.folder != SHOES], mask)
    labels = [photo.folder for photo, _ in items]
    grounds = list(GROUNDS)
    pairs = [
        ([items[first][1], items[second][1]], grounds[number % len(grounds)])
        for number, (first, second) in enumerate(draw_pairs(labels, PAIR_COUNT))
    ]
    sets = {
        PHOTOS: _prepare(
            (read_image(photo.path) for photo in known), [p.accepted for p in known], preparation
        ),
        OOD: _prepare(
            (read_image(photo.path) for photo in others), [p.accepted for p in others], preparation
        ),
        PRODUCTS: _prepare(
            (product_picture([item], ground) for _, item in items for ground in grounds),
            [photo.accepted for photo, _ in items for _ in grounds],
            preparation,
        ),
        PAIRS: _prepare((product_picture(*pair) for pair in pairs), [()] * len(pairs), preparation),
    }
    sets = {name: of_set for name, of_set in sets.items() if of_set.prepared}
    for name, of_set in sets.items():
        treatments = Counter(prepared.treatment for prepared in of_set.prepared)
        counts = ", ".join(f"{treatment}: {count}" for treatment, count in treatments.items())
        log_progress(f"{name}: {len(of_set.prepared)} ({counts})")
    return sets


def _cut_outs(photos: Sequence[PhonePhoto], mask: Mask) -> list[tuple[PhonePhoto, CutOut]]:
    cut = [(photo, cut_out(read_image(photo.path), mask)) for photo in photos]
    items = [(photo, item) for photo, item in cut if item is not None]
    if len(items) < len(photos):
        log_progress(f"nothing salient in {len(photos) - len(items)} of {len(photos)} photos")
    if photos and not items:
        raise FashionTransferError("no item could be cut out: run `make cutout`")
    return items


def _prepare(
    images: Iterable[np.ndarray], accepted: Sequence[tuple[str, ...]], preparation: Preparation
) -> UploadSet:
    shown = set(np.linspace(0, len(accepted) - 1, EXAMPLES).astype(int).tolist())
    prepared, examples = [], {}
    for position, image in enumerate(images):
        prepared.append(preparation.prepare(image))
        if position in shown:
            examples[position] = image
    return UploadSet(prepared, list(accepted), examples)


def predict(classifiers: Sequence[Classifier], of_set: UploadSet) -> list[list[Prediction]]:
    """Returns the prediction of each classifier for each picture of a set.

    Args:
        classifiers: on the same frozen backbone, which sees every picture once.
        of_set: the pictures.
    """
    predictions: list[list[Prediction]] = [[] for _ in classifiers]
    for start in range(0, len(of_set.prepared), BATCH):
        batch = of_set.prepared[start : start + BATCH]
        extracted = classifiers[0].extract(batch)
        for of_classifier, classifier in zip(predictions, classifiers, strict=True):
            of_classifier += classifier.predict_prepared(batch, extracted)
    return predictions


def as_values(name: str, of_set: UploadSet, predictions: Sequence[Prediction]) -> Values:
    """Returns what was measured of each picture of a set: bool, (N,).

    Product pictures are one row per photo and one column per ground, (N, 6): a resample has a
    photo on all grounds or on none.
    """
    values = {
        "correct": [p.label in a for p, a in zip(predictions, of_set.accepted, strict=True)],
        "warned": [p.warning for p in predictions],
        "reason": [p.reason == MULTI_ITEM for p in predictions],
    }
    shape = (-1, len(GROUNDS)) if name == PRODUCTS else (-1,)
    return {name: np.array(value, bool).reshape(shape) for name, value in values.items()}


def upload_metrics(sampled: Mapping[str, Values]) -> dict[str, float]:
    """Returns the metrics of one seed on the sets of a half, or on a resample of them."""
    measured: dict[str, float] = {}
    for name in (PHOTOS, PRODUCTS):
        if name in sampled:
            correct, accepted = sampled[name]["correct"], ~sampled[name]["warned"]
            measured[f"{name}/accuracy"] = float(correct.mean())
            measured[f"{name}/not_warned"] = float(accepted.mean())
            measured[f"{name}/selective_accuracy"] = metrics.selective_accuracy(
                *(torch.from_numpy(values.flatten()) for values in (correct, accepted))
            )
    if PRODUCTS in sampled:
        per_ground = sampled[PRODUCTS]["correct"].mean(axis=0)
        for ground, accuracy in zip(GROUNDS, per_ground, strict=True):
            measured[f"{PRODUCTS}/{ground.replace(' ', '_')}/accuracy"] = float(accuracy)
    for name in (OOD, PAIRS):
        if name in sampled:
            measured[f"{name}/warned"] = float(sampled[name]["warned"].mean())
    if PAIRS in sampled:
        measured[f"{PAIRS}/reason_multi_item"] = float(sampled[PAIRS]["reason"].mean())
    return measured
