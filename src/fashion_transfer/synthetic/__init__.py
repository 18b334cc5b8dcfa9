"""Synthetic images: composites, their controls, and out-of-distribution images."""

from fashion_transfer.synthetic.collages import CollageExposure, collage_split, photo_ood_split
from fashion_transfer.synthetic.composites import (
    Composites,
    TooFewImagesError,
    compose,
    composite_items,
)
from fashion_transfer.synthetic.families import FAMILIES, Family
from fashion_transfer.synthetic.images import CompositeImages, OODImages
from fashion_transfer.synthetic.layouts import (
    COLLAGE_LAYOUTS,
    HELD_OUT_COLLAGES,
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    TRAINED_COLLAGES,
    TRAINED_LAYOUTS,
    Layout,
)
from fashion_transfer.synthetic.out_of_distribution import OUT_OF_DISTRIBUTION, ood_images
from fashion_transfer.synthetic.placement import visible_fractions
from fashion_transfer.synthetic.splits import (
    Exposure,
    composite_split,
    ood_split,
)

__all__ = [
    "COLLAGE_LAYOUTS",
    "FAMILIES",
    "HELD_OUT_COLLAGES",
    "HELD_OUT_LAYOUTS",
    "LAYOUTS",
    "OUT_OF_DISTRIBUTION",
    "TRAINED_COLLAGES",
    "TRAINED_LAYOUTS",
    "CollageExposure",
    "CompositeImages",
    "Composites",
    "Exposure",
    "Family",
    "Layout",
    "OODImages",
    "TooFewImagesError",
    "collage_split",
    "compose",
    "composite_items",
    "composite_split",
    "ood_images",
    "ood_split",
    "photo_ood_split",
    "visible_fractions",
]
