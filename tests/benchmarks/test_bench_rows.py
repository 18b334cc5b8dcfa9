"""Rows of `make bench`: printed, written, merged with those of earlier calls."""

import json

import pytest

from fashion_transfer.benchmarks.rows import bench_row, print_rows, read_rows, write_rows
from fashion_transfer.errors import FashionTransferError


def test_table_shows_value_and_comparison(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    rows = [
        bench_row("cold", "default job, cold", 1234.5, "s", speedup=12.5),
        bench_row("openvino", "OpenVINO; ratio: ours over it", 40.0, "images/s", ratio=0.97),
    ]
    print_rows(rows)
    out = capsys.readouterr().out
    assert "1,234.50" in out
    assert "12.5× faster than plain" in out
    assert "ratio 0.97" in out


def test_rows_are_written_with_their_conditions(tmp_path):
    path = tmp_path / "deep" / "bench.json"
    write_rows([bench_row("cold", "cold", 8.0, "s", speedup=2.0)], path)
    [row] = read_rows(path)
    assert (row["name"], row["value"], row["speedup"]) == ("cold", 8.0, 2.0)
    assert row["machine"]["cores"] >= 1
    assert {"commit", "date", "torch"} <= row.keys()


def test_rows_of_earlier_calls_stay_in_the_file(tmp_path):
    path = tmp_path / "bench.json"
    write_rows([bench_row("cold", "cold", 8.0, "s"), bench_row("warm", "warm", 2.0, "s")], path)
    write_rows([bench_row("warm", "warm", 1.0, "s")], path)
    assert {row["name"]: row["value"] for row in read_rows(path)} == {"cold": 8.0, "warm": 1.0}


def test_missing_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "bench.json") == []


@pytest.mark.parametrize("content", ["no JSON", json.dumps([1]), json.dumps({"other": 1})])
def test_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "bench.json"
    path.write_text(content)
    with pytest.raises(FashionTransferError, match="does not hold the rows"):
        write_rows([], path)
