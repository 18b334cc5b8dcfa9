"""Some 200 small odd files in one folder: what a program meets that reads people's pictures."""

import contextlib
import io
import os
import socket
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, features

try:
    import pillow_heif
except ImportError:  # its photos are not written then
    pillow_heif = None

MODES = {
    "png": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "jpg": ("L", "RGB", "CMYK"),
    "webp": ("L", "RGB", "RGBA"),
    "avif": ("L", "RGB", "RGBA"),
    "gif": ("1", "L", "P", "RGB", "RGBA"),
    "tif": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I;16B", "I", "F"),
    "bmp": ("1", "L", "P", "RGB", "RGBA"),
    "ppm": ("1", "L", "RGB", "I;16"),
    "heic": ("L", "RGB", "RGBA"),
}
"""Modes that each format is written in."""

WRITERS = {"jpg": "JPEG", "tif": "TIFF", "heic": "HEIF"}

NAMES = (
    "with space.png",
    " leading and trailing .png",
    "IMG (1).jpg",
    "a,b.jpg",
    "x=1.jpg",
    "Müller.jpg",
    "Mu\u0308ller.jpg",  # the same name in another Unicode form
    "größe-日本-🧥.webp",
    "new\nline.png",
    "tab\there.png",
    "-leading-dash.png",
    "--flag=1.jpg",
    "a'b\"c.png",
    "[1]*?.png",
    "$HOME`ls`.jpg",
    "{a,b}.jpg",
    "~.jpg",
    "back\\slash.png",
    "UPPER.JPG",
    "Mixed.JpEg",
    "two.dots.png",
    "photo.jpg.png",
    "%41%20.png",
    "#tag;semi&and.png",
    "\u202etxt.png",
    f"{'long' * 62}.jpg",
)
"""Names of pictures that are whole."""

NO_PICTURES = {
    "document.jpg": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n",
    "drawing.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "film.jpg": b"\0\0\1\xb3\x16\0\xf0\x13" + bytes(64),
    "table.png": b"\x89HDF\r\n\x1a\n" + bytes(64),
    "stars.png": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800),
    "page.jpg": b"<!doctype html><title>404 Not Found</title>",
    "vector.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "archive.jpg": b"PK\3\4" + bytes(60),
    "program.gif": b"\x7fELF" + bytes(60),
    "no line end.jpg": b"text",
    "film.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64),
    "film.avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif" + bytes(64),
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\nsize 5\n",
}
"""Files with the ending of a picture that hold none."""


