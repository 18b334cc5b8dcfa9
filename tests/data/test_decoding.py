"""Images of every format: decoded as they are seen, or rejected one by one."""

import contextlib
import os
import struct
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from PIL.PngImagePlugin import PngInfo

from fashion_transfer.data import decoding
from fashion_transfer.data.decoding import decode, image_endings, read_image, to_array
from fashion_transfer.errors import ArgumentError, FashionTransferError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ROTATED = 6  # EXIF's number for: rotate by 90 degrees clockwise to see it as it was taken


def rotated_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    return exif


def rejected(path) -> str:
    with pytest.raises(FashionTransferError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Reading


def test_colour_png_keeps_its_pixels(saved):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = read_image(saved(Image.fromarray(pixels)))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert np.array_equal(image, pixels.transpose(2, 0, 1))


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_grey_file_has_one_channel(saved, ending):
    image = read_image(saved(Image.new("L", (9, 6), 77), f"grey.{ending}"))
    if ending in ("gif", "webp"):  # formats that have colours only, or a palette
        assert image.shape in ((1, 6, 9), (3, 6, 9))
    else:
        assert image.shape == (1, 6, 9)
    assert np.all(image == 77)


def test_black_and_white_becomes_grey(saved):
    image = read_image(saved(Image.new("1", (4, 3), 1)))
    assert image.shape == (1, 3, 4)
    assert np.all(image == 255)


def test_path_may_be_a_string(saved):
    assert read_image(str(saved(Image.new("L", (4, 3))))).shape == (1, 3, 4)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_every_rotation_is_that_of_pillow(saved, number, ending):
    exif = Image.Exif()
    exif[0x0112] = number
    path = saved(picture("RGB", (5, 3)), f"rotated.{ending}", exif=exif)
    with Image.open(path) as file:
        expected = np.asarray(ImageOps.exif_transpose(file)).transpose(2, 0, 1)
    assert np.array_equal(read_image(path), expected)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_rotation_of_a_phone_is_applied(saved, ending):
    photo = Image.new("RGB", (32, 16), "white")
    photo.paste(RED, (0, 0, 16, 16))
    image = read_image(saved(photo, f"rotated.{ending}", exif=rotated_exif()))
    assert image.shape == (3, 32, 16)
    # What was on the left is on top after a rotation clockwise.
    assert image[1, :12].mean() < 30
    assert image[1, 20:].mean() > 225


def test_rotated_grey_file_stays_grey(saved):
    image = read_image(saved(Image.new("L", (8, 4)), "grey.jpg", exif=rotated_exif()))
    assert image.shape == (1, 8, 4)


def test_transparency_is_put_on_white(saved):
    photo = Image.new("RGBA", (4, 2), (*RED, 255))
    photo.paste((0, 0, 0, 0), (2, 0, 4, 2))
    image = read_image(saved(photo))
    assert image.shape == (3, 2, 4)
    assert image[:, 0, 0].tolist() == [255, 0, 0]
    assert image[:, 0, 3].tolist() == [255, 255, 255]


def test_half_transparency_is_mixed_with_white(saved):
    image = read_image(saved(Image.new("RGBA", (2, 2), (0, 0, 0, 128))))
    assert np.all(np.abs(image.astype(int) - 127) <= 1)


def test_transparent_grey_is_put_on_white(saved):
    photo = Image.new("LA", (4, 2), (10, 255))
    photo.paste((0, 0), (2, 0, 4, 2))
    image = read_image(saved(photo))
    assert image.shape == (1, 2, 4)
    assert np.all(image[:, :, :2] == 10)
    assert np.all(image[:, :, 2:] == 255)


def test_palette_is_looked_up(saved):
    photo = Image.new("P", (4, 2), 1)
    photo.putpalette([*RED, *BLUE])
    image = read_image(saved(photo))
    assert image.shape == (3, 2, 4)
    assert image[:, 0, 0].tolist() == list(BLUE)


def test_transparent_palette_colour_is_put_on_white(saved):
    photo = Image.new("P", (4, 2), 0)
    photo.paste(1, (2, 0, 4, 2))
    photo.putpalette([*RED, *BLUE])
    image = read_image(saved(photo, transparency=1))
    assert image[:, 0, 0].tolist() == list(RED)
    assert image[:, 0, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("mode", "channels"), [("La", 1), ("LA", 1), ("PA", 3), ("YCbCr", 3), ("LAB", 3), ("RGBX", 3)]
)
def test_rare_mode_is_read(mode, channels):
    image = Image.frombytes(mode, (2, 2), bytes([90] * len(Image.new(mode, (2, 2)).tobytes())))
    assert decode(image).shape == (channels, 2, 2)


def test_cmyk_jpeg_becomes_rgb(saved):
    image = read_image(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "print.jpg"))
    assert image.shape == (3, 16, 16)
    assert image[0].mean() > 200
    assert image[1:].mean() < 60


