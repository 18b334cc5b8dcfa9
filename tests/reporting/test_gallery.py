"""The gallery of predictions."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from fashion_transfer.reporting import Picture, write_gallery
from fashion_transfer.reporting import gallery as module
from fashion_transfer.reporting.gallery import gallery, small

RED, BLUE = np.uint8([[[255, 0, 0]]]), np.uint8([[[0, 0, 255]]])
PICTURE = Picture(RED, BLUE)


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


def corner(position: int = 0) -> tuple[int, int]:
    """Top left of the outline of an image in the first row."""
    top = 2 * module.SPACE + module.TEXT_LINE
    return module.SPACE + position * (module.WIDTH + module.SPACE), top


def bar_length(image: Image.Image, color: str) -> int:
    """Pixels of the bar of confidence of the first image."""
    left, top = corner()
    y = top + module.SIDE + 2 * module.OUTLINE + 2 * module.GAP + module.TITLE_SIZE + 2
    row = [pixel(image, left + x, y) for x in range(module.WIDTH)]
    return row.count(ImageColor.getrgb(color)[:3])


@pytest.fixture
def lines(monkeypatch):
    """`lines(images)`: the texts that are drawn."""
    texts: list[str] = []
    draw = module.ImageDraw.ImageDraw.text

    def spy(self, xy, text, *args, **options):
        texts.append(text)
        draw(self, xy, text, *args, **options)

    monkeypatch.setattr(module.ImageDraw.ImageDraw, "text", spy)

    def drawn(images) -> list[str]:
        texts.clear()
        gallery(images)
        return texts[1:]  # the first one is the heading

    return drawn


@pytest.mark.parametrize(
    ("case", "color", "title", "confidence"),
    [
        ({}, module.ACCEPTED_COLOR, "Coat  90%", 0.9),
        ({"warning": True}, module.WARNING_COLOR, "Coat  50%", 0.5),
    ],
    ids=["accepted", "warning"],
)
def test_outline_title_and_bar_show_the_outcome(
    image_prediction, lines, case, color, title, confidence
):
    images = [(image_prediction("coat.png", **case), PICTURE)]
    drawn = gallery(images)
    assert pixel(drawn, *corner()) == ImageColor.getrgb(color)
    assert bar_length(drawn, color) == round(confidence * module.WIDTH)
    assert lines(images)[:2] == [title, "coat.png"]


def test_picture_is_beside_what_the_classifier_saw(image_prediction):
    drawn = gallery([(image_prediction("coat.png"), PICTURE)])
    left, top = corner()
    y, half = top + module.SIDE // 2, module.SIDE // 2
    assert pixel(drawn, left + module.OUTLINE + half, y) == (255, 0, 0)
    assert pixel(drawn, left + module.WIDTH - module.OUTLINE - half, y) == (0, 0, 255)


def test_warning_is_given_in_words(image_prediction, lines):
    texts = lines([(image_prediction("coat.png", warning=True), PICTURE)])
    assert " ".join(texts[2:]) == "⚠ ambiguous: It may be a coat or a shirt."


def test_file_that_was_not_read_is_grey_with_its_error(image_prediction, lines):
    images = [(image_prediction("coat.png", error="no such file"), None)]
    assert pixel(gallery(images), *corner()) == ImageColor.getrgb(module.UNREAD_COLOR)
    assert lines(images) == ["not read", "coat.png", "no such file"]


def test_long_error_is_cut_and_every_line_fits(image_prediction, lines):
    error = "cannot be read (" + "word " * 50 + ")"
    texts = lines([(image_prediction("bad.png", error=error), None)])[2:]
    assert len(texts) == module.MAX_LINES
    assert texts[-1].endswith("…")
    font = module._font(module.TEXT_SIZE)
    assert max(map(font.getlength, texts)) <= module.WIDTH


@pytest.mark.parametrize("letters", [150, 5000])
def test_long_name_shows_its_beginning_and_end(image_prediction, lines, letters):
    [_, name] = lines([(image_prediction(f"start{'n' * letters}.png"), PICTURE)])
    assert name.startswith("start")
    assert name.endswith(".png")
    assert module._font(module.TEXT_SIZE).getlength(name) <= module.WIDTH


@pytest.mark.parametrize(
    "name", ["$x_1$ $.png", "a_b^c\\frac.png", "IMG (1).png", "Müller's, so.png"]
)
def test_names_are_drawn_as_they_are(image_prediction, lines, name):
    assert lines([(image_prediction(name), PICTURE)])[1] == name


def test_name_of_several_lines_is_drawn_in_one(image_prediction, lines):
    assert lines([(image_prediction("two\nlines.png"), PICTURE)])[1] == "two lines.png"


def test_images_are_in_rows(image_prediction):
    one, all_of_them = (
        gallery([(image_prediction("coat.png"), PICTURE)] * count).size for count in (1, 6)
    )
    across = module.WIDTH + module.SPACE
    assert all_of_them[0] == one[0] + (module.COLUMNS - 1) * across
    assert all_of_them[1] > 1.5 * one[1]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 28, 28), (28, 28)),
        ((3, 1500, 2000), (120, 160, 3)),
        ((3, 2, 3000), (1, 160, 3)),
        ((1, 1, 1), (1, 1)),
    ],
)
def test_small_pictures_of_any_image_are_drawn(image_prediction, shape, expected):
    picture = small(np.full(shape, 128, np.uint8))
    height, width = picture.shape[:2]
    assert (height, width) == pytest.approx(expected[:2], abs=1)
    assert picture.ndim == len(expected)
    assert np.all(picture == 128)
    drawn = gallery([(image_prediction("a.png"), Picture(picture, picture))])
    middle = module.OUTLINE + (module.SIDE - 1) // 2
    assert pixel(drawn, corner()[0] + middle, corner()[1] + middle) == (128, 128, 128)


def test_gallery_is_written_as_a_png(image_prediction, tmp_path):
    write_gallery([(image_prediction("coat.png"), PICTURE)], tmp_path / "gallery.png")
    with Image.open(tmp_path / "gallery.png") as image:
        assert image.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]


def test_gallery_needs_no_font_but_pillows(image_prediction, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert gallery([(image_prediction("coat.png", warning=True), PICTURE)])
