"""`make bench ARGS="--only page"`: uploads in a browser, many requests at once, screenshots."""

import os
import sys
from pathlib import Path

import pytest
from by_colour import CLASS_NAMES, LOGITS, make_classifier, write_picture
from PIL import Image

from fashion_transfer.benchmarks import page_job, page_screenshots
from fashion_transfer.benchmarks.page_browser import why_no_browser
from fashion_transfer.benchmarks.page_job import load_rows, page_rows, upload_rows
from fashion_transfer.benchmarks.page_load import (
    count_twins,
    interleave,
    mixed_up,
    send,
    write_bad_files,
)
from fashion_transfer.benchmarks.page_screenshots import two_items, write_screenshots, write_small
from fashion_transfer.benchmarks.page_server import Server, serve
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.page import build_page, launch

pytestmark = pytest.mark.slow

needs_browser = pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser())
needs_linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="not Linux")


@pytest.fixture(scope="module")
def classifier(make_backbone):
    return make_classifier(make_backbone())


@pytest.fixture(scope="module")
def server(classifier, tmp_path_factory):
    log = tmp_path_factory.mktemp("server") / "app.txt"
    log.write_text("")
    with launch(build_page(classifier), port=0) as page:
        yield Server(page.url, os.getpid(), log)


@pytest.fixture
def photos(tmp_path) -> list[Path]:
    folder = tmp_path / "photos"
    folder.mkdir()
    return [write_picture(folder / f"{colour}.jpg", colour) for colour in LOGITS]


@pytest.fixture
def rows(classifier, photos):
    """Predictions by name, and the rows that a page gives for them."""
    predictions = {file.name: classifier.predict(file)[0] for file in photos}
    names = (*CLASS_NAMES, "several items")
    given = {
        name: {
            "path": name,
            "label": p.label,
            "error": None,
            "probabilities": dict(zip(names, p.probabilities, strict=True)),
        }
        for name, p in predictions.items()
    }
    return predictions, given


# ---- many requests


def test_bad_files_are_spread_evenly():
    pictures = [Path(f"{number}.jpg") for number in range(18)]
    bad = [Path("a.txt"), Path("b.txt")]
    files = interleave(pictures, bad)
    assert [number for number, file in enumerate(files) if file in bad] == [5, 15]
    assert [file for file in files if file not in bad] == pictures


def test_bad_files_cannot_be_read(tmp_path, classifier):
    files = write_bad_files(tmp_path / "bad", 10)
    assert len(set(files)) == 10
    for file in files:
        with pytest.raises(FashionTransferError, match="not an image|cannot be read"):
            classifier.predict(file)


def test_rows_of_another_file_are_mixed_up(rows):
    predictions, given = rows
    assert mixed_up(given, predictions, CLASS_NAMES) == []
    red, green = given["red.jpg"], given["green.jpg"]
    given["red.jpg"], given["green.jpg"] = green | {"path": "red.jpg"}, red
    assert mixed_up(given, predictions, CLASS_NAMES) == ["red.jpg", "green.jpg"]


def test_row_of_a_file_that_cannot_be_read_has_an_error_alone(rows):
    _, given = rows
    none = {"path": "bad.jpg", "label": None, "error": "not an image", "probabilities": None}
    assert mixed_up({"bad.jpg": none}, {"bad.jpg": None}, CLASS_NAMES) == []
    wrong = given["red.jpg"] | {"path": "bad.jpg"}
    assert mixed_up({"bad.jpg": wrong}, {"bad.jpg": None}, CLASS_NAMES) == ["bad.jpg"]
    failed = none | {"path": "red.jpg"}
    assert mixed_up({"red.jpg": failed}, rows[0], CLASS_NAMES) == ["red.jpg"]


def test_predictions_that_are_alike_are_counted(rows):
    predictions = list(rows[0].values())
    assert count_twins(predictions) == 0
    assert count_twins([*predictions, predictions[0]]) == 1


def test_every_request_gets_the_row_of_its_file(server, photos, tmp_path):
    files = interleave(photos, write_bad_files(tmp_path / "bad", 2))
    result = send(server.url, files, clients=3)
    assert not result.errors
    assert {name: row["path"] for name, row in result.rows.items()} == {
        f.name: f.name for f in files
    }


def test_requests_without_a_server_are_lost(photos):
    result = send("http://127.0.0.1:1", photos, clients=2)
    assert set(result.errors) == {file.name for file in photos}
    assert not result.rows


