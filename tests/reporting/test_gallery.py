"""The gallery of predictions."""

import matplotlib.colors
import numpy as np
import pytest

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.reporting import gallery, prediction_gallery, save_figure


def read_grey(path) -> np.ndarray:
    return np.full((1, 28, 28), 128, np.uint8)


def read_missing(path) -> np.ndarray:
    raise FashionTransferError(f"{path}: no such file")


def outlines(figure) -> list[str]:
    """The colour of the outline of each image that is drawn."""
    return [
        matplotlib.colors.to_hex(axis.spines["left"].get_edgecolor())
        for axis in figure.axes
        if axis.axison
    ]


def notes(figure) -> list[list[str]]:
    return [axis.get_xlabel().split("\n") for axis in figure.axes if axis.axison]


@pytest.mark.parametrize(
    ("case", "color", "title"),
    [
        ({}, gallery.ACCEPTED_COLOR, "Coat  90%"),
        ({"warning": True}, gallery.WARNING_COLOR, "Coat  50%"),
        ({"error": "no such file"}, gallery.UNREAD_COLOR, "not read"),
    ],
    ids=["accepted", "warning", "unread"],
)
def test_outline_and_title_show_the_outcome(image_prediction, tmp_path, case, color, title):
    figure = prediction_gallery([image_prediction("coat.png", **case)], read_grey)
    assert outlines(figure) == [color]
    assert figure.axes[0].get_title() == title
    assert notes(figure)[0][0] == "coat.png"
    save_figure(figure, tmp_path / "gallery.png", dpi=100)


def test_images_of_every_size_are_drawn_side_by_side(image_prediction):
    sizes = iter([(1, 28, 28), (3, 1500, 2000), (3, 2, 300), (1, 1, 1)])
    images = [image_prediction(f"{number}.png") for number in range(4)]
    figure = prediction_gallery(images, lambda path: np.zeros(next(sizes), np.uint8))
    one = prediction_gallery(images[:1], read_grey)
    assert figure.get_size_inches().tolist() == pytest.approx(
        [4 * one.get_size_inches()[0], one.get_size_inches()[1]]
    )
    assert [len(axis.images) for axis in figure.axes] == [1] * 4


@pytest.mark.parametrize(
    "name", ["$x_1$ $.png", "a_b^c{d}\\frac.png", "IMG (1).png", "Müller's, so.png"]
)
def test_names_are_not_markup(image_prediction, tmp_path, name):
    figure = prediction_gallery([image_prediction(name, warning=True)], read_grey)
    assert notes(figure)[0][0] == name
    save_figure(figure, tmp_path / "gallery.png")
    assert not figure.axes[0].xaxis.label.get_parse_math()


def test_a_long_name_shows_its_beginning_and_end(image_prediction):
    figure = prediction_gallery([image_prediction("start" + "n" * 150 + ".png")], read_grey)
    [[name]] = notes(figure)
    assert name.startswith("start")
    assert name.endswith(".png")
    assert len(name) <= gallery.NAME_LETTERS


def test_a_long_error_is_cut(image_prediction):
    image = image_prediction("bad.png", error="cannot be read (" + "word " * 50 + ")")
    [lines] = notes(prediction_gallery([image], read_grey))
    assert len(lines) == 1 + gallery.NOTE_LINES
    assert lines[-1].endswith("…")


def test_only_the_first_images_of_many_are_drawn(image_prediction, monkeypatch, caplog):
    monkeypatch.setattr(gallery, "MAX_IMAGES", 2)
    images = [image_prediction("1.png"), image_prediction("2.png"), image_prediction("3.png")]
    with caplog.at_level("INFO"):
        figure = prediction_gallery(images, read_grey)
    assert len(outlines(figure)) == 2
    assert "first 2 of 3" in caplog.text


def test_a_file_deleted_after_its_prediction_is_shown_as_not_read(image_prediction):
    images = [image_prediction("gone.png"), image_prediction("coat.png")]
    figure = prediction_gallery(
        images, lambda path: read_missing(path) if path.name == "gone.png" else read_grey(path)
    )
    assert outlines(figure) == [gallery.UNREAD_COLOR, gallery.ACCEPTED_COLOR]
    assert notes(figure)[0] == ["gone.png", "no such file"]


def test_unused_places_of_the_last_row_stay_empty(image_prediction):
    figure = prediction_gallery([image_prediction("coat.png")] * 6, read_grey)
    assert len(figure.axes) == 2 * gallery.COLUMNS
    assert len(outlines(figure)) == 6
