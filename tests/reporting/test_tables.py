import csv
import os

import pytest

from fashion_transfer.confidence import Prediction
from fashion_transfer.reporting import print_answers, print_metrics, write_answers
from fashion_transfer.reporting.tables import short_warning

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


# ---- the CSV file


def test_the_file_has_a_row_an_image(answer, tmp_path):
    path = tmp_path / "predictions.csv"
    write_answers([answer("sure.jpg"), answer("doubtful.jpg", warning=True)], path)
    assert read(path) == [
        HEADER,
        ["sure.jpg", "Coat", "0.900000", "false", "", "", ""],
        [
            "doubtful.jpg",
            "Coat",
            "0.500000",
            "true",
            "ambiguous",
            "Only 50% sure that this is Coat.",
            "",
        ],
    ]


def test_an_unreadable_file_has_a_row_with_the_error_and_no_answer(answer, tmp_path):
    path = tmp_path / "predictions.csv"
    write_answers([answer("bad.jpg", error="not an image, or damaged")], path)
    assert read(path)[1] == ["bad.jpg", "", "", "", "", "", "not an image, or damaged"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_comes_back_as_it_was(answer, tmp_path, name):
    path = tmp_path / "predictions.csv"
    write_answers([answer(name), answer("next.jpg")], path)
    assert [row[0] for row in read(path)[1:]] == [name, "next.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="file names there are text")
def test_a_name_that_is_not_utf_8_does_not_cost_the_other_rows(answer, tmp_path):
    path = tmp_path / "predictions.csv"
    write_answers([answer(os.fsdecode(b"caf\xe9.jpg")), answer("next.jpg")], path)
    content = path.read_bytes()
    assert b"caf" in content
    assert b"next.jpg" in content


def test_an_older_file_is_replaced_and_nothing_else_is_left(answer, tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("an older run's much longer file\n" * 100)
    write_answers([answer("one.jpg")], path)
    assert len(read(path)) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["predictions.csv"]


# ---- the table of answers


def test_the_table_shows_label_confidence_and_warning(answer, capsys):
    print_answers([answer("sure.jpg"), answer("doubtful.jpg", warning=True)])
    lines = capsys.readouterr().out.splitlines()
    [sure] = [line for line in lines if "sure.jpg" in line]
    [doubtful] = [line for line in lines if "doubtful.jpg" in line]
    assert "Coat" in sure
    assert "90%" in sure
    assert "ambiguous" not in sure
    assert "50%" in doubtful
    assert "ambiguous" in doubtful


def test_the_table_shows_what_is_wrong_with_a_file(answer, capsys):
    print_answers([answer("bad.jpg", error="no such file")])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "bad.jpg" in line]
    assert "no such file" in line
    assert "Coat" not in line


@pytest.mark.parametrize("name", [*NAMES[:7], "photo[bold].jpg", "[red]coat[/red].jpg", "x[/].jpg"])
def test_the_table_shows_names_as_they_are(answer, capsys, name):
    print_answers([answer(name)])
    assert name in capsys.readouterr().out


def test_the_table_shows_errors_as_they_are(answer, capsys):
    print_answers([answer("bad.jpg", error="cannot be read ([Errno 5] [io] error)")])
    assert "cannot be read ([Errno 5] [io] error)" in capsys.readouterr().out


def test_a_long_table_is_cut_and_says_so(answer, capsys):
    print_answers([answer(f"{number:03}.jpg") for number in range(7)], most=5)
    out = capsys.readouterr().out
    assert "004.jpg" in out
    assert "005.jpg" not in out
    assert "2 more" in out


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


def rows(out: str) -> dict[str, str]:
    cells = [line.strip("│ ").split("│") for line in out.splitlines() if line.startswith("│")]
    return {name.strip(): value.strip() for name, value in cells}


def test_metrics_are_shown_as_people_read_them(capsys):
    print_metrics(METRICS, title="run logs/x")
    out = capsys.readouterr().out
    assert "run logs/x" in out
    assert rows(out) == {
        "val/accuracy": "85.71%",
        "test/accuracy/t_shirt_top": "100.00%",
        "test/loss": "0.1235",
        "seconds/fit": "12.3 s",
        "weights/name": "IMAGENET1K_V1",
        "weights/sha256": "0123456789ab…",
    }


def test_names_of_folders_and_weights_are_shown_as_they_are(capsys):
    print_metrics({"weights/name": "mine[v2].pth"}, title="run logs/a[b]")
    out = capsys.readouterr().out
    assert "mine[v2].pth" in out
    assert "run logs/a[b]" in out


def test_a_long_path_is_not_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    title = f"run logs/{'x' * 90}"
    print_metrics(METRICS, title=title)
    assert title in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ((("Coat", 0.3), ("Dress", 0.051)), "⚠ ambiguous: or Coat 30%, Dress 5%"),
        ((("Coat", 0.3), ("Dress", 0.049)), "⚠ ambiguous: or Coat 30%"),
        ((("Coat", 0.01), ("Dress", 0.0)), "⚠ ambiguous"),
    ],
)
def test_a_short_warning_names_only_labels_worth_a_thought(others, told):
    top = (("Shirt", 0.6), *others)
    assert short_warning(Prediction("Shirt", 0.6, top, True, "ambiguous", "…")) == told
    assert short_warning(Prediction("Shirt", 0.9, top, False)) == ""