def test_first_picture_of_an_animation_is_read(saved):
    first, second = (Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    image = read_image(saved(first, "moving.gif", save_all=True, append_images=[second]))
    assert image[:, 0, 0].tolist() == list(RED)


def test_content_counts_and_not_the_ending(saved, tmp_path):
    path = saved(Image.new("RGB", (4, 3), GREEN))
    assert read_image(path.rename(tmp_path / "really-a-png.jpg")).shape == (3, 3, 4)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_heic_photo_is_read(saved, mode):
    pytest.importorskip("pillow_heif").register_heif_opener()
    path = saved(Image.new(mode, (32, 16), "red" if mode == "RGB" else 200), "a.HEIC", quality=100)
    assert read_image(path).shape == (1 if mode == "L" else 3, 16, 32)
    assert read_image(path.rename(path.with_name("renamed.jpg"))).shape[1:] == (16, 32)


@pytest.mark.parametrize("name", ["photo.heic", "photo.HEIF", "renamed.jpg"])
def test_heic_photo_names_the_extra_that_reads_it(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    assert 'pip install -e ".[heic]"' in rejected(tmp_path / name)


# Reducing


def picture(mode, size):
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 4), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    if mode == "I;16":
        return Image.fromarray(np.asarray(smooth.convert("L")).astype(np.uint16) * 257)
    return smooth if mode == "RGBA" else smooth.convert("RGB").convert(mode)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1279, 1400), (1400, 1279)),
        ((1280, 1400), (700, 640)),
        ((5200, 3900), (650, 867)),
        ((9000, 20), (10, 4500)),
        ((20, 30000), (7500, 5)),
    ],
)
def test_large_image_is_reduced_to_a_short_side_of_640_or_more(saved, size, shape):
    image = read_image(saved(Image.new("L", size, 77)))
    assert image.shape == (1, *shape)
    assert np.all(image == 77)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "I;16", "F"])
def test_image_is_reduced_in_strips_as_it_is_in_one(mode, monkeypatch):
    image = picture(mode, (1291, 2000))
    whole = decode(image)
    assert whole.shape[1:] == (1000, 646)
    monkeypatch.setattr(decoding, "STRIP", 30 * 1291)
    assert np.array_equal(decode(image), whole)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": rotated_exif()}])
def test_reduced_jpeg_shows_the_whole_picture(saved, options):
    path = saved(picture("RGB", (2700, 2000)), "large.jpg", **options)
    image = read_image(path)
    assert image.shape == ((3, 1350, 1000) if "exif" in options else (3, 1000, 1350))
    with Image.open(path) as file:
        whole = ImageOps.exif_transpose(file).resize((224, 224), Image.Resampling.BOX)
    small = Image.fromarray(image.transpose(1, 2, 0)).resize((224, 224), Image.Resampling.BOX)
    difference = np.asarray(small, np.float64) - np.asarray(whole, np.float64)
    assert np.abs(difference).mean() / 255 < 0.01


# Rejecting


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "tif", "webp"])
@pytest.mark.parametrize("length", [0, 10, 0.5])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_truncated_file_is_rejected(saved, ending, length):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), f"cut.{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * length) if length < 1 else length])
    rejected(path)


