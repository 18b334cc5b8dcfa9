"""Image files of every format: listed, read as they are seen, or rejected one by one."""

import contextlib
import os
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fashion_transfer.data import (
    ImageFileDataset,
    find_images,
    get_preparation,
    input_images,
    read_image,
)
from fashion_transfer.data.idx_files import load_pair
from fashion_transfer.data.image_files import to_array
from fashion_transfer.errors import ArgumentError, FashionTransferError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
ROTATED = 6  # EXIF's number for: rotate by 90 degrees clockwise to see it as it was taken


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


def test_16_bit_png_is_scaled_and_not_clipped(saved):
    pixels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = read_image(saved(Image.fromarray(pixels)))
    assert image.shape == (1, 8, 8)
    assert np.abs(image[0] - pixels / 257).max() <= 1


def test_16_bit_big_endian_tiff_is_scaled_and_not_clipped(saved):
    pixels = np.linspace(0, 65535, 64).astype(">u2").reshape(8, 8)
    path = saved(Image.frombytes("I;16B", (8, 8), pixels.tobytes()), "deep.tif")
    assert Image.open(path).mode == "I;16B"
    image = read_image(path)
    assert image.shape == (1, 8, 8)
    assert np.abs(image[0] - pixels.astype(float) / 257).max() <= 1


def test_floating_point_tiff_is_brought_to_the_whole_range(saved):
    pixels = np.linspace(-2, 3, 64, dtype=np.float32).reshape(8, 8)
    image = read_image(saved(Image.fromarray(pixels), "float.tif"))
    assert image.shape == (1, 8, 8)
    assert (image.min(), image.max()) == (0, 255)


def test_constant_floating_point_tiff_is_read(saved):
    photo = Image.fromarray(np.full((4, 4), 0.5, np.float32))
    assert read_image(saved(photo, "float.tif")).shape == (1, 4, 4)


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


def test_decompression_bomb_is_rejected(saved, monkeypatch):
    path = saved(Image.new("L", (64, 64)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    rejected(path)


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


# Listing


def test_files_are_taken_as_they_are_in_the_order_given(tmp_path):
    given = [tmp_path / "b.jpg", tmp_path / "not-an-image.txt", tmp_path / "a.jpg"]
    assert find_images(given) == given
    assert find_images([str(path) for path in given]) == given


def test_folder_gives_its_images_sorted_with_endings_in_any_case(saved, tmp_path):
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


def test_hidden_folder_that_is_named_is_searched(saved, tmp_path):
    (tmp_path / ".mine").mkdir()
    inside = saved(Image.new("L", (2, 2)), ".mine/a.png")
    assert find_images([tmp_path / ".mine"]) == [inside]


def test_folders_and_files_can_be_mixed(saved, tmp_path):
    (tmp_path / "folder").mkdir()
    inside = saved(Image.new("L", (2, 2)), "folder/a.png")
    beside = saved(Image.new("L", (2, 2)), "beside.png")
    assert find_images([beside, tmp_path / "folder", beside]) == [beside, inside, beside]


@pytest.mark.parametrize("name", [None, "readme.txt", "manual.pdf"])
def test_folder_without_an_image_is_rejected(tmp_path, name):
    # Pillow writes PDF but reads none.
    if name:
        (tmp_path / name).write_bytes(b"%PDF-1.4")
    with pytest.raises(FashionTransferError, match="holds no image file") as caught:
        find_images([tmp_path])
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("inputs", [[], [""], ["a.png", ""]])
def test_no_input_at_all_is_rejected_with_an_example(inputs):
    with pytest.raises(FashionTransferError, match="no image given.*predict.py"):
        find_images(inputs)


@pytest.mark.parametrize(
    "name",
    ["with space.png", "größe-日本.png", "a'b\"c.png", "new\nline.png", "-dash.png", "[1]*?.png"],
)
def test_odd_names_are_listed_and_read(saved, tmp_path, name):
    path = saved(Image.new("L", (3, 2), 5), name)
    assert find_images([tmp_path]) == [path]
    assert read_image(path).shape == (1, 2, 3)


def test_names_that_are_no_unicode_are_listed_and_read(saved, tmp_path):
    path = saved(Image.new("L", (3, 2), 5))
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        os.rename(path, odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    (listed,) = find_images([tmp_path])
    assert read_image(listed).shape == (1, 2, 3)


# The dataset


@pytest.mark.parametrize("name", ["fashion_mnist", "photo"])
def test_files_of_any_size_make_one_batch(saved, name):
    paths = [
        saved(Image.new("RGB", (90, 90), GREEN), "colour.png"),
        saved(Image.new("L", (20, 20), 51), "grey.png"),
    ]
    dataset = ImageFileDataset(paths, get_preparation(name), 32)
    assert len(dataset) == 2
    batch = dataset.__getitems__([0, (1, 0)])
    assert batch.labels is None
    assert batch.images.shape == (2, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    colour, grey = batch.images
    assert torch.allclose(colour[1], torch.ones(32, 32))
    assert torch.equal(colour[0], torch.zeros(32, 32))
    assert torch.allclose(grey, torch.tensor(0.2), atol=1e-6)
    assert dataset.errors == {}


def test_files_are_prepared(saved):
    photo = Image.new("L", (60, 60))
    photo.paste(200, (10, 20, 25, 40))
    prepare = get_preparation("fashion_mnist")
    dataset = ImageFileDataset([saved(photo)], prepare, 32)
    assert torch.equal(dataset[0].images, input_images([np.asarray(photo)[None]], prepare, 32))
    assert dataset[0].images.mean() > 0.3


def test_one_bad_file_does_not_end_a_batch(saved, tmp_path):
    good = saved(Image.new("RGB", (8, 8), "white"), "good.png")
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    paths = [text, good, tmp_path / "missing.png", odd_exif(saved), good]
    dataset = ImageFileDataset(paths, get_preparation("fashion_mnist"), 32)
    (batch,) = DataLoader(dataset, batch_size=5, collate_fn=lambda batch: batch)
    assert batch.images.shape == (5, 3, 32, 32)
    brightest = batch.images.amax((1, 2, 3))[[0, 1, 2, 4]]
    assert torch.allclose(brightest, torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert {0, 2} <= set(dataset.errors) <= {0, 2, 3}
    assert dataset.errors[0] == "not an image that can be read"
    assert dataset.errors[2] == "no such file"


def test_test_image_saved_as_png_gives_the_pixels_that_evaluation_sees(idx_dir, saved, datamodule):
    pixels = load_pair(idx_dir, False, check_md5=False).images[3]
    module = datamodule(image_size=64)
    module.setup("test")
    path = saved(Image.fromarray(pixels), "test.png")
    dataset = ImageFileDataset([path], get_preparation(module.preparation), 64)
    assert torch.equal(dataset[0].images, module.test_set[3].images)


def test_test_image_saved_as_jpeg_is_nearly_the_same(idx_dir, saved):
    pixels = load_pair(idx_dir, False, check_md5=False).images[3]
    prepare = get_preparation("fashion_mnist")
    dataset = ImageFileDataset([saved(Image.fromarray(pixels), "a.jpg", quality=95)], prepare, 64)
    expected = input_images([pixels[None]], prepare, 64)
    assert (dataset[0].images - expected).abs().mean() < 0.02
