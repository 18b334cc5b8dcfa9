import importlib.util
import sys

import matplotlib.colors
import numpy as np
import pytest
from PIL import Image

from fashion_transfer.reporting import draw_gallery, gallery


@pytest.fixture
def photo(tmp_path):
    """`photo(name, size=(28, 28), mode="RGB")`: an image file of that name."""

    def make(name: str, size: tuple[int, int] = (28, 28), mode: str = "RGB"):
        path = tmp_path / name
        Image.new(mode, size, 128 if mode == "L" else (40, 90, 200)).save(path)
        return path

    return make


def drawn(path) -> np.ndarray:
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def has(pixels: np.ndarray, color: str) -> bool:
    wanted = np.round(np.array(matplotlib.colors.to_rgb(color)) * 255)
    return bool((pixels == wanted).all(axis=2).any())


@pytest.mark.parametrize(
    ("case", "shown"),
    [("sure", gallery.SURE), ("warned", gallery.UNSURE), ("broken", gallery.BROKEN)],
)
def test_the_frame_says_what_kind_of_answer_it_is(answer, photo, tmp_path, case, shown):
    path = photo("coat.png") if case != "broken" else tmp_path / "nowhere.png"
    error = "no such file" if case == "broken" else ""
    draw_gallery([answer(path, warning=case == "warned", error=error)], tmp_path / "gallery.png")
    pixels = drawn(tmp_path / "gallery.png")
    assert has(pixels, shown)
    others = {gallery.SURE, gallery.UNSURE} - {shown}  # any grey may come of smoothed letters
    assert not any(has(pixels, other) for other in others)


def test_images_of_every_kind_and_size_are_drawn_side_by_side(answer, photo, tmp_path):
    paths = [
        photo("grey.png", mode="L"),
        photo("large.jpg", size=(2000, 1500)),
        photo("wide.png", size=(300, 2)),
        photo("dot.png", size=(1, 1)),
    ]
    draw_gallery([answer(path) for path in paths], tmp_path / "gallery.png")
    four = drawn(tmp_path / "gallery.png")
    draw_gallery([answer(paths[0])], tmp_path / "gallery.png")
    one = drawn(tmp_path / "gallery.png")
    assert four.shape[0] == one.shape[0]
    assert four.shape[1] == pytest.approx(4 * one.shape[1], abs=4)


@pytest.mark.parametrize(
    "name",
    ["$x_1$ $.png", "a_b^c{d}\\frac.png", "IMG (1).png", "Müller's, so.png", "n" * 150 + ".png"],
)
def test_names_are_not_markup(answer, photo, tmp_path, name):
    draw_gallery([answer(photo(name), warning=True)], tmp_path / "gallery.png")
    assert has(drawn(tmp_path / "gallery.png"), gallery.UNSURE)


def test_only_the_first_images_of_many_are_drawn(answer, photo, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(gallery, "MOST", 2)
    path = photo("coat.png")
    answers = [answer(path), answer(path), answer(path, warning=True)]
    with caplog.at_level("INFO"):
        draw_gallery(answers, tmp_path / "gallery.png")
    assert not has(drawn(tmp_path / "gallery.png"), gallery.UNSURE)
    assert "first 2 of 3" in caplog.text


def test_a_file_deleted_after_it_was_read_does_not_end_the_others(answer, photo, tmp_path):
    gone = photo("gone.png")
    gone.unlink()
    draw_gallery([answer(gone), answer(photo("coat.png"))], tmp_path / "gallery.png")
    assert has(drawn(tmp_path / "gallery.png"), gallery.SURE)


def test_no_scratch_file_is_left(answer, photo, tmp_path):
    draw_gallery([answer(photo("coat.png"))], tmp_path / "gallery.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["coat.png", "gallery.png"]


def test_matplotlib_is_imported_only_to_draw(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails
    spec = importlib.util.spec_from_file_location("gallery_alone", gallery.__file__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    with pytest.raises(ImportError):
        fresh.draw_gallery([], None)
