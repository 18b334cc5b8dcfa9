"""The sets of images that warnings are measured on, all from the test split."""

from fashion_transfer.data import ClassificationDataModule, ImageDataset
from fashion_transfer.data.preparation import FashionMNISTPreparation
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic import LAYOUTS, OUT_OF_DISTRIBUTION, composite_split, ood_split

TEST = "test"
MULTI_ITEM, CONTROL, OOD = "multi_item", "control", "out_of_distribution"
"""First parts of the names of synthetic sets; the second is a layout or an OOD set."""


def evaluation_sets(
    datamodule: ClassificationDataModule, images_per_set: int
) -> dict[str, ImageDataset]:
    """The evaluation sets of a data set, by name; features are computed where they are missing.

    `test` is the test split; `multi_item/LAYOUT` are composites of test images, `control/LAYOUT`
    one item of each as it lies there, `out_of_distribution/NAME` shows none of the classes.
    Composites need items on a black background, so only a data set with the preparation
    `fashion_mnist` has the synthetic sets.

    Args:
        datamodule: after `setup("test")`.
        images_per_set: size of each synthetic set; 0: the test split alone.

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
        raise FashionTransferError("this data set has no test split: there is nothing to evaluate")
    sets = {TEST: test_set}
    if not images_per_set or datamodule.preparation != FashionMNISTPreparation.name:
        return sets
    split = test_set.split
    for layout in LAYOUTS:
        for name, control in ((MULTI_ITEM, False), (CONTROL, True)):
            images = composite_split(split, None, [layout], images_per_set, control)
            sets[f"{name}/{layout}"] = datamodule.make_dataset(images)
    for name in OUT_OF_DISTRIBUTION:
        sets[f"{OOD}/{name}"] = datamodule.make_dataset(ood_split(name, split, images_per_set))
    return sets
