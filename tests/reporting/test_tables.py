"""Tables in the terminal and in Markdown, and the CSV file of predictions."""

import csv
import math
import os
from pathlib import Path

import pytest

from fashion_transfer.confidence.decision import Prediction
from fashion_transfer.errors import ArgumentError
from fashion_transfer.reporting import (
    ImagePrediction,
    WarningRow,
    print_metrics,
    print_predictions,
    print_warnings,
    warnings_markdown,
    write_predictions,
)
from fashion_transfer.reporting.tables import markdown_table, set_title, short_warning

HEADER = ["path", "label", "confidence", "warning", "reason", "message", "error"]

NAMES = (
    "IMG (1).jpg",
    "a,b.jpg",
    "Müller.jpg",
    "it's.jpg",
    'so "called".png',
    "a=b.png",
    "-x.png",
    "two\nlines.png",
    "写真.jpg",
    "$HOME; rm.png",
)


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "240")


def read(path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("case", ["neither", "both"])
def test_an_image_prediction_is_a_prediction_or_an_error(prediction, case):
    given = (None, "") if case == "neither" else (prediction(), "no such file")
    with pytest.raises(ArgumentError, match="error must be given if there is no prediction"):
        ImagePrediction(Path("a.png"), *given)


# ---- the CSV file


def test_csv_file_has_a_row_per_image(image_prediction, tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions([image_prediction("a.jpg"), image_prediction("b.jpg", warning=True)], path)
    message = "It may be a coat or a shirt."
    assert read(path) == [
        HEADER,
        ["a.jpg", "Coat", "0.900000", "false", "", "", ""],
        ["b.jpg", "Coat", "0.500000", "true", "ambiguous", message, ""],
    ]


def test_csv_row_of_an_unreadable_file_has_the_error_only(image_prediction, tmp_path):
    path = tmp_path / "predictions.csv"
    write_predictions([image_prediction("bad.jpg", error="not an image, or damaged")], path)
    assert read(path)[1] == ["bad.jpg", "", "", "", "", "", "not an image, or damaged"]


@pytest.mark.parametrize("name", NAMES)
def test_csv_file_preserves_every_name(image_prediction, tmp_path, name):
    path = tmp_path / "predictions.csv"
    write_predictions([image_prediction(name), image_prediction("next.jpg")], path)
    assert [row[0] for row in read(path)[1:]] == [name, "next.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="file names there are text")
def test_csv_file_takes_a_name_that_is_not_utf_8(image_prediction, tmp_path):
    path = tmp_path / "predictions.csv"
    names = [os.fsdecode(b"caf\xe9.jpg"), "next.jpg"]
    write_predictions([image_prediction(name) for name in names], path)
    content = path.read_bytes()
    assert b"caf\xe9.jpg" in content
    assert b"next.jpg" in content


def test_csv_file_replaces_an_older_one_and_leaves_nothing_else(image_prediction, tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("an older run's much longer file\n" * 100)
    write_predictions([image_prediction("one.jpg")], path)
    assert len(read(path)) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.csv"]


# ---- the table of predictions


def test_predictions_are_printed_with_label_confidence_and_warning(image_prediction, capsys):
    print_predictions([image_prediction("a.jpg"), image_prediction("b.jpg", warning=True)])
    out = capsys.readouterr().out
    [accepted] = [line for line in out.splitlines() if "a.jpg" in line]
    [warned] = [line for line in out.splitlines() if "b.jpg" in line]
    assert "Coat" in accepted
    assert "90%" in accepted
    assert "ambiguous" not in accepted
    assert "50%" in warned
    assert "ambiguous" in warned
    assert "1 of 2 images have a warning, such as: It may be a coat or a shirt." in out


def test_predictions_are_printed_with_the_error_of_a_file(image_prediction, capsys):
    print_predictions([image_prediction("bad.jpg", error="no such file")])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "bad.jpg" in line]
    assert "no such file" in line
    assert "Coat" not in line


@pytest.mark.parametrize("name", [*NAMES[:7], "photo[bold].jpg", "[red]coat[/red].jpg", "x[/].jpg"])
def test_names_are_printed_as_they_are(image_prediction, capsys, name):
    print_predictions([image_prediction(name)])
    assert name in capsys.readouterr().out


def test_labels_and_errors_are_printed_as_they_are(image_prediction, prediction, capsys):
    error = "cannot be read ([Errno 5] [io] error)"
    labelled = ImagePrediction(Path("a.jpg"), prediction()._replace(label="coat[wool]"))
    print_predictions([image_prediction("bad.jpg", error=error), labelled])
    out = capsys.readouterr().out
    assert error in out
    assert "coat[wool]" in out


def test_a_long_table_is_cut_with_a_note(image_prediction, capsys):
    print_predictions([image_prediction(f"{number:03}.jpg") for number in range(7)], max_rows=5)
    out = capsys.readouterr().out
    assert "004.jpg" in out
    assert "005.jpg" not in out
    assert "2 more" in out


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ((("Coat", 0.3), ("Dress", 0.051)), "⚠ ambiguous: or Coat 30%, Dress 5%"),
        ((("Coat", 0.3), ("Dress", 0.049)), "⚠ ambiguous: or Coat 30%"),
        ((("Coat", 0.01), ("Dress", 0.0)), "⚠ ambiguous"),
    ],
)
def test_short_warning_names_likely_labels_only(others, text):
    top = (("Shirt", 0.6), *others)
    assert short_warning(Prediction("Shirt", 0.6, top, True, "ambiguous", "…")) == text
    assert short_warning(Prediction("Shirt", 0.9, top, False)) == ""


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
