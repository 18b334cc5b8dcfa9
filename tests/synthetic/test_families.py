"""Which synthetic images a data set has."""

import numpy as np
import pytest

from fashion_transfer.data.batch import Split
from fashion_transfer.data.preparation import PREPARATIONS
from fashion_transfer.synthetic import COLLAGE_LAYOUTS, FAMILIES, LAYOUTS
from fashion_transfer.synthetic.out_of_distribution import OUT_OF_DISTRIBUTION


def test_every_preparation_has_a_family_with_layouts_of_its_own():
    assert FAMILIES.keys() == PREPARATIONS.keys()
    assert FAMILIES["fashion_mnist"].layouts == tuple(LAYOUTS)
    assert FAMILIES["photo"].layouts == tuple(COLLAGE_LAYOUTS)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_makes_composites_controls_and_ood_images(name, items, labels, photo_split):
    family, source = FAMILIES[name], photo_split(4, 4)
    if name == "fashion_mnist":
        source = Split("images", items[:, None], labels, "fingerprint")
    splits = [family.composites(source, [family.held_out[0]], 2, c) for c in (False, True)]
    splits += [family.ood(ood, source, 2) for ood in OUT_OF_DISTRIBUTION]
    for split in splits:
        images = [PREPARATIONS[name](image) for image in split.read(split.rows)]
        assert {len(image) for image in images} == {1 if name == "fashion_mnist" else 3}
        assert np.ptp(images[0]) > 0
    assert splits[0].labels.tolist() == [-1, -1]
    assert min(splits[1].labels) >= 0
