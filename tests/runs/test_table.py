import csv
import io

import pytest
from rich.cells import cell_len

from fashion_transfer.runs.differences import Spread
from fashion_transfer.runs.table import (
    cell_text,
    fold,
    printable,
    render,
    to_csv,
    to_markdown,
)

LONG = "[layer2@2,layer3,layer4,layer2@2,layer3,layer4,layer2@2,layer3,layer4]"
COLUMNS = {"run": "run", "data.images_per_class": "images_per_class", "pool": "pool"}
METRICS = {"val/accuracy": "val/accuracy", "seconds": "seconds"}
ROW = {"run": "a/0", "data.images_per_class": 500, "val/accuracy": 0.9164, "seconds": 8.12}


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("val/accuracy", 0.9164, "91.64%"),
        ("val/accuracy", Spread(0.9164, 0.001), "91.64 ± 0.10%"),
        ("val/accuracy", Spread(0.9164, None), "91.64%"),
        ("val/loss", 0.25, "0.2500"),
        ("seconds/fit", 80.62, "80.6"),
        ("lr", 0.0003, "0.0003"),
        ("calibration/images", 1000, "1000"),
        ("x", None, ""),
        ("x", "null", "null"),
        ("x", "a\x1b[31m\n", r"a\x1b[31m\n"),
    ],
)
def test_cell_text_suits_the_column(name, value, text):
    assert cell_text(name, value) == text


def test_printable_writes_out_what_no_file_name_may_do_to_a_terminal():
    assert printable("ü 衣\udcff") == r"ü 衣\udcff"


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS | METRICS])
def test_render_cuts_nothing_off_and_stays_within_the_width(width, columns):
    text = render([ROW | {"pool": LONG}, ROW | {"pool": "衣" * 50}], columns, width)
    assert max(map(cell_len, text.splitlines())) <= width
    letters = "".join(text.split())
    for value in ("a/0", "500", *(["91.64%", "8.1"] if "seconds" in columns else [])):
        assert value in letters
    assert letters.count("衣") == 50
    assert letters.count("layer4") == 3 or width == 20  # broken within a word there


def test_render_aligns_numbers_right_and_breaks_headings():
    text = render([ROW, ROW | {"data.images_per_class": 50}], COLUMNS | METRICS, 40)
    assert text.splitlines() == [
        "     images_",
        "        per_            val/",
        "run    class  pool  accuracy  seconds",
        "───  ───────  ────  ────────  ───────",
        "a/0      500          91.64%      8.1",
        "a/0       50          91.64%      8.1",
    ]


def test_render_turns_rows_into_blocks_where_columns_have_no_room():
    text = render([ROW, ROW], COLUMNS | METRICS, 30)
    assert text == "\n".join(
        ["run=a/0  images_per_class=500\n  val/accuracy=91.64%\n  seconds=8.1\n"] * 2
    )


def test_render_of_no_rows_has_headings():
    assert "run" in render([], COLUMNS, 80)


def test_fold_breaks_after_separators_else_anywhere():
    assert fold("ab/cd/ef", 6) == ["ab/cd/", "ef"]
    assert fold("abcdef", 4) == ["abcd", "ef"]
    assert fold("", 4) == [""]


def test_to_markdown_escapes_and_aligns():
    text = to_markdown([{"run": "a|b<c>", "pool": 3}], {"run": "run", "pool": "pool"})
    assert text == "| run | pool |\n| --- | ---: |\n| a\\|b&lt;c> | 3 |\n"


def test_to_csv_has_full_values_and_two_columns_for_a_spread():
    text = to_csv([{"a": Spread(1 / 3, 0.5), "b": "x,y\nz"}, {"b": None}], ["a", "b"])
    assert list(csv.reader(io.StringIO(text))) == [
        ["a", "a deviation", "b"],
        ["0.3333333333333333", "0.5", "x,y\nz"],
        ["", "", ""],
    ]
