"""The sets of images that warnings are measured on, all from the test split."""

import logging
from dataclasses import replace

from fashion_transfer.data import ClassificationDataModule, ImageDataset, Split
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic import FAMILIES, OUT_OF_DISTRIBUTION, TooFewImagesError

TEST = "test"
MULTI_ITEM, CONTROL, OOD = "multi_item", "control", "out_of_distribution"
"""First parts of the names of synthetic sets; the second is a layout or an OOD set."""

MNIST = f"{OOD}/mnist"
"""The one OOD set of files that not every machine has."""

log = logging.getLogger(__name__)


def evaluation_sets(
    datamodule: ClassificationDataModule, images_per_set: int, mnist: Split | None = None
) -> dict[str, ImageDataset]:
    """The evaluation sets of a data set, by name; features are computed where they are missing.

    `test` is the test split; `multi_item/LAYOUT` are composites of test images, `control/LAYOUT`
    one item of each as it lies there, `out_of_distribution/NAME` shows none of the classes.
    The preparation of the data set decides which layouts there are (see `synthetic.FAMILIES`). A
    layout that needs more images than the test split has is left out, and one log line says so.

    Args:
        datamodule: after `setup("test")`.
        images_per_set: size of each synthetic set, at most that of the test split; 0: only the
            latter.
        mnist: the MNIST digits, one more OOD set; None: without it.

    Raises:
        ArgumentError: the size is not possible.
        FashionTransferError: the data set has no test split, or its images cannot be composed.
    """
    if not isinstance(images_per_set, int) or images_per_set < 0:
        raise ArgumentError(
            "images_per_set", f"must be a whole number from 0, got {images_per_set!r}"
        )
    test_set = datamodule.test_set
    if test_set is None:
        raise FashionTransferError(
            "this data set has no test split, so there is nothing to evaluate: hold images out for "
            "it, or see val/accuracy in the run's metrics.json"
        )
    family = FAMILIES.get(datamodule.preparation)
    if not images_per_set or family is None:
        return {TEST: test_set}
    split, size = test_set.split, min(images_per_set, len(test_set))
    synthetic: dict[str, Split] = {}
    missing = []
    for layout in family.layouts:
        try:
            splits = [family.composites(split, [layout], size, c) for c in (False, True)]
        except TooFewImagesError:
            missing.append(layout)
            continue
        for name, images in zip((MULTI_ITEM, CONTROL), splits, strict=True):
            synthetic[f"{name}/{layout}"] = images
    if missing:
        log.warning("left out, as there are too few test images: %s", ", ".join(missing))
    for name in OUT_OF_DISTRIBUTION:
        synthetic[f"{OOD}/{name}"] = family.ood(name, split, size)
    if mnist is not None:
        rows = slice(min(size, len(mnist)))
        synthetic[MNIST] = replace(mnist, labels=mnist.labels[rows], rows=mnist.rows[rows])
    datasets = datamodule.make_datasets(list(synthetic.values()))
    return {TEST: test_set, **dict(zip(synthetic, datasets, strict=True))}