def write_odd_files(folder: Path) -> dict[Path, bool | None]:
    """Writes the files, always the same, below a folder, and returns the pictures among them.

    Returns:
        By path, whether it must be read (True), must be rejected (False) or may be either. What
        is hidden, no file, or has no picture's ending is there, too, but is not returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[Path, bool | None] = {}

    def write(name: str, content: bytes, readable: bool | None) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        pictures[path] = readable

    wholes = _write_formats(write)
    _write_damaged(write, wholes)
    _write_rotations(write)
    for name in NAMES:
        write(name, wholes["png" if name.lower().endswith("png") else "jpg"], True)
    for name, content in NO_PICTURES.items():
        write(name, content, False)
    for ending, other in zip(wholes, [*wholes][1:], strict=False):
        write(f"really-{other}.{ending}", wholes[other], True)
    for format in ("ICO", "TGA", "JPEG2000", "PCX", "SGI"):
        write(f"{format}.jpg", _saved(Image.new("RGB", (16, 16)), format), False)
    _write_sizes(write)
    _write_values(write)
    _write_links(folder, wholes["png"], pictures)
    for name in ("notes.txt", "film.mpg", "data.h5", "drawing.eps", "stars.fits", "paper.pdf"):
        (folder / name).write_bytes(wholes["png"])
    (folder / ".hidden.png").write_bytes(wholes["png"])
    (folder / "._mac.jpg").write_bytes(b"\0\5\x16\7")
    return pictures


def _picture(mode: str = "RGB", size: tuple[int, int] = (24, 16)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), np.uint8)
    if mode.startswith("I;16"):
        values = noise[..., 0].astype(">u2" if mode.endswith("B") else "<u2") * np.uint16(257)
        return Image.frombytes(mode, size, values.tobytes())
    if mode == "LAB":
        return Image.frombytes("LAB", size, noise[..., :3].tobytes())
    return Image.fromarray(noise).convert("RGB" if mode in ("P", "CMYK") else mode).convert(mode)


def _saved(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _write_formats(write) -> dict[str, bytes]:
    """Writes each format in each mode, and returns one file of each by its ending."""
    wholes = {}
    if pillow_heif:
        pillow_heif.register_heif_opener()
    for ending, modes in MODES.items():
        if not {"avif": features.check("avif"), "heic": pillow_heif}.get(ending, True):
            continue
        format = WRITERS.get(ending, ending.upper())
        for mode in modes:
            content = _saved(_picture(mode), format)
            write(f"{ending}-{mode.replace(';', '-')}.{ending}", content, True)
        wholes[ending] = _saved(_picture(), format)
    for name, format, options in (
        ("progressive.jpg", "JPEG", {"progressive": True}),
        ("a.jpeg", "JPEG", {}),
        ("a.jpe", "JPEG", {}),
        ("a.jfif", "JPEG", {}),
        ("two.mpo", "MPO", {"save_all": True}),
        ("two-of-a-phone.jpg", "MPO", {"save_all": True}),
        ("moving.gif", "GIF", {"save_all": True}),
        ("moving.apng", "PNG", {"save_all": True}),
        ("moving.webp", "WEBP", {"save_all": True}),
        ("pages.tiff", "TIFF", {"save_all": True}),
        ("lossless.webp", "WEBP", {"lossless": True}),
        ("lzw.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("zip.tif", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tif", "TIFF", {"compression": "jpeg"}),
        ("packed.tif", "TIFF", {"compression": "packbits"}),
    ):
        if "save_all" in options:
            options["append_images"] = [_picture("L").convert("RGB")]
        write(name, _saved(_picture(), format, **options), True)
    transparent = _picture("P")
    write("hole.png", _saved(transparent, "PNG", transparency=3), True)
    write("holes.png", _saved(transparent, "PNG", transparency=bytes(range(256))), True)
    write("hole.gif", _saved(transparent, "GIF", transparency=3), True)
    write("grey-hole.png", _saved(_picture("L"), "PNG", transparency=3), True)
    return wholes


def _write_damaged(write, wholes: dict[str, bytes]) -> None:
    generator = np.random.default_rng(1)
    for ending, content in wholes.items():
        write(f"empty.{ending}", b"", False)
        write(f"one-byte.{ending}", content[:1], False)
        write(f"start.{ending}", content[:12], False)
        write(f"half.{ending}", content[: len(content) // 2], False)
        write(f"zeros.{ending}", bytes(len(content)), False)
        write(f"start-and-zeros.{ending}", content[:40] + bytes(len(content) - 40), None)
        write(f"cut.{ending}", content[:-20], None)
        write(f"more-behind.{ending}", content + b"\0more" * 9, None)
        for number in range(3):
            damaged = np.frombuffer(content, np.uint8).copy()
            places = generator.integers(12, len(damaged), 8)
            damaged[places] = generator.integers(0, 256, 8)
            write(f"damaged-{number}.{ending}", damaged.tobytes(), None)


def _write_rotations(write) -> None:
    def exif(number: int) -> bytes:
        tags = Image.Exif()
        tags[0x0112] = number
        return tags.tobytes()

    for number in range(10):
        write(f"rotated-{number}.jpg", _saved(_picture(), "JPEG", exif=exif(number)), True)
    for format in ("png", "webp", "tif"):
        content = _saved(_picture(), WRITERS.get(format, format.upper()), exif=exif(6))
        write(f"rotated.{format}", content, True)
    entry = struct.pack("<HHIf", 0x0100, 11, 1, 1.5)  # a width that is no whole number
    tags = b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    for name, odd in {
        "odd": tags,
        "cut": exif(6)[6:-4],
        "zero": bytes(30),
        "far": b"II*\0\xff\xff\xff\x7f",
        "empty": b"",
        "loop": b"II*\0" + struct.pack("<IHI", 8, 0, 8),
    }.items():
        write(f"exif-{name}.jpg", _saved(_picture(), "JPEG", exif=b"Exif\0\0" + odd), None)


def _write_sizes(write) -> None:
    for size in ((1, 1), (1, 700), (700, 1), (3, 2)):
        for format in ("png", "jpg", "gif"):
            content = _saved(_picture(size=size), WRITERS.get(format, format.upper()))
            write("{}x{}.{}".format(*size, format), content, True)
    for width, height in ((0, 5), (100_000, 100_000), (2**31 - 1, 2**31 - 1)):
        write(f"{width}x{height}.png", _png(width, height, b"\0"), False)
    write("65535x65535.gif", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0", False)
    write("65535x65535.ppm", b"P6 65535 65535 255\n", False)
    write("negative.pgm", b"P5 -5 5 255\n" + bytes(25), False)


def _write_values(write) -> None:
    values = np.linspace(-1, 2, 64, dtype=np.float32).reshape(8, 8)
    write("float.tif", _saved(Image.fromarray(values), "TIFF"), True)
    write("constant.tif", _saved(Image.fromarray(values * 0), "TIFF"), True)
    for name, value in (("nan", np.nan), ("infinity", np.inf), ("minus", -np.inf)):
        values[3, 3] = value
        write(f"{name}.tif", _saved(Image.fromarray(values), "TIFF"), False)
    twelve = Image.fromarray(np.linspace(0, 4095, 64).astype(np.uint16).reshape(8, 8))
    write("12-bits.tif", _saved(twelve, "TIFF", tiffinfo={281: 4095}), True)
    lines = b"".join(b"\0" + bytes(12) for _ in range(2))
    write("16-bits.png", _png(2, 2, lines, depth=16, colour=2), True)
    write("12-bits.png", _png(2, 2, lines, depth=16, colour=2, bits=b"\x0c\x0c\x0c"), True)
    write("odd-bits.png", _png(2, 2, lines, depth=16, colour=2, bits=b""), None)


def _png(
    width: int,
    height: int,
    lines: bytes,
    depth: int = 8,
    colour: int = 0,
    bits: bytes | None = None,
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    if bits is not None:
        chunks.insert(1, (b"sBIT", bits))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _write_links(folder: Path, content: bytes, pictures: dict[Path, bool | None]) -> None:
    """Folders with a picture's ending, links, and what is no file at all."""
    inside = folder / "folder.jpg" / "inside.png"
    inside.parent.mkdir(exist_ok=True)
    elsewhere = folder.with_name(f"{folder.name}-elsewhere.png")
    locked = folder / "locked.png"
    for path in (inside, elsewhere, locked):
        if not path.exists():
            path.write_bytes(content)
    locked.chmod(0)
    pictures |= {inside: True, locked: os.access(locked, os.R_OK)}
    for name, target, readable in (
        ("link.png", elsewhere, True),
        ("nowhere.png", folder / "not-there.png", False),
        ("itself.png", folder / "itself.png", False),
        ("folder.jpg/back", folder, None),
    ):
        if not os.path.lexists(folder / name):
            (folder / name).symlink_to(target)
        if readable is not None:
            pictures[folder / name] = readable
    if not os.path.lexists(folder / "pipe.jpg"):
        os.mkfifo(folder / "pipe.jpg")
    # A path of over some 100 bytes is too long for a socket.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.jpg"))
