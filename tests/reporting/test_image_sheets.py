"""Sheets: which images are shown, in which order, with which captions."""

import numpy as np
import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting import (
    evaluation_sets_sheet,
    label_issues_sheet,
    mistakes_sheet,
    save_figure,
)
from fashion_transfer.reporting.image_sheets import MAX_MISTAKES, views_sheet
from fashion_transfer.reporting.plotting import VERMILION


def places(figure) -> list[tuple[float, float]]:
    """Where the captions are, each under its picture."""
    return [t.get_position() for t in figure.axes[0].texts if t.get_ha() == "center"]


def pictures(figure) -> list[np.ndarray]:
    """The square above each caption: 100 x 100 of its pixels, RGB."""
    (image,) = figure.axes[0].images
    canvas, (_, right, bottom, _) = image.get_array(), image.get_extent()
    offsets = np.linspace(0.005, 0.995, 100)
    squares = []
    for x, y in places(figure):
        columns = (x - 0.5 + offsets) / right * canvas.shape[1]
        rows = (y - 1.03 + offsets) / bottom * canvas.shape[0]
        squares.append(canvas[np.ix_(rows.astype(int), columns.astype(int))])
    return squares


def shown(figure) -> list[int]:
    """The grey value in the middle of each picture."""
    return [int(square[50, 50, 0]) for square in pictures(figure)]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


# ---- mistakes


def test_mistakes_sheet_shows_mistakes_only_and_the_most_confident_first(numbered_images, tmp_path):
    predicted, true = ["Bag", "Coat", "Shirt", "Bag"], ["Bag", "Shirt", "Coat", "Dress"]
    confidence = torch.tensor([0.99, 0.6, 0.9, 0.7])
    figure = mistakes_sheet(torch.from_numpy(numbered_images(4)), predicted, confidence, true)
    assert shown(figure) == [2, 3, 1]
    captions = ["Shirt 90%\ntrue: Coat", "Bag 70%\ntrue: Dress", "Coat 60%\ntrue: Shirt"]
    assert texts(figure) == captions
    assert figure.axes[0].get_title() == "The 3 mistakes in 4 predictions"
    save_figure(figure, tmp_path / "figure.png")


def test_mistakes_sheet_shows_at_most_40_mistakes(numbered_images):
    confidence = np.linspace(0, 1, 100)
    figure = mistakes_sheet(numbered_images(100), ["Bag"] * 100, confidence, ["Coat"] * 100)
    assert shown(figure) == list(range(99, 99 - MAX_MISTAKES, -1))
    title = "The 40 most confident of 100 mistakes in 100 predictions"
    assert figure.axes[0].get_title() == title


def test_mistakes_sheet_takes_no_name_for_a_formula(numbered_images, tmp_path):
    names = ["$10_to_$20", "x^{$a$"]
    figure = mistakes_sheet(numbered_images(2), names, torch.ones(2), names[::-1], title="$x^{$")
    save_figure(figure, tmp_path / "figure.png")  # a formula that makes no sense would raise here
    assert r"\$10_to_\$20" in texts(figure)[0]


def test_mistakes_sheet_states_that_there_are_none(numbered_images, tmp_path):
    figure = mistakes_sheet(numbered_images(2), ["Bag"] * 2, torch.ones(2), ["Bag"] * 2)
    assert figure.axes[0].get_title() == "No mistakes"
    save_figure(figure, tmp_path / "figure.png")


def test_mistakes_sheet_reads_only_the_images_it_shows():
    class Images:
        read: list[int] = []

        def __len__(self):
            return 3

        def __getitem__(self, row):
            self.read.append(row)
            return np.zeros((3, 8, 6), np.uint8)

    images = Images()
    mistakes_sheet(images, ["Bag"] * 3, np.ones(3), ["Bag", "Coat", "Bag"])
    assert images.read == [1]


@pytest.mark.parametrize(
    ("images", "labels", "values", "true"), [(1, 2, 2, 2), (2, 2, 2, 3), (2, 2, 1, 2)]
)
def test_mistakes_sheet_rejects_different_lengths(numbered_images, images, labels, values, true):
    message = f"{images} images, {labels} predicted labels, {values} confidences and {true} true"
    with pytest.raises(FashionTransferError, match=message):
        mistakes_sheet(numbered_images(images), ["a"] * labels, torch.ones(values), ["b"] * true)


def test_mistakes_sheet_names_what_the_predictions_are_of(numbered_images):
    title = "2 test images"
    figure = mistakes_sheet(numbered_images(2), ["Bag"] * 2, torch.ones(2), ["Coat"] * 2, title)
    assert figure.axes[0].get_title() == "The 2 mistakes in 2 test images"


# ---- evaluation sets


