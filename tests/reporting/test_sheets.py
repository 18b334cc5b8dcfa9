"""Sheets: which images are shown, in which order, with what under them."""

import numpy as np
import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting import sheets
from fashion_transfer.reporting.confidence import VERMILION, save_figure
from fashion_transfer.reporting.sheets import kinds_sheet, mistakes_sheet


def pictures(count: int, size: int = 28) -> np.ndarray:
    """Each of one value: its number."""
    return np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((size, size), np.uint8)


def shown(figure) -> list[int]:
    return [int(image.get_array()[0, 0]) for image in figure.axes[0].images]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_mistakes_come_most_confident_first_and_right_answers_not_at_all(tmp_path):
    told, true = ["Bag", "Coat", "Shirt", "Bag"], ["Bag", "Shirt", "Coat", "Dress"]
    confidence = torch.tensor([0.99, 0.6, 0.9, 0.7])
    figure = mistakes_sheet(torch.from_numpy(pictures(4)), told, confidence, true)
    assert shown(figure) == [2, 3, 1]
    assert texts(figure) == ["Shirt 90%\nis Coat", "Bag 70%\nis Dress", "Coat 60%\nis Shirt"]
    assert figure.axes[0].get_title() == "The 3 mistakes in 4 answers"
    save_figure(figure, tmp_path / "it.png")


def test_only_the_first_of_many_mistakes_are_shown():
    confidence = np.linspace(0, 1, 100)
    figure = mistakes_sheet(pictures(100), ["Bag"] * 100, confidence, ["Coat"] * 100)
    assert shown(figure) == list(range(99, 99 - sheets.MOST, -1))
    assert figure.axes[0].get_title() == "The 40 most confident of 100 mistakes in 100 answers"


def test_where_nothing_is_wrong_the_sheet_says_so(tmp_path):
    figure = mistakes_sheet(pictures(2), ["Bag"] * 2, torch.ones(2), ["Bag"] * 2)
    assert figure.axes[0].get_title() == "No mistakes"
    save_figure(figure, tmp_path / "it.png")


@pytest.mark.parametrize(("images", "told", "sure", "true"), [(1, 2, 2, 2), (2, 2, 2, 3)])
def test_mistakes_of_different_lengths_are_refused(images, told, sure, true):
    with pytest.raises(FashionTransferError, match=f"{images} images, {told} and {true} labels"):
        mistakes_sheet(pictures(images), ["a"] * told, torch.ones(sure), ["b"] * true)


def test_every_kind_has_its_row_whatever_its_canvas(tmp_path):
    kinds = {
        "single": (pictures(2), ["Bag 97%", "⚠ ambiguous\nShirt 45%"]),
        "row_of_three": (torch.from_numpy(pictures(1, 84)), ["⚠ several items\nCoat, Bag"]),
        "none": (pictures(0), []),
    }
    figure = kinds_sheet(kinds)
    assert shown(figure) == [0, 1, 0]
    assert texts(figure)[:2] == ["single", "Bag 97%"]
    assert "row of three" in texts(figure)
    tops = [image.get_extent()[3] for image in figure.axes[0].images]
    assert tops[0] == tops[1] < tops[2]
    orange = [t.get_text() for t in figure.axes[0].texts if t.get_color() == VERMILION]
    assert orange == ["⚠ ambiguous\nShirt 45%", "⚠ several items\nCoat, Bag"]
    save_figure(figure, tmp_path / "it.png")


def test_all_that_is_drawn_is_within_the_picture():
    name = "a_kind_whose_name_takes_several_lines_control"
    figure = kinds_sheet({name: (pictures(4), ["⚠ ambiguous\nShirt 45%,\nT-shirt/top 40%"] * 4)})
    figure.draw_without_rendering()
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width


def test_a_caption_is_needed_for_every_image():
    with pytest.raises(FashionTransferError, match="noise has 3 images and 2 captions"):
        kinds_sheet({"noise": (pictures(3), ["a", "b"])})
