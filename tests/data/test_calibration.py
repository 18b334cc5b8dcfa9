"""The images that int8 is calibrated on: as many of each class, the same for a larger subset."""

import numpy as np
import pytest
import torch

from fashion_transfer.data.calibration import calibration_images


@pytest.mark.parametrize(("count", "expected"), [(20, 20), (25, 25), (1000, 80)])
def test_images_are_the_clean_ones_as_many_of_each_class(datamodule, count, expected):
    module = datamodule(images_per_class=8)
    images = calibration_images(module, count)
    assert images.shape == (expected, 1, module.image_size, module.image_size)
    assert images.dtype == torch.float32
    assert module.train_set is None
    module.setup("fit")
    batch = module.train_set.__getitems__(list(range(80)))
    chosen = [next(i for i in range(80) if torch.equal(batch.images[i], x)) for x in images]
    counts = np.bincount(batch.labels[chosen], minlength=10)
    assert counts.max() - counts.min() <= 1


def test_a_larger_subset_begins_with_the_same_images(datamodule):
    few, more = (datamodule(images_per_class=size) for size in (3, 8))
    assert torch.equal(calibration_images(few, 30), calibration_images(more, 30))