def test_evaluation_sets_sheet_has_a_row_per_set(numbered_images, prediction, tmp_path):
    examples = {
        "test": (numbered_images(2), [prediction(), prediction(warning=True)]),
        "multi_item/row_of_three": (
            torch.from_numpy(numbered_images(1, 84)),
            [prediction(warning=True)],
        ),
        "out_of_distribution/none": (numbered_images(0), []),
    }
    figure = evaluation_sets_sheet(examples)
    assert shown(figure) == [0, 1, 0]
    assert texts(figure) == [
        "test images",
        "Coat 90%",
        "⚠ ambiguous",
        "multi-item composites:\nrow of three",
        "⚠ ambiguous",
        "out-of-distribution:\nnone",
    ]
    tops = [top for _, top in places(figure)]
    assert tops[0] == tops[1] < tops[2]
    orange = [t.get_text() for t in figure.axes[0].texts if t.get_color() == VERMILION]
    assert orange == ["⚠ ambiguous"] * 2
    save_figure(figure, tmp_path / "figure.png")


def test_evaluation_sets_sheet_of_many_sets_has_two_blocks(numbered_images, prediction):
    names = [f"control/layout_{number}" for number in range(7)]
    examples = {name: (numbered_images(2), [prediction()] * 2) for name in names}
    figure = evaluation_sets_sheet(examples)
    figure.draw_without_rendering()
    rows = [text for text in figure.axes[0].texts if text.get_text().startswith("controls")]
    assert [text.get_text()[-1] for text in rows] == list("0123456")
    boxes = [text.get_window_extent() for text in rows]
    assert [box.y0 for box in boxes[:3]] == [box.y0 for box in boxes[4:]]
    assert boxes[3].x1 < boxes[4].x0
    assert shown(figure) == [0, 1] * 7
    assert len(set(places(figure))) == 14


def test_views_sheet_has_a_named_row_per_view(numbered_images):
    figure = views_sheet({"training images": numbered_images(2), "composites": numbered_images(1)})
    assert shown(figure) == [0, 1, 0]
    assert texts(figure) == ["training images", "composites"]


def test_evaluation_sets_sheet_preserves_the_aspect_of_colour_photos(prediction):
    red = np.array([200, 10, 20], np.uint8)[:, None, None]
    photos = [np.broadcast_to(red, (3, 40, 20)), np.broadcast_to(red, (3, 300, 1200))]
    figure = evaluation_sets_sheet({"test": (photos, [prediction()] * 2)})
    for square, height, width in zip(pictures(figure), (100, 25), (50, 100), strict=True):
        of_photo = (square == red[:, 0, 0]).all(axis=2)
        assert (square[~of_photo] == 255).all()
        assert of_photo.any(axis=1).sum() == pytest.approx(height, abs=2)
        assert of_photo.any(axis=0).sum() == pytest.approx(width, abs=2)


def test_evaluation_sets_sheet_has_room_for_long_names_and_captions(numbered_images, prediction):
    long = prediction()._replace(label="A class with a name of several words")
    figure = evaluation_sets_sheet(
        {
            "multi_item/a_layout_whose_name_takes_several_lines": (numbered_images(4), [long] * 4),
            "test": (numbered_images(1), [long]),
        }
    )
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.width
    captions = boxes[1:5]
    for one, other in zip(captions, captions[1:], strict=False):
        assert one.x1 <= other.x0


def test_evaluation_sets_sheet_needs_a_prediction_per_image(numbered_images, prediction):
    with pytest.raises(FashionTransferError, match="test has 3 images and 2 predictions"):
        evaluation_sets_sheet({"test": (numbered_images(3), [prediction()] * 2)})


# ---- probably mislabelled images


def test_label_issues_sheet_shows_images_in_their_order_with_both_labels(numbered_images, tmp_path):
    labels, suggested = ["shirt", "skirt"], ["dress", "hat"]
    values = np.array([0.931, 0.5])
    figure = label_issues_sheet(numbered_images(2), labels, suggested, values, total=2)
    assert shown(figure) == [0, 1]
    assert texts(figure) == ["label: shirt\ndress? 93%", "label: skirt\nhat? 50%"]
    assert figure.axes[0].get_title() == "The 2 probably mislabelled images"
    save_figure(figure, tmp_path / "figure.png")


def test_label_issues_sheet_states_of_how_many_it_shows_the_clearest(numbered_images):
    names = ["shirt"] * 24
    figure = label_issues_sheet(numbered_images(24), names, names, np.ones(24), total=1234)
    assert len(shown(figure)) == 24
    title = "The 24 clearest of 1,234 probably mislabelled images"
    assert figure.axes[0].get_title() == title


def test_label_issues_sheet_of_different_numbers_is_refused(numbered_images):
    with pytest.raises(FashionTransferError, match="3 images, 2 labels, 3 suggested labels and 3"):
        label_issues_sheet(numbered_images(3), ["a"] * 2, ["b"] * 3, np.ones(3), total=3)
