"""Image files of all kinds: found, read as they are seen, or refused without ending a batch."""

import contextlib
import os
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fashion_transfer.data import PhotoDataset, find_images, read_image, render
from fashion_transfer.data.sources import load_split
from fashion_transfer.errors import FashionTransferError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ROTATED = 6  # EXIF's number for: turn a quarter clockwise to see it as it was taken


@pytest.fixture
def saved(tmp_path):
    """`saved(image, name, **options)`: an image file in the temporary folder."""

    def save(image, name="photo.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


def rotated_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    return exif


def refused(path) -> str:
    with pytest.raises(FashionTransferError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Reading


def test_a_colour_png_keeps_its_pixels(saved):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    found = read_image(saved(Image.fromarray(pixels)))
    assert found.dtype == torch.uint8
    assert np.array_equal(found.permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_grey_files_that_say_so_stay_one_channel(saved, ending):
    found = read_image(saved(Image.new("L", (9, 6), 77), f"grey.{ending}"))
    if ending in ("gif", "webp"):  # formats that have colours only, or a palette
        assert found.shape in ((1, 6, 9), (3, 6, 9))
    else:
        assert found.shape == (1, 6, 9)
    assert torch.all(found == 77)


def test_black_and_white_becomes_grey(saved):
    found = read_image(saved(Image.new("1", (4, 3), 1)))
    assert found.shape == (1, 3, 4)
    assert torch.all(found == 255)


def test_a_path_may_be_a_string(saved):
    assert read_image(str(saved(Image.new("L", (4, 3))))).shape == (1, 3, 4)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_a_phones_rotation_is_applied(saved, ending):
    image = Image.new("RGB", (32, 16), "white")
    image.paste(RED, (0, 0, 16, 16))
    found = read_image(saved(image, f"rotated.{ending}", exif=rotated_exif()))
    assert found.shape == (3, 32, 16)
    # What lay on the left is on top once turned clockwise.
    assert found[1, :12].float().mean() < 30
    assert found[1, 20:].float().mean() > 225


def test_a_rotated_grey_file_stays_grey(saved):
    found = read_image(saved(Image.new("L", (8, 4)), "grey.jpg", exif=rotated_exif()))
    assert found.shape == (1, 8, 4)


def test_transparency_is_put_on_white(saved):
    image = Image.new("RGBA", (4, 2), (*RED, 255))
    image.paste((0, 0, 0, 0), (2, 0, 4, 2))
    found = read_image(saved(image))
    assert found.shape == (3, 2, 4)
    assert found[:, 0, 0].tolist() == [255, 0, 0]
    assert found[:, 0, 3].tolist() == [255, 255, 255]


def test_half_transparency_is_mixed_with_white(saved):
    found = read_image(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))
    assert torch.all((found.int() - 127).abs() <= 1)


def test_transparent_grey_is_put_on_white(saved):
    image = Image.new("LA", (4, 2), (10, 255))
    image.paste((0, 0), (2, 0, 4, 2))
    found = read_image(saved(image))
    assert torch.all(found[:, :, :2] == 10)
    assert torch.all(found[:, :, 2:] == 255)


def test_grey_with_transparency_stays_grey(saved):
    assert read_image(saved(Image.new("LA", (4, 2), (10, 255)))).shape == (1, 2, 4)


def test_a_palette_is_looked_up(saved):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([*RED, *BLUE])
    found = read_image(saved(image))
    assert found.shape == (3, 2, 4)
    assert found[:, 0, 0].tolist() == list(BLUE)


def test_a_transparent_palette_colour_is_put_on_white(saved):
    image = Image.new("P", (4, 2), 0)
    image.paste(1, (2, 0, 4, 2))
    image.putpalette([*RED, *BLUE])
    found = read_image(saved(image, transparency=1))
    assert found[:, 0, 0].tolist() == list(RED)
    assert found[:, 0, 3].tolist() == [255, 255, 255]


def test_a_16_bit_png_is_scaled_and_not_clipped(saved):
    pixels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    found = read_image(saved(Image.fromarray(pixels)))
    assert found.shape == (1, 8, 8)
    assert np.abs(found[0].numpy() - pixels / 257).max() <= 1


def test_a_16_bit_big_endian_tiff_is_scaled_and_not_clipped(saved):
    pixels = np.linspace(0, 65535, 64).astype(">u2").reshape(8, 8)
    path = saved(Image.frombytes("I;16B", (8, 8), pixels.tobytes()), "deep.tif")
    assert Image.open(path).mode == "I;16B"
    found = read_image(path)
    assert found.shape == (1, 8, 8)
    assert np.abs(found[0].numpy() - pixels.astype(float) / 257).max() <= 1


def test_a_floating_point_tiff_is_brought_to_the_whole_range(saved):
    pixels = np.linspace(-2, 3, 64, dtype=np.float32).reshape(8, 8)
    found = read_image(saved(Image.fromarray(pixels), "float.tif"))
    assert found.shape == (1, 8, 8)
    assert (found.min(), found.max()) == (0, 255)


def test_a_constant_floating_point_tiff_is_read(saved):
    image = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    assert read_image(saved(image, "float.tif")).shape == (1, 4, 4)


def test_a_cmyk_jpeg_becomes_rgb(saved):
    found = read_image(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "print.jpg"))
    assert found.shape == (3, 16, 16)
    assert found[0].float().mean() > 200
    assert found[1:].float().mean() < 60


def test_the_first_picture_of_an_animation_is_read(saved):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    found = read_image(saved(first, "moving.gif", save_all=True, append_images=[second]))
    assert found[:, 0, 0].tolist() == list(RED)


def test_the_content_counts_and_not_the_ending(saved, tmp_path):
    path = saved(Image.new("RGB", (4, 3), GREEN))
    assert read_image(path.rename(tmp_path / "really-a-png.jpg")).shape == (3, 3, 4)


# Refusing


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("kept", [0, 10, 0.5])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_truncated_file_is_refused(saved, ending, kept):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), f"cut.{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if kept < 1 else kept])
    refused(path)


