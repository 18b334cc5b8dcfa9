"""No figure is larger than a screen."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.reporting import (
    confidence_histograms,
    evaluation_sets_sheet,
    label_issues_sheet,
    mistakes_sheet,
    reliability_diagram,
    risk_coverage_figure,
)
from fashion_transfer.reporting.class_figures import class_bars, confusion_matrix
from fashion_transfer.reporting.image_sheets import EXAMPLES, MAX_SETS, views_sheet
from fashion_transfer.reporting.plotting import DPI

WIDTH, HEIGHT = 1400, 1000

LABELS = np.arange(200) % 80
NAMES = [f"a class with a long name, {number}" for number in range(80)]
CONFIDENCE, CORRECT = torch.linspace(0, 1, 200), torch.arange(200) % 2 == 0
PICTURES = np.zeros((200, 28, 28), np.uint8)

FIGURES = {
    "reliability": lambda _: reliability_diagram(*2 * [(CONFIDENCE, CORRECT)], "200 test images"),
    "risk_coverage": lambda _: risk_coverage_figure({"ours": (CONFIDENCE, CONFIDENCE, 0.5)}),
    "confidence": lambda _: confidence_histograms(dict.fromkeys("abcd", CONFIDENCE), 0.8),
    "confusion, 10 classes": lambda _: confusion_matrix(LABELS % 10, LABELS % 10, CLASS_NAMES),
    "confusion, 80 classes": lambda _: confusion_matrix(LABELS, LABELS, NAMES),
    "classes, 10": lambda _: class_bars(LABELS % 10, LABELS % 10, CLASS_NAMES),
    "classes, 80": lambda _: class_bars(LABELS, LABELS, NAMES),
    "mistakes": lambda _: mistakes_sheet(
        PICTURES, ["a trench coat"] * 200, CONFIDENCE, ["a rain coat"] * 200
    ),
    "label issues": lambda _: label_issues_sheet(
        PICTURES[:24], NAMES[:24], NAMES[:24], CONFIDENCE[:24], 1000
    ),
    "views": lambda _: views_sheet({f"training images, view {v}": PICTURES[:8] for v in range(5)}),
    "evaluation sets": lambda prediction: evaluation_sets_sheet(
        {
            f"multi_item/a_long_name_of_layout_{number}": (
                PICTURES[:EXAMPLES],
                [prediction(warning=True)] * EXAMPLES,
            )
            for number in range(MAX_SETS)
        }
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_fits_on_a_screen(name, prediction):
    buffer = io.BytesIO()
    FIGURES[name](prediction).savefig(buffer, dpi=DPI, format="png")
    width, height = Image.open(buffer).size
    assert width <= WIDTH
    assert height <= HEIGHT