@needs_linux
def test_load_is_measured(server, classifier, photos, tmp_path):
    measured = load_rows(server, classifier, photos, tmp_path, 20, 2, size=(60, 45))
    values = {row["name"]: row["value"] for row in measured}
    assert {name: values[f"page_{name}"] for name in ("lost", "mixed_up", "errors")} == {
        "lost": 0,
        "mixed_up": 0,
        "errors": 0,
    }
    assert values["page_rate"] > 0
    assert "page_growth" in values


# ---- in a browser


@needs_browser
def test_uploads_are_timed_beside_the_prediction_alone(server, classifier, photos, tmp_path):
    measured = upload_rows(server, classifier, photos, tmp_path, count=1, sizes=((60, 45),))
    values = {row["name"]: row["value"] for row in measured}
    names = ("step", "prepare", "upload", "more")
    assert list(values) == [f"page_{name}_400px" for name in names]
    difference = values["page_upload_400px"] - values["page_step_400px"]
    assert values["page_more_400px"] == pytest.approx(difference)


@needs_browser
def test_screenshots_are_of_each_size_and_scheme(server, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(page_screenshots, "SCHEMES", ("dark",))
    defects = write_screenshots(server.url, {"one": photos[:1]}, tmp_path / "shots")
    assert not defects
    names = {file.name for file in (tmp_path / "shots").iterdir()}
    assert names == {f"{n}-{s}-dark.png" for n in ("empty", "one") for s in ("desktop", "phone")}
    with Image.open(tmp_path / "shots" / "one-phone-dark.png") as phone:
        assert phone.width % 390 == 0
    written = write_small(tmp_path / "shots" / "one-desktop-dark.png", tmp_path / "small.png")
    with Image.open(written) as picture:
        assert picture.size[0] == 1280
        assert picture.mode == "P"


def test_two_items_lie_side_by_side(photos, tmp_path):
    two_items(photos, tmp_path / "two.jpg", lambda image: image[0] > 1)
    with Image.open(tmp_path / "two.jpg") as picture:
        assert picture.width == 2 * picture.height
    with pytest.raises(FashionTransferError, match="fewer than two"):
        two_items(photos, tmp_path / "none.jpg", lambda image: None)


# ---- the server as a process


class Program(Revision):
    """A revision whose command is a small program."""

    def command(self, script, overrides, run_dir):
        return [sys.executable, "-c", self.name]


def test_server_is_ready_once_it_prints_its_address(tmp_path):
    handler = "from signal import *; signal(SIGTERM, default_int_handler)"
    printed = "print('loading'); print('see http://127.0.0.1:7861/')"
    lines = f"{handler}; {printed}; import time; time.sleep(60)"
    with serve(Program(lines, tmp_path, ""), Path("best.ckpt"), tmp_path) as server:
        assert server.url == "http://127.0.0.1:7861"
        assert server.failures() == 0
    assert server.failures() == 1  # this program says that it was interrupted, app.py does not


def test_server_that_ends_is_an_error_with_its_last_line(tmp_path):
    program = Program("print('error: no checkpoint')", tmp_path, "")
    with (
        pytest.raises(FashionTransferError, match="no address: error: no checkpoint"),
        serve(program, Path("best.ckpt"), tmp_path),
    ):
        pass


@needs_linux
def test_memory_is_that_of_the_process():
    assert Server("", os.getpid(), Path()).private_memory() > 1e7


def test_missing_net_is_named_before_anything_is_trained(tmp_path):
    with pytest.raises(FashionTransferError, match="make cutout"):
        page_rows(Revision("", tmp_path, ""), tmp_path, [], tmp_path)


def test_only_page_is_measured_with_a_checkpoint_and_a_folder(monkeypatch, tmp_path):
    from fashion_transfer.benchmarks import bench

    given = []

    def rows(head, scratch, overrides, sources, checkpoint, screenshots):
        given.append((checkpoint, screenshots))
        return []

    monkeypatch.setattr(bench, "page_rows", rows)
    options = ["--checkpoints", "best.ckpt", "--screenshots", "shots"]
    bench.main(["--only", "page", *options, "--output", str(tmp_path / "bench.json")])
    assert given == [(Path("best.ckpt"), Path("shots"))]
    assert page_job.REQUESTS == 200
