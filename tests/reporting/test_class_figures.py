"""Figures about classes show the counts they are given."""

import numpy as np
import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting.class_figures import class_bars, confusion_matrix

NAMES = ("Coat", "Bag", "Dress")
LABELS = torch.tensor([0, 0, 0, 0, 1, 1])
PREDICTED = np.array([0, 0, 0, 1, 1, 2])


def test_confusion_matrix_has_a_count_per_cell_and_the_accuracy(assert_texts_fit):
    figure = confusion_matrix(LABELS, PREDICTED, NAMES, "6 test images")
    axis = figure.axes[0]
    cells = {text.get_position(): text.get_text() for text in axis.texts}
    assert cells == {(0, 0): "3", (1, 0): "1", (1, 1): "1", (2, 1): "1"}
    assert axis.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 0]]
    assert axis.get_title() == "6 test images: accuracy 66.67%"
    assert [label.get_text() for label in axis.get_yticklabels()] == list(NAMES)
    assert_texts_fit(figure)


def test_class_bars_show_recall_and_precision_the_lowest_recall_first(assert_texts_fit):
    figure = class_bars(LABELS, PREDICTED, NAMES, "6 test images")
    axis = figure.axes[0]
    recall, precision = ([bar.get_width() for bar in bars] for bars in axis.containers)
    # There is no dress among the images, so there is nothing to find.
    assert [label.get_text() for label in axis.get_yticklabels()] == ["Bag (2)", "Coat (4)"]
    assert recall == [0.5, 0.75]
    assert precision == [0.5, 1]
    assert_texts_fit(figure)


@pytest.mark.parametrize("draw", [confusion_matrix, class_bars])
def test_class_figures_take_no_name_for_a_formula(draw):
    names = ("$10_to_$20", "a$$b", r"\$x^{$")
    figure = draw(LABELS, np.array([0, 0, 1, 1, 1, 2]), names)
    figure.draw_without_rendering()  # a formula that makes no sense would raise here
    drawn = {label.get_text().partition(" (")[0] for label in figure.axes[0].get_yticklabels()}
    assert r"\$10_to_\$20" in drawn


@pytest.mark.parametrize("draw", [confusion_matrix, class_bars])
def test_class_figures_refuse_no_images_and_different_numbers(draw):
    none = torch.zeros(0, dtype=torch.int64)
    for labels, predicted in ((none, none), (LABELS, PREDICTED[:3])):
        with pytest.raises(
            FashionTransferError, match=f"{len(labels)} labels and {len(predicted)}"
        ):
            draw(labels, predicted, NAMES)


def test_confusion_matrix_of_many_classes_has_colours_alone():
    labels = np.arange(80)
    axis = confusion_matrix(labels, labels, [f"class {number}" for number in labels]).axes[0]
    assert not axis.texts
    assert axis.get_title() == "accuracy 100.00%"
