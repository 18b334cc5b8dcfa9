"""Files of rows: opened only if they are exactly what was written."""

import numpy as np
import pytest

from fashion_transfer.features.row_files import checksum, open_rows, write_rows


def test_written_rows_are_a_npy_file_with_zeros_elsewhere(tmp_path):
    path = tmp_path / "rows.npy"
    values = np.array([[1.0, 2.0], [3.0, 4.0]], np.float16)
    write_rows(path, 5, np.array([3, 0]), values)
    expected = np.zeros((5, 2), np.float16)
    expected[[3, 0]] = values
    assert np.array_equal(np.load(path), expected)
    assert np.array_equal(open_rows(path, (5, 2), np.float16), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.npy"]


@pytest.mark.parametrize(("shape", "dtype"), [((4, 2), np.float16), ((5, 2), np.float32)])
def test_open_rows_rejects_another_shape_or_dtype(tmp_path, shape, dtype):
    path = tmp_path / "rows.npy"
    write_rows(path, 5, np.array([0]), np.ones((1, 2), np.float16))
    assert open_rows(path, shape, dtype) is None


def test_open_rows_gives_none_without_a_file(tmp_path):
    assert open_rows(tmp_path / "rows.npy", (5, 2), np.float16) is None


def test_checksum_is_above_zero():
    assert checksum(np.zeros(0, np.float16)) == 1  # CRC-32 of nothing is 0
    assert checksum(np.ones(3, np.float16)) != checksum(np.zeros(3, np.float16)) > 0
