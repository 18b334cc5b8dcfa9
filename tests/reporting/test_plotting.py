"""Conversion of values and images for Matplotlib, and saving."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image

from fashion_transfer.reporting import plotting
from fashion_transfer.reporting.plotting import as_array, as_picture, new_figure, save_figure


def test_save_figure_writes_one_png_file_and_replaces_it(tmp_path):
    figure = Figure(figsize=(2, 1))
    save_figure(figure, tmp_path / "figure.png", dpi=50)
    save_figure(figure, tmp_path / "figure.png", dpi=50)
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]
    with Image.open(tmp_path / "figure.png") as image:
        assert (image.format, image.size) == ("PNG", (100, 50))


def test_a_figure_is_laid_out_as_by_matplotlibs_own_saving(tmp_path):
    for name in ("own", "ours"):
        figure = new_figure(3, 2)
        axes = figure.subplots(1, 2)
        axes[0].set(title="a title", ylabel="name of an axis")
        figure.colorbar(axes[1].imshow([[1, 2]]), ax=axes[1])
        if name == "own":
            figure.savefig(tmp_path / "own.png", dpi=80)
        else:
            save_figure(figure, tmp_path / "ours.png", dpi=80)
    files = [Image.open(tmp_path / f"{name}.png") for name in ("own", "ours")]
    pictures = [np.asarray(file.convert("RGB")) for file in files]
    np.testing.assert_array_equal(*pictures)


def test_save_figure_keeps_the_old_file_after_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(file, content):
        with file.open("wb") as opened:
            opened.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(Figure(), path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_letters_that_are_in_no_font_are_one_warning(tmp_path, monkeypatch, caplog, recwarn):
    monkeypatch.setattr(plotting, "_installed_fonts", list)
    monkeypatch.setitem(rcParams, "font.family", ["DejaVu Sans"])
    plotting._report_letters.cache_clear()
    for name in ("a.png", "b.png"):
        figure = new_figure(2, 1)
        figure.subplots().set_xticks([0, 1], ["靴", "帽子"])
        save_figure(figure, tmp_path / name)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no font of this machine has all letters" in caplog.text
    assert not recwarn.list


def test_installed_fonts_come_after_those_of_the_user(monkeypatch):
    monkeypatch.setattr(plotting, "_installed_fonts", lambda: ["Malgun Gothic"])
    monkeypatch.setitem(rcParams, "font.family", ["serif"])
    for _ in range(2):
        new_figure(2, 1)
        assert rcParams["font.family"] == ["serif", "Malgun Gothic"]


def test_as_array_takes_tensors_and_arrays_of_any_float_type():
    half = torch.tensor([0.5], dtype=torch.bfloat16, requires_grad=True)
    assert as_array(half, float).tolist() == [0.5]
    third = torch.tensor([1 / 3], dtype=torch.float64)
    assert as_array(third, float)[0] == 1 / 3
    assert as_array(torch.tensor([True]), bool).dtype == bool


def test_as_array_returns_a_copy():
    fixed = np.array([1.0])
    fixed.flags.writeable = False
    assert as_array(fixed, float).flags.writeable


@pytest.mark.parametrize(
    ("shape", "drawn"), [((5, 7), (5, 7)), ((1, 5, 7), (5, 7)), ((3, 5, 7), (5, 7, 3))]
)
def test_as_picture_moves_channels_last_and_drops_a_single_one(shape, drawn):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for given in (image, torch.from_numpy(image)):
        picture = as_picture(given)
        assert picture.shape == drawn
        assert picture.dtype == np.uint8
        assert picture[2, 3].tolist() == image[..., 2, 3].squeeze().tolist()


def test_as_picture_subsamples_large_images():
    assert as_picture(np.zeros((3, 1200, 800), np.uint8), longest_side=400).shape == (400, 267, 3)
    assert as_picture(np.zeros((799, 10), np.uint8), longest_side=400).shape == (799, 10)


@pytest.mark.parametrize("name", ["plotting", "figures", "gallery", "image_sheets", "results"])
def test_matplotlib_is_imported_only_to_draw(without_matplotlib, name):
    spec = importlib.util.find_spec(f"fashion_transfer.reporting.{name}")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    with pytest.raises(ImportError):
        plotting.new_figure(1, 1)
