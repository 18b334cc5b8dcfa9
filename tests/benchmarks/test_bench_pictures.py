"""JPEG files for timing, made of smaller photos."""

import pytest
from PIL import Image

from fashion_transfer.benchmarks.bench_pictures import write_pictures
from fashion_transfer.errors import FashionTransferError


@pytest.fixture
def photos(tmp_path):
    """One that stands, and one that lies."""
    paths = [tmp_path / "stands.jpg", tmp_path / "lies.jpg"]
    for path, size in zip(paths, ((30, 40), (40, 30)), strict=True):
        Image.new("RGB", size, "teal").save(path)
    return paths


def test_pictures_are_enlarged_parts_of_the_photos_in_turn(photos, tmp_path):
    files = write_pictures(photos, tmp_path / "made", 5, (80, 60))
    assert sorted((tmp_path / "made").iterdir()) == files
    sizes = []
    for file in files:
        with Image.open(file) as picture:
            assert picture.format == "JPEG"
            sizes.append(picture.size)
    assert sizes == [(60, 80), (80, 60), (60, 80), (80, 60), (60, 80)]
    assert len({file.read_bytes() for file in files}) == 5


@pytest.mark.parametrize("file_size", [(0.015, 0.02), (0.03, 0.035)])
def test_quality_gives_a_file_of_the_size_that_is_asked_for(photos, tmp_path, file_size):
    [file] = write_pictures(photos, tmp_path / "made", 1, (320, 240), file_size)
    assert file_size[0] <= file.stat().st_size / 1e6 <= file_size[1]


def test_file_size_that_no_quality_gives_is_an_error(photos, tmp_path):
    with pytest.raises(FashionTransferError, match="no JPEG quality gives .* of 3 to 4 MB"):
        write_pictures(photos, tmp_path / "made", 1, (80, 60), (3, 4))
