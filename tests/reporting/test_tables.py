"""Tables in the terminal and in Markdown."""

import math

import pytest

from fashion_transfer.reporting import (
    WarningRow,
    print_metrics,
    print_warnings,
    warnings_markdown,
)
from fashion_transfer.reporting.tables import markdown_table, set_title


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


# ---- the table of metrics

METRICS = {
    "val/accuracy": 0.8571,
    "test/accuracy/t_shirt_top": 1.0,
    "test/loss": 0.123456,
    "seconds/fit": 12.345,
    "weights/name": "IMAGENET1K_V1",
    "weights/sha256": "0123456789abcdef" * 4,
    "versions/torch": "2.6.0",
}


def printed_rows(out: str) -> dict[str, str]:
    cells = [line.strip("│ ").split("│") for line in out.splitlines() if line.startswith("│")]
    return {name.strip(): value.strip() for name, value in cells}


def test_metrics_are_printed_in_readable_units(capsys):
    print_metrics(METRICS, title="run logs/x")
    out = capsys.readouterr().out
    assert "run logs/x" in out
    assert printed_rows(out) == {
        "val/accuracy": "85.71%",
        "test/accuracy/t_shirt_top": "100.00%",
        "test/loss": "0.1235",
        "seconds/fit": "12.3 s",
        "weights/name": "IMAGENET1K_V1",
        "weights/sha256": "0123456789ab…",
    }


def test_names_of_folders_and_weights_are_printed_as_they_are(capsys):
    print_metrics({"weights/name": "mine[v2].pth"}, title="run logs/a[b]")
    out = capsys.readouterr().out
    assert "mine[v2].pth" in out
    assert "run logs/a[b]" in out


def test_a_long_path_is_not_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    title = f"run logs/{'x' * 90}"
    print_metrics(METRICS, title=title)
    assert title in capsys.readouterr().out.splitlines()


# ---- the table of warnings

REASONS = {"several items": 0.006, "unfamiliar": 0.0, "ambiguous": 0.125}
ROWS = (
    WarningRow("test", 10_000, 0.131, REASONS, 0.203),
    WarningRow("multi_item/side_by_side", 1000, 0.998, {"several items": 0.998}, math.nan),
    WarningRow("multi_item/stacked", 1000, 1.0, {"several items": 1.0}, 0.5),
    WarningRow("out_of_distribution/digits", 9, 1.0, {"unfamiliar": 1.0}, 0.5),
)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("test", "test images"),
        ("multi_item/side_by_side", "multi-item composites: side by side"),
        ("control/stacked", "controls: stacked"),
        ("out_of_distribution/digits", "out-of-distribution: digits"),
        ("new_group/one_set", "new group: one set"),
        ("some_set", "some set"),
    ],
)
def test_set_title_is_readable(name, title):
    assert set_title(name) == title


def test_warnings_markdown_has_a_row_per_set_and_a_column_per_reason():
    assert warnings_markdown(ROWS[:2]).splitlines() == [
        "| evaluation set | images | warned | several items | unfamiliar | ambiguous | reference |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| test images | 10,000 | 13.1 | 0.6 | 0.0 | 12.5 | 20.3 |",
        "| multi-item composites: side by side | 1,000 | 99.8 | 99.8 | 0.0 | 0.0 | – |",
    ]


def test_warnings_are_printed_by_group_in_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_warnings(ROWS)
    out = capsys.readouterr().out
    words = ("10,000", "13.1", "12.5", "20.3", "99.8", "–", "several", "unfamiliar", "reference")
    assert all(word in out for word in words)
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    names = [line.split("│")[0].strip() for line in out.splitlines() if "│" in line]
    assert names == [
        "test images",
        "multi-item",
        "composites",
        "side by side",
        "stacked",
        "out-of-",
        "distribution",
        "digits",
    ]


def test_warnings_without_rows_are_an_empty_table(capsys):
    print_warnings([])
    assert "evaluation set" in capsys.readouterr().out
    assert warnings_markdown([]).count("\n") == 2


def test_drawing_libraries_are_not_needed_for_tables(without_matplotlib):
    assert warnings_markdown(ROWS)


# ---- Markdown


def test_markdown_table_aligns_numbers_right_and_escapes_bars():
    assert markdown_table(("a", "b", "c"), [("x|y", "1", "z")], text_columns=(0, 2)) == (
        "| a | b | c |\n| --- | ---: | --- |\n| x\\|y | 1 | z |\n"
    )
