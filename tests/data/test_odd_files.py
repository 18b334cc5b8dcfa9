"""200 odd files in one folder: none is lost, none crashes, none is skipped in silence."""

import os
from pathlib import Path

import numpy as np
import pytest
from odd_files import write_odd_files

from fashion_transfer.data.decoding import read_image
from fashion_transfer.data.image_files import images_below
from fashion_transfer.errors import FashionTransferError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """By path, whether a file must be read (True), rejected (False) or may be either."""
    return write_odd_files(tmp_path_factory.mktemp("odd"))


def folder_of(pictures):
    return Path(os.path.commonpath(pictures))


def read(path):
    try:
        return read_image(path), ""
    except FashionTransferError as error:
        return None, str(error)


def test_there_are_200(pictures):
    assert len(pictures) >= 200


def test_folder_lists_every_picture_and_nothing_else(pictures):
    listed = images_below(folder_of(pictures))
    assert len(listed) == len(set(listed))
    assert set(listed) == set(pictures)


def test_what_is_no_file_is_named(pictures, caplog):
    images_below(folder_of(pictures))
    assert "pipe.jpg: not a file" in caplog.text


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_every_file_gives_pixels_or_one_line(pictures):
    for path, readable in pictures.items():
        image, message = read(path)
        assert (image is not None) in ((True, False) if readable is None else (readable,)), path
        if image is None:
            assert message.startswith(f"{path}: ")
            assert len(message.removeprefix(f"{path}: ").splitlines()) == 1
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert len(image) in (1, 3)
            assert image.size
