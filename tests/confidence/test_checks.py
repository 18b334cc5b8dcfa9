import math

import numpy as np
import pytest
import torch

from fashion_transfer.confidence import check_fraction
from fashion_transfer.confidence.checks import check_rows
from fashion_transfer.errors import ArgumentError


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1, 1.0, np.float64(0.3)])
def test_check_fraction_passes_numbers_from_0_to_1(value):
    check_fraction("threshold", value)


@pytest.mark.parametrize("value", [-0.1, 1.0001, 80, math.nan, math.inf, "high", None, True, False])
def test_check_fraction_rejects_everything_else(value):
    with pytest.raises(ArgumentError) as caught:
        check_fraction("threshold", value)
    assert str(caught.value) == f"threshold must be a number from 0 to 1, got {value!r}"
    assert caught.value.name == "threshold"


def test_check_rows_passes_labels_of_any_integer_type():
    for dtype in (torch.uint8, torch.int32, torch.int64):
        check_rows("logits", torch.zeros(3, 2), torch.tensor([0, 1, 1], dtype=dtype))


def test_check_rows_names_the_argument():
    with pytest.raises(ArgumentError, match="^logits must") as caught:
        check_rows("logits", torch.zeros(3), torch.zeros(3, dtype=torch.long))
    assert caught.value.name == "logits"
