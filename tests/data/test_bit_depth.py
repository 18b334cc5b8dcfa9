"""Images of more than eight bits: scaled by the range that their file states."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fashion_transfer.data.decoding import decode, read_image, to_array
from fashion_transfer.errors import ArgumentError, FashionTransferError

TWELVE = np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8)
COLOUR = np.stack([TWELVE, TWELVE // 2, TWELVE // 3], axis=-1)
ALPHA = np.full((8, 8, 1), 4095, np.uint16)
SHORT, LONG, FLOAT = 3, 4, 11  # types of TIFF's tags


@pytest.fixture
def saved(tmp_path):
    """`saved(image, name, **options)`: an image file in the temporary folder."""

    def save(image, name, **options):
        path = tmp_path / name
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path, **options)
        return path

    return save


def png(pixels, **chunks):
    """A PNG file of 16-bit values, (h, w, C), with further chunks."""
    height, width, channels = np.atleast_3d(pixels).shape
    colour = {1: 0, 3: 2, 4: 6}[channels]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *((name.encode(), data) for name, data in chunks.items())]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in [*parts, (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]:
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    return content


def tiff(pixels, bits, **tags):
    """A TIFF file of the bytes of an array, with further tags such as `t281=(SHORT, 4095)`."""
    height, width = 8, 8
    channels = 3 if pixels.ndim == 3 else 1
    data = pixels.tobytes()
    entries = {
        256: (SHORT, width),
        257: (SHORT, height),
        258: (SHORT, *[bits] * channels),
        259: (SHORT, 1),
        262: (SHORT, 2 if channels == 3 else 1),
        273: (LONG, 8),
        277: (SHORT, channels),
        278: (LONG, height),
        279: (LONG, len(data)),
        **{int(name[1:]): entry for name, entry in tags.items()},
    }
    start = 8 + len(data)
    behind = start + 2 + 12 * len(entries) + 4
    directory, extra = struct.pack("<H", len(entries)), b""
    for number, (form, *values) in sorted(entries.items()):
        content = struct.pack(
            f"<{len(values)}{ {SHORT: 'H', LONG: 'I', FLOAT: 'f'}[form] }", *values
        )
        if len(content) > 4:
            content, extra = struct.pack("<I", behind + len(extra)), extra + content
        directory += struct.pack("<HHI", number, form, len(values)) + content.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", start) + data + directory + bytes(4) + extra


def assert_scaled(image, values, white):
    """The image shows values as fractions of `white`, within the last of 8 bits."""
    expected = np.atleast_3d(values).transpose(2, 0, 1) * (255 / white)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() < 1


# The range of a type


def test_16_bit_png_is_scaled_and_not_clipped(saved):
    pixels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = read_image(saved(Image.fromarray(pixels), "deep.png"))
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


def test_dark_16_bit_image_stays_dark(saved):
    pixels = np.full((8, 8), 200, np.uint16)
    assert np.all(read_image(saved(Image.fromarray(pixels), "dark.png")) == 1)
    assert np.all(decode(Image.fromarray(pixels)) == 1)


def test_16_bit_pgm_is_scaled_by_what_it_calls_white(saved):
    content = b"P5 8 8 4095\n" + TWELVE.astype(">u2").tobytes()
    assert_scaled(read_image(saved(content, "deep.pgm")), TWELVE, 4095)


def test_integers_of_eight_bits_in_32_keep_their_values():
    pixels = np.arange(64, dtype=np.int32).reshape(8, 8)
    assert np.array_equal(decode(Image.fromarray(pixels))[0], pixels)


def test_16_bit_negative_is_inverted(saved):
    image = read_image(saved(tiff(TWELVE, 16, t262=(SHORT, 0)), "negative.tif"))
    assert_scaled(255 - image, TWELVE, 2**16 - 1)


def test_transparent_16_bit_grey_becomes_white(saved):
    image = read_image(saved(png(TWELVE, tRNS=struct.pack(">H", 0)), "hole.png"))
    assert image[0, 0, 0] == 255
    assert image[0, 0, 1] == 0


# The range that a file states


@pytest.mark.parametrize("pixels", [TWELVE, COLOUR, np.dstack([COLOUR, ALPHA])])
def test_png_of_12_bits_in_16_is_scaled_by_them(saved, pixels):
    bits = bytes([12] * np.atleast_3d(pixels).shape[2])
    shown = pixels[..., :3] if pixels.ndim == 3 else pixels
    assert_scaled(read_image(saved(png(pixels, sBIT=bits), "low.png")), shown, 4095)


@pytest.mark.parametrize("pixels", [TWELVE, COLOUR, TWELVE // 32])
def test_png_whose_12_bits_fill_16_is_scaled_by_those(saved, pixels):
    bits = bytes([12] * np.atleast_3d(pixels).shape[2])
    filled = (pixels << 4) | (pixels >> 8)  # as PNG wants it
    assert_scaled(read_image(saved(png(filled, sBIT=bits), "filled.png")), filled, 2**16 - 1)


def test_png_with_more_bits_than_it_states_is_scaled_by_16(saved):
    assert_scaled(read_image(saved(png(TWELVE, sBIT=b"\x0a"), "more.png")), TWELVE, 2**16 - 1)


@pytest.mark.parametrize("largest", [4095, 4001])
@pytest.mark.parametrize("pixels", [TWELVE * 2 // 3, COLOUR * 2 // 3])
def test_tiff_of_12_bits_in_16_is_scaled_by_them(saved, pixels, largest):
    tag = (SHORT, *[largest] * np.atleast_3d(pixels).shape[2])
    assert_scaled(read_image(saved(tiff(pixels, 16, t281=tag), "low.tif")), pixels, 4095)


def test_tiff_of_packed_12_bits_is_scaled_by_them(saved):
    upper, lower = TWELVE.reshape(-1, 2).T
    packed = np.stack([upper >> 4, ((upper & 15) << 4) | (lower >> 8), lower & 255], axis=1)
    path = saved(tiff(packed.astype(np.uint8).ravel(), 12), "packed.tif")
    assert_scaled(read_image(path), TWELVE, 4095)


def test_float_tiff_is_scaled_by_the_range_that_it_states(saved):
    pixels = np.linspace(0.25, 0.75, 64, dtype=np.float32).reshape(8, 8)
    tags = {"t339": (SHORT, 3), "t340": (FLOAT, 0.0), "t341": (FLOAT, 1.0)}
    assert_scaled(read_image(saved(tiff(pixels, 32, **tags), "stated.tif")), pixels, 1)


# Values that are none


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_rejected(saved, value):
    pixels = np.zeros((4, 4), np.float32)
    pixels[2, 1] = value
    path = saved(Image.fromarray(pixels), "float.tif")
    with pytest.raises(FashionTransferError, match=r"float\.tif: holds values that are not finite"):
        read_image(path)
    with pytest.raises(ArgumentError, match="^image holds values that are not finite"):
        to_array(Image.fromarray(pixels))
