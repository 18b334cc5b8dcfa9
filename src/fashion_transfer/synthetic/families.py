"""Which synthetic images a data set has: its preparation decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fashion_transfer.data.batch import Split
from fashion_transfer.data.preparation import FashionMNISTPreparation, PhotoPreparation
from fashion_transfer.synthetic.collages import collage_split, photo_ood_split
from fashion_transfer.synthetic.layouts import (
    HELD_OUT_COLLAGES,
    HELD_OUT_LAYOUTS,
    TRAINED_COLLAGES,
    TRAINED_LAYOUTS,
)
from fashion_transfer.synthetic.splits import composite_split, ood_split


@dataclass(frozen=True)
class Family:
    """The synthetic images of the data sets with one preparation.

    Attributes:
        trained: names of the layouts that a classifier is trained on.
        held_out: names of the layouts for evaluation only.
        composites: gives composites, or their controls, of (source, layouts, count, control).
        ood: gives an out-of-distribution set of (name, source, count).
    """

    trained: tuple[str, ...]
    held_out: tuple[str, ...]
    composites: Callable[[Split, Sequence[str], int, bool], Split]
    ood: Callable[[str, Split, int], Split]

    @property
    def layouts(self) -> tuple[str, ...]:
        """All layouts; no other family has one of these names."""
        return self.trained + self.held_out


def _whole_split(split: Split, layouts: Sequence[str], count: int, control: bool) -> Split:
    return composite_split(split, None, layouts, count, control)


FAMILIES: dict[str, Family] = {
    FashionMNISTPreparation.name: Family(
        TRAINED_LAYOUTS, HELD_OUT_LAYOUTS, _whole_split, ood_split
    ),
    PhotoPreparation.name: Family(
        TRAINED_COLLAGES, HELD_OUT_COLLAGES, collage_split, photo_ood_split
    ),
}
"""The synthetic images by the name of the preparation; other preparations have none."""