def test_text_file_renamed_to_jpg_is_rejected(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("This is not a picture.\n" * 10)
    assert "not an image that can be read" in rejected(path)


def test_missing_file_is_named(tmp_path):
    assert "no such file" in rejected(tmp_path / "not-there.jpg")


def test_folder_is_not_an_image(tmp_path):
    rejected(tmp_path)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_image_above_the_limit_is_rejected_with_its_size_and_the_limit(saved, monkeypatch, format):
    path = saved(Image.new("L", (3000, 1000)), f"large.{format.lower()}")
    monkeypatch.setattr(decoding, "MAX_PIXELS_ELSE", 2_000_000)
    monkeypatch.setitem(decoding.MAX_PIXELS, "WEBP", 2_000_000)
    assert f"3000 x 1000 are 3 megapixels, and {format} files are read up to 2:" in rejected(path)


def test_image_with_an_endless_side_is_rejected(saved):
    assert "up to 500000 pixels a side" in rejected(saved(Image.new("1", (500_001, 1))))


def test_pillows_lower_limit_neither_warns_nor_changes(saved, monkeypatch, recwarn):
    path = saved(Image.new("L", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    assert read_image(path).shape == (1, 64, 64)
    with pytest.raises(FashionTransferError):
        read_image(path.with_name("not-there.png"))
    assert Image.MAX_IMAGE_PIXELS == 64
    assert not recwarn.list


@pytest.mark.parametrize("chunk", ["text", "profile"])
def test_png_with_megabytes_beside_its_pixels_is_read(saved, chunk):
    text = PngInfo()
    text.add_text("prompt", "x" * 3_000_000, zip=True)
    beside = {"text": {"pnginfo": text}, "profile": {"icc_profile": bytes(3_000_000)}}
    limit = PngImagePlugin.MAX_TEXT_CHUNK
    assert read_image(saved(Image.new("L", (8, 8), 7), **beside[chunk])).max() == 7
    assert limit == PngImagePlugin.MAX_TEXT_CHUNK


def test_pipe_is_rejected_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert "not a file" in rejected(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("format", ["ICO", "TGA", "PCX", "EPS", "PDF", "JPEG2000"])
def test_other_formats_are_rejected_under_any_ending(saved, format):
    path = saved(Image.new("RGB", (16, 16)), "photo.jpg", format=format)
    assert "not an image that can be read" in rejected(path)


def test_endings_are_those_of_pictures():
    endings = image_endings()
    assert {".jpg", ".jfif", ".jpe", ".mpo", ".webp", ".avif", ".heic", ".heif"} <= endings
    assert not endings & {".mpg", ".h5", ".eps", ".fits", ".pdf", ".txt", ".psd", ""}


def odd_exif(saved):
    # A rotation, and a width that is no whole number, on which Pillow fails while rotating.
    entries = struct.pack("<HHIf", 0x0100, 11, 1, 1.5) + struct.pack(
        "<HHIHH", 0x0112, 3, 1, ROTATED, 0
    )
    tiff = b"II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    return saved(Image.new("RGB", (8, 4)), "odd-exif.jpg", exif=b"Exif\0\0" + tiff)


def test_odd_exif_is_read_or_rejected_but_no_crash(saved):
    path = odd_exif(saved)
    with contextlib.suppress(FashionTransferError):
        assert read_image(path).shape[0] == 3


def test_any_error_of_a_decoder_becomes_one_line(saved, monkeypatch):
    # Pillow's AVIF decoder, for one, raises RuntimeError with several lines on a damaged file.
    def decoder_error(*args):
        raise RuntimeError("Failed to decode image:\nmany\nlines")

    path = saved(Image.new("RGB", (4, 4)))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoder_error)
    rejected(path)


# Images in any form


def test_to_array_reads_files_and_pil_images_alike(saved):
    photo = Image.new("RGBA", (4, 2), (*RED, 128))
    path = saved(photo, exif=rotated_exif())
    expected = read_image(path)
    assert expected.shape == (3, 4, 2)
    with Image.open(path) as opened:
        for image in (path, str(path), opened):
            assert np.array_equal(to_array(image), expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 4), (1, 5, 4)),
        ((1, 5, 4), (1, 5, 4)),
        ((3, 5, 4), (3, 5, 4)),
        ((5, 4, 1), (1, 5, 4)),
        ((5, 4, 3), (3, 5, 4)),
        ((3, 3, 3), (3, 3, 3)),
    ],
)
def test_to_array_puts_channels_first(shape, expected):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    array = to_array(pixels)
    assert array.shape == expected
    assert array.flags.c_contiguous
    back = array.transpose(1, 2, 0) if len(shape) == 3 and shape[0] == 5 else array
    assert np.array_equal(back.reshape(shape), pixels)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 4)),
        np.zeros((5, 4), bool),
        np.zeros((5, 4, 4), np.uint8),
        np.zeros((2, 3, 5, 4), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((0, 4), np.uint8),
        None,
    ],
)
def test_to_array_rejects_other_arrays_with_type_and_shape(array):
    with pytest.raises(ArgumentError, match="^image must be a path, a PIL image or") as caught:
        to_array(array)
    assert str(caught.value).endswith(f"got {np.asarray(array).dtype} {np.shape(array)}")


def test_to_array_rejects_a_file_that_is_no_image(tmp_path):
    with pytest.raises(FashionTransferError, match="no such file"):
        to_array(tmp_path / "not-there.png")
