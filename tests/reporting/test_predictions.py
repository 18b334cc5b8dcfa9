"""Predictions for image files: the table in the terminal, the CSV file and the JSON file."""

import csv
import json
import os
from pathlib import Path

import pytest

from fashion_transfer.confidence.decision import Prediction
from fashion_transfer.errors import ArgumentError
from fashion_transfer.reporting import (
    ImagePrediction,
    PredictionSummary,
    prediction_files,
    print_predictions,
)
from fashion_transfer.reporting import predictions as module
from fashion_transfer.reporting.predictions import short_warning

CLASS_NAMES = ("Coat", "Shirt")
HEADER = ["path", "label", "confidence", "warning", "reason", "message", "prepared", "error"]

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


@pytest.fixture
def written(tmp_path):
    """`written(images, class_names)`: rows of the CSV file, objects of the JSON file."""

    def write(images, class_names=CLASS_NAMES):
        with prediction_files(tmp_path, class_names) as write_one:
            for image in images:
                write_one(image)
        with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        return rows, json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))

    return write


def shown(images) -> None:
    summary = PredictionSummary()
    for image in images:
        summary.add(image)
    print_predictions(summary)


@pytest.mark.parametrize("case", ["neither", "both"])
def test_an_image_prediction_is_a_prediction_or_an_error(prediction, case):
    given = (None, "") if case == "neither" else (prediction(), "no such file")
    with pytest.raises(ArgumentError, match="error must be given if there is no prediction"):
        ImagePrediction(Path("a.png"), *given)


# ---- the files


def test_files_have_a_row_per_image(image_prediction, written):
    rows, objects = written([image_prediction("a.jpg"), image_prediction("b.jpg", warning=True)])
    message = "It may be a coat or a shirt."
    assert rows == [
        HEADER,
        ["a.jpg", "Coat", "0.900000", "false", "", "", "as it is", ""],
        ["b.jpg", "Coat", "0.500000", "true", "ambiguous", message, "as it is", ""],
    ]
    assert [list(row) for row in objects] == [[*HEADER, "probabilities"]] * 2
    values = [list(row.values())[:-1] for row in objects]
    assert values == [
        ["a.jpg", "Coat", 0.9, False, None, None, "as it is", None],
        ["b.jpg", "Coat", 0.5, True, "ambiguous", message, "as it is", None],
    ]


def test_row_of_an_unreadable_file_has_the_error_only(image_prediction, written):
    rows, objects = written([image_prediction("bad.jpg", error="not an image, or damaged")])
    assert rows[1] == ["bad.jpg", "", "", "", "", "", "", "not an image, or damaged"]
    assert {name for name, value in objects[0].items() if value is not None} == {"path", "error"}


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        ((0.75, 0.25), {"Coat": 0.75, "Shirt": 0.25}),
        ((0.5, 0.25, 0.25), {"Coat": 0.5, "Shirt": 0.25, "several items": 0.25}),
    ],
)
def test_json_file_has_all_probabilities_by_name(prediction, written, probabilities, named):
    predicted = prediction()._replace(probabilities=probabilities)
    _, objects = written([ImagePrediction(Path("a.jpg"), predicted)])
    assert objects[0]["probabilities"] == named


@pytest.mark.parametrize("name", NAMES)
def test_files_preserve_every_name(image_prediction, written, name):
    rows, objects = written([image_prediction(name), image_prediction("next.jpg")])
    assert [row[0] for row in rows[1:]] == [name, "next.jpg"]
    assert [row["path"] for row in objects] == [name, "next.jpg"]


def test_names_are_readable_in_the_json_file(image_prediction, written, tmp_path):
    written([image_prediction("Müller.jpg")])
    assert "Müller.jpg" in (tmp_path / "predictions.json").read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="file names there are text")
def test_files_take_a_name_that_is_not_utf_8(image_prediction, tmp_path):
    odd = os.fsdecode(b"caf\xe9.jpg")
    with prediction_files(tmp_path, CLASS_NAMES) as write:
        for name in (odd, "next.jpg"):
            write(image_prediction(name))
    content = (tmp_path / "predictions.csv").read_bytes()
    assert b"caf\xe9.jpg" in content
    assert b"next.jpg" in content
    objects = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert [row["path"] for row in objects] == [odd, "next.jpg"]


def test_files_without_an_image_are_empty(written):
    assert written([]) == ([HEADER], [])


def test_files_replace_older_ones_and_leave_nothing_else(image_prediction, written, tmp_path):
    for name in ("predictions.csv", "predictions.json"):
        (tmp_path / name).write_text("an older run's much longer file\n" * 100)
    rows, objects = written([image_prediction("one.jpg")])
    assert (len(rows), len(objects)) == (2, 1)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["predictions.csv", "predictions.json"]


def test_files_are_not_there_after_a_failure(image_prediction, tmp_path):
    def fail():
        with prediction_files(tmp_path, CLASS_NAMES) as write:
            write(image_prediction("one.jpg"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


# ---- the table of predictions


def test_predictions_are_printed_with_label_confidence_and_warning(image_prediction, capsys):
    shown([image_prediction("a.jpg"), image_prediction("b.jpg", warning=True)])
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
    shown([image_prediction("bad.jpg", error="no such file")])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "bad.jpg" in line]
    assert "no such file" in line
    assert "Coat" not in line


@pytest.mark.parametrize("name", [*NAMES[:7], "photo[bold].jpg", "[red]coat[/red].jpg", "x[/].jpg"])
def test_names_are_printed_as_they_are(image_prediction, capsys, name):
    shown([image_prediction(name)])
    assert name in capsys.readouterr().out


def test_labels_and_errors_are_printed_as_they_are(image_prediction, prediction, capsys):
    error = "cannot be read ([Errno 5] [io] error)"
    labelled = ImagePrediction(Path("a.jpg"), prediction()._replace(label="coat[wool]"))
    shown([image_prediction("bad.jpg", error=error), labelled])
    out = capsys.readouterr().out
    assert error in out
    assert "coat[wool]" in out


def test_a_long_table_is_cut_with_a_note(image_prediction, capsys, monkeypatch):
    monkeypatch.setattr(module, "MAX_ROWS", 5)
    shown([image_prediction(f"{number:03}.jpg") for number in range(7)])
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
