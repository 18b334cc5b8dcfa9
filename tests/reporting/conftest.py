"""Predictions and answers made by hand."""

from pathlib import Path

import pytest

from fashion_transfer.confidence import Prediction
from fashion_transfer.reporting import Answer


@pytest.fixture
def answer():
    """`answer(name, warning=False, error="")`: what might have come of a file of that name."""

    def make(name: str | Path, warning: bool = False, error: str = "") -> Answer:
        confidence = 0.5 if warning else 0.9
        top = (("Coat", confidence), ("Shirt", 0.07), ("Dress", 0.03))
        told = ("ambiguous", "Only 50% sure that this is Coat.") if warning else ()
        return Answer(Path(name), Prediction("Coat", confidence, top, warning, *told), error)

    return make