def test_a_text_file_renamed_to_jpg_is_refused(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("This is not a picture.\n" * 10)
    assert "not an image that can be read" in refused(path)


def test_a_missing_file_is_named(tmp_path):
    assert "no such file" in refused(tmp_path / "not-there.jpg")


def test_a_folder_is_not_an_image(tmp_path):
    refused(tmp_path)


def test_a_decompression_bomb_is_refused(saved, monkeypatch):
    path = saved(Image.new("L", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    refused(path)


def odd_exif(saved):
    # A rotation, and a width that is no whole number, with which Pillow chokes while turning.
    entries = struct.pack("<HHIf", 0x0100, 11, 1, 1.5) + struct.pack(
        "<HHIHH", 0x0112, 3, 1, ROTATED, 0
    )
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    return saved(Image.new("RGB", (8, 4)), "odd-exif.jpg", exif=b"Exif\0\0" + tiff)


def test_odd_exif_is_read_or_refused_but_no_crash(saved):
    path = odd_exif(saved)
    with contextlib.suppress(FashionTransferError):
        assert read_image(path).shape[0] == 3


def test_whatever_a_decoder_raises_is_a_refusal_of_one_line(saved, monkeypatch):
    # Pillow's AVIF decoder, for one, raises RuntimeError with several lines on a damaged file.
    def decoder_error(*args):
        raise RuntimeError("Failed to decode image:\nmany\nlines")

    path = saved(Image.new("RGB", (4, 4)))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoder_error)
    refused(path)


# Finding


def test_files_are_taken_as_they_are_in_the_order_given(tmp_path):
    given = [tmp_path / "b.jpg", tmp_path / "not-an-image.txt", tmp_path / "a.jpg"]
    assert find_images(given) == given
    assert find_images([str(path) for path in given]) == given


def test_a_folder_gives_its_images_sorted_whatever_the_case_of_their_ending(saved, tmp_path):
    (tmp_path / "deeper").mkdir()
    image = Image.new("L", (2, 2))
    expected = [
        saved(image, name)
        for name in ("a.png", "b.JPG", "c.WebP", "deeper/a.bmp", "deeper/b.jpeg", "z.tiff")
    ]
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    assert find_images([tmp_path]) == expected


def test_hidden_files_and_folders_are_left_out(saved, tmp_path):
    image = Image.new("L", (2, 2))
    (tmp_path / ".thumbnails").mkdir()
    saved(image, ".hidden.png")
    saved(image, "._mac.png")
    saved(image, ".thumbnails/a.png")
    seen = saved(image, "seen.png")
    assert find_images([tmp_path]) == [seen]


def test_a_hidden_folder_that_is_named_is_searched(saved, tmp_path):
    (tmp_path / ".mine").mkdir()
    inside = saved(Image.new("L", (2, 2)), ".mine/a.png")
    assert find_images([tmp_path / ".mine"]) == [inside]


def test_folders_and_files_can_be_mixed(saved, tmp_path):
    (tmp_path / "folder").mkdir()
    inside = saved(Image.new("L", (2, 2)), "folder/a.png")
    beside = saved(Image.new("L", (2, 2)), "beside.png")
    assert find_images([beside, tmp_path / "folder", beside]) == [beside, inside, beside]


@pytest.mark.parametrize("name", [None, "readme.txt", "manual.pdf"])
def test_a_folder_without_an_image_is_refused(tmp_path, name):
    # Pillow writes PDF but reads none.
    if name:
        (tmp_path / name).write_bytes(b"%PDF-1.4")
    with pytest.raises(FashionTransferError, match="holds no image file") as caught:
        find_images([tmp_path])
    assert str(tmp_path) in str(caught.value)


def test_no_input_at_all_is_refused_with_an_example():
    with pytest.raises(FashionTransferError, match="no image given.*predict.py"):
        find_images([])


@pytest.mark.parametrize(
    "name",
    ["with space.png", "größe-日本.png", "a'b\"c.png", "new\nline.png", "-dash.png", "[1]*?.png"],
)
def test_odd_names_are_found_and_read(saved, tmp_path, name):
    path = saved(Image.new("L", (3, 2), 5), name)
    assert find_images([tmp_path]) == [path]
    assert read_image(path).shape == (1, 2, 3)


def test_names_that_are_no_unicode_are_found_and_read(saved, tmp_path):
    path = saved(Image.new("L", (3, 2), 5))
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        os.rename(path, odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (found,) = find_images([tmp_path])
    assert read_image(found).shape == (1, 2, 3)


# The dataset


def test_photos_are_stretched_to_three_channels_between_0_and_1(saved):
    paths = [
        saved(Image.new("RGB", (90, 40), GREEN), "colour.png"),
        saved(Image.new("L", (20, 50), 51), "grey.png"),
    ]
    dataset = PhotoDataset(paths, 32)
    assert len(dataset) == 2
    colour, grey = (dataset[place]["images"] for place in range(2))
    assert colour.shape == grey.shape == (3, 32, 32)
    assert colour.dtype == torch.float32
    assert torch.allclose(colour[1], torch.ones(32, 32))
    assert torch.equal(colour[0], torch.zeros(32, 32))
    assert torch.allclose(grey, torch.tensor(0.2), atol=1e-6)
    assert dataset.errors == {}


def test_one_bad_file_does_not_end_a_batch(saved, tmp_path):
    good = saved(Image.new("RGB", (8, 8), "white"), "good.png")
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    dataset = PhotoDataset([text, good, tmp_path / "missing.png", odd_exif(saved), good], 32)
    (batch,) = DataLoader(dataset, batch_size=5)
    assert batch["images"].shape == (5, 3, 32, 32)
    brightest = batch["images"].amax((1, 2, 3))[[0, 1, 2, 4]]
    assert torch.allclose(brightest, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert {0, 2} <= set(dataset.errors) <= {0, 2, 3}
    assert "not an image" in dataset.errors[0]
    assert "no such file" in dataset.errors[2]


def test_a_test_image_saved_as_png_gives_the_pixels_the_datamodule_renders(idx_dir, saved):
    pixels = load_split(idx_dir, False, check_md5=False).images[3]
    dataset = PhotoDataset([saved(Image.fromarray(pixels), "test.png")], 64)
    expected = render(torch.tensor(pixels).unsqueeze(0), 64)[0]
    assert torch.allclose(dataset[0]["images"], expected.expand(3, -1, -1), atol=1e-6)


def test_a_test_image_saved_as_jpeg_is_nearly_the_same(idx_dir, saved):
    pixels = load_split(idx_dir, False, check_md5=False).images[3]
    dataset = PhotoDataset([saved(Image.fromarray(pixels), "test.jpg", quality=95)], 64)
    expected = render(torch.tensor(pixels).unsqueeze(0), 64)[0]
    assert (dataset[0]["images"] - expected).abs().mean() < 0.02
