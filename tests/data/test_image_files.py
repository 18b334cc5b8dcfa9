"""Image files: by name, in folders, by patterns and in lists of paths."""

import io
import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from fashion_transfer.data import (
    find_images,
    get_preparation,
    input_images,
    read_image,
    render_images,
)
from fashion_transfer.data.idx_files import load_pair
from fashion_transfer.data.image_files import read_path_list
from fashion_transfer.errors import FashionTransferError

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


# Links


def link(path, target):
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("links need a right here")
    return path


def test_linked_folders_are_searched_without_loops(saved, tmp_path):
    for folder in ("album", "elsewhere"):
        (tmp_path / folder).mkdir()
    image = Image.new("L", (2, 2))
    first, other = saved(image, "album/a.png"), saved(image, "elsewhere/b.png")
    link(tmp_path / "album" / "loop", tmp_path / "album")
    linked = link(tmp_path / "album" / "more", other.parent)
    link(other.parent / "back", "../album")
    assert find_images([tmp_path / "album"]) == [first, linked / "b.png"]


def test_a_file_reached_by_several_paths_is_there_once_by_the_first(saved, tmp_path):
    real = saved(Image.new("L", (2, 2)), "b.png")
    first = link(tmp_path / "a.png", real)
    link(tmp_path / "c.png", real)
    assert find_images([tmp_path]) == [first]
    assert find_images([real, real]) == [real, real]  # what is named counts as often as it is


def test_hard_links_are_files_of_their_own(saved, tmp_path):
    real = saved(Image.new("L", (2, 2)), "a.png")
    os.link(real, tmp_path / "b.png")
    assert find_images([tmp_path]) == [real, tmp_path / "b.png"]


def test_links_that_lead_nowhere_are_listed(tmp_path):
    broken = link(tmp_path / "broken.png", "gone.png")
    circular = link(tmp_path / "circular.png", "circular.png")
    assert find_images([tmp_path]) == [broken, circular]


def test_what_is_no_file_is_named_and_left_out(saved, tmp_path, caplog):
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes in folders here")
    os.mkfifo(tmp_path / "pipe.png")
    seen = saved(Image.new("L", (2, 2)), "seen.png")
    assert find_images([tmp_path]) == [seen]
    assert "pipe.png: not a file" in caplog.text


def test_folder_that_cannot_be_listed_is_named(saved, tmp_path, caplog, monkeypatch):
    (tmp_path / "locked").mkdir()
    seen = saved(Image.new("L", (2, 2)), "seen.png")
    scandir = os.scandir

    def refusing(path):
        if path.endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert find_images([tmp_path]) == [seen]
    assert "locked: cannot be listed (Permission denied)" in caplog.text


# Patterns


@pytest.fixture
def album(saved, tmp_path, monkeypatch):
    """The working folder, with empty images in it and in folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jpg", "a.jpg", "c.png", ".hidden.jpg", "in/d.jpg", "in/deep/e.jpg", "n.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("./*.jpg", ["a.jpg", "b.jpg"]),
        ("[bc].*", ["b.jpg", "c.png"]),
        ("?.jpg", ["a.jpg", "b.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "in/d.jpg", "in/deep/e.jpg"]),
        ("in/**/*.jpg", ["in/d.jpg", "in/deep/e.jpg"]),
        ("in/**", ["in/d.jpg", "in/deep/e.jpg"]),
        ("**", ["a.jpg", "b.jpg", "c.png", "in/d.jpg", "in/deep/e.jpg"]),
        ("i*", ["in/d.jpg", "in/deep/e.jpg"]),
        ("**/d*", ["in/d.jpg", "in/deep/e.jpg"]),
        ("**.png", ["c.png"]),
        (".h*.jpg", [".hidden.jpg"]),
        ("in/../*.png", ["in/../c.png"]),
    ],
)
def test_pattern_stands_for_what_matches_sorted(album, pattern, expected):
    assert find_images([pattern]) == [Path(name) for name in expected]


def test_absolute_pattern_matches(album):
    assert find_images([f"{album}/*.png"]) == [album / "c.png"]


@pytest.mark.parametrize("name", ["[a].jpg", "*.jpg", "what?.jpg", "[x]/a.jpg"])
def test_existing_path_is_no_pattern(album, name):
    if os.name == "nt":
        pytest.skip("no file name there")
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).touch()
    assert find_images([name]) == [Path(name)]


def test_pattern_below_a_folder_with_brackets_in_its_name(album):
    Path("[x]").mkdir()
    Path("[x]", "a.jpg").touch()
    assert find_images(["[x]/*.jpg"]) == [Path("[x]/a.jpg")]


@pytest.mark.parametrize("pattern", ["*.tif", "nowhere/*.jpg", "**/*.tif", "nowhere/**"])
def test_pattern_that_matches_nothing_is_rejected(album, pattern):
    if pattern.endswith("**"):
        assert find_images([pattern]) == [Path("nowhere")]  # whoever reads it says so
        return
    with pytest.raises(FashionTransferError, match="matches no image file") as caught:
        find_images(["a.jpg", pattern])
    assert str(Path(pattern)) in str(caught.value)


def test_path_objects_are_no_patterns(album):
    assert find_images([Path("*.tif")]) == [Path("*.tif")]


# The user's folder, and lists of paths


def test_tilde_is_the_users_folder(album, monkeypatch):
    monkeypatch.setenv("HOME", str(album))
    monkeypatch.setenv("USERPROFILE", str(album))
    assert find_images(["~/a.jpg", "~/*.png"]) == [album / "a.jpg", album / "c.png"]
    Path("~").mkdir()
    Path("~/a.jpg").touch()
    assert find_images(["~/a.jpg"]) == [Path("~/a.jpg")]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a.jpg\nb c.jpg\n", ["a.jpg", "b c.jpg"]),
        (b"a.jpg\r\n\r\nb.jpg", ["a.jpg", "b.jpg"]),
        (b"a.jpg\0two\nlines.jpg\0", ["a.jpg", "two\nlines.jpg"]),
        ("Müller.jpg\n".encode(), ["Müller.jpg"]),
    ],
)
def test_list_of_paths_is_read(content, names):
    assert read_path_list(io.BytesIO(content)) == [Path(name) for name in names]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\0"])
def test_empty_list_of_paths_is_rejected(content):
    with pytest.raises(FashionTransferError, match="no path on standard input"):
        read_path_list(io.BytesIO(content))


# As the backbone sees them


def test_test_image_saved_as_png_gives_the_pixels_that_evaluation_sees(idx_dir, saved, datamodule):
    pixels = load_pair(idx_dir, False, check_md5=False).images[3]
    module = datamodule(image_size=64)
    module.setup("test")
    image = read_image(saved(Image.fromarray(pixels), "test.png"))
    prepared = get_preparation(module.preparation).prepare(image)
    assert torch.equal(render_images([prepared.pixels], 64), module.test_set[3].images)


def test_test_image_saved_as_jpeg_is_nearly_the_same(idx_dir, saved):
    pixels = load_pair(idx_dir, False, check_md5=False).images[3]
    prepare = get_preparation("fashion_mnist")
    image = read_image(saved(Image.fromarray(pixels), "a.jpg", quality=95))
    expected = input_images([pixels[None]], prepare, 64)
    assert (input_images([image], prepare, 64) - expected).abs().mean() < 0.02
