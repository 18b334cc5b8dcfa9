"""Real requests to a real server, by Gradio's client and by plain HTTP."""

import json
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("gradio")
import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.page import build_page, launch
from fashion_transfer.reporting import ImagePrediction
from fashion_transfer.reporting.predictions import as_row

MAX_PICTURES, MAX_MEGABYTES = 3, 0.1


@pytest.fixture(scope="module")
def flags(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs") / "flagged"


@pytest.fixture(scope="module")
def server(tiny_classifier, flags):
    page = build_page(
        tiny_classifier, flags=flags, max_pictures=MAX_PICTURES, max_megabytes=MAX_MEGABYTES
    )
    with launch(page, port=0) as served:
        yield served


@pytest.fixture(scope="module")
def client(server):
    return Client(server.url, verbose=False)


@pytest.fixture
def uploads(server):
    return server.page.fashion_transfer.uploads


@pytest.fixture
def predict(client):
    """`predict(*paths)`: the rows of files."""

    def rows(*paths: Path):
        return client.predict([handle_file(str(path)) for path in paths], api_name="/predict")

    return rows


@pytest.fixture
def expected(tiny_classifier):
    """`expected(path)`: the row of a file as the classifier itself gives it."""

    def row(path: Path):
        [prediction] = tiny_classifier.predict(path)
        result = ImagePrediction(Path(path.name), prediction)
        return as_row(result, tiny_classifier.class_names)

    return row


def assert_same(row, other):
    numbers = row["confidence"], row["probabilities"]
    assert numbers[0] == pytest.approx(other["confidence"], abs=1e-5)
    assert numbers[1] == pytest.approx(other["probabilities"], abs=1e-5)
    left_out = {"confidence": None, "probabilities": None, "message": None}
    assert row | left_out == other | left_out


def post(server, path, **options):
    return httpx.post(server.url.rstrip("/") + path, timeout=30, **options)


def call(server, data):
    """The result of a call as `curl` makes it: the event's name and its data."""
    started = post(server, "/gradio_api/call/predict", json={"data": data})
    started.raise_for_status()
    event = started.json()["event_id"]
    address = f"{server.url}gradio_api/call/predict/{event}"
    lines = httpx.get(address, timeout=30).text.splitlines()
    last = max(row for row, line in enumerate(lines) if line.startswith("event: "))
    return lines[last].removeprefix("event: "), json.loads(lines[last + 1].removeprefix("data: "))


# ---- predictions


def test_row_is_that_of_the_classifier(predict, expected, picture):
    path = picture("a b (1) ü.png")
    [row] = predict(path)
    assert_same(row, expected(path))
    assert row["path"] == "a b (1) ü.png"


def test_rows_are_in_the_order_of_the_files(predict, expected, picture):
    paths = [picture(f"{seed}.png", seed) for seed in (2, 0, 1)]
    for row, path in zip(predict(*paths), paths, strict=True):
        assert_same(row, expected(path))


def test_bad_file_has_a_row_with_its_error_beside_the_others(predict, picture, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    rows = predict(picture("a.png"), bad)
    assert rows[0]["error"] is None
    assert rows[1] == dict.fromkeys(rows[1]) | {
        "path": "bad.jpg",
        "error": "not an image that can be read",
    }


def test_client_needs_no_options(server, expected, picture):
    path = picture()
    [row] = Client(server.url, verbose=False).predict([handle_file(str(path))], api_name="/predict")
    assert_same(row, expected(path))


def test_same_file_by_two_clients_at_once_is_predicted_twice(server, expected, picture):
    path, rows, barrier = picture(), [], threading.Barrier(2)

    def ask():
        own = Client(server.url, verbose=False)
        barrier.wait()
        rows.extend(own.predict([handle_file(str(path))], api_name="/predict"))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows) == 2
    for row in rows:
        assert_same(row, expected(path))


def test_plain_http_gives_the_same_row(server, expected, picture):
    path = picture("plain.png")
    sent = post(server, "/gradio_api/upload", files={"files": ("plain.png", path.read_bytes())})
    [token] = sent.json()
    event, [[row]] = call(server, [[{"path": token}]])
    assert event == "complete"
    assert_same(row, expected(path))


# ---- nothing stays


def test_uploads_are_deleted_once_predicted(predict, uploads, picture, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    predict(picture(), bad)
    assert len(uploads) == 0
    assert list(uploads.folder.iterdir()) == []


def test_upload_is_predicted_once(server, picture):
    sent = post(server, "/gradio_api/upload", files={"files": ("a.png", picture().read_bytes())})
    [token] = sent.json()
    _, [[first]] = call(server, [[{"path": token}]])
    _, [[second]] = call(server, [[{"path": token}]])
    assert first["error"] is None
    assert "predicted already" in second["error"]


def test_server_deletes_all_pictures_when_it_ends(tiny_classifier, picture):
    page = build_page(tiny_classifier)
    with launch(page, port=0) as served:
        post(served, "/gradio_api/upload", files={"files": ("a.png", picture().read_bytes())})
        folder = page.fashion_transfer.uploads.folder
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()


# ---- limits


def test_too_many_pictures_are_refused_in_words(predict, uploads, picture):
    paths = [picture(f"{seed}.png", seed) for seed in range(MAX_PICTURES + 1)]
    with pytest.raises(AppError, match="These are 4 pictures: send at most 3"):
        predict(*paths)
    assert len(uploads) == 0


def test_request_without_a_picture_is_refused_in_words(client):
    with pytest.raises(AppError, match="no picture in this request"):
        client.predict([], api_name="/predict")


def test_too_large_picture_is_refused_in_words(server, uploads):
    files = {"files": ("large.png", bytes(int(MAX_MEGABYTES * 1e6) + 1))}
    refused = post(server, "/gradio_api/upload", files=files)
    assert refused.status_code == 413
    assert refused.text == "large.png is too large: pictures are read up to 0.1 MB."
    assert len(uploads) == 0


def test_too_large_request_is_broken_off(server, uploads):
    files = {"files": ("large.png", bytes(int(MAX_PICTURES * MAX_MEGABYTES * 1e6) + 2**17))}
    refused = post(server, "/gradio_api/upload", files=files)
    assert refused.status_code == 413
    assert refused.text == "Pictures are read up to 0.1 MB, 3 at once."
    assert len(uploads) == 0


def test_upload_that_is_no_form_is_refused(server):
    for options in ({"content": b"nonsense"}, {"json": {}}, {"data": {"files": "text"}}):
        assert post(server, "/gradio_api/upload", **options).status_code == 400


def test_full_queue_is_said_in_words(server, tiny_classifier, picture, monkeypatch):
    started, release = threading.Event(), threading.Event()
    predictor = server.page.fashion_transfer.predictor
    usual = predictor.predict

    def slow(*arguments, **options):
        started.set()
        release.wait(20)
        return usual(*arguments, **options)

    monkeypatch.setattr(predictor, "predict", slow)
    monkeypatch.setattr(server.page._queue, "max_size", 2)
    content, refused = picture().read_bytes(), None
    try:
        for _ in range(20):
            sent = post(server, "/gradio_api/upload", files={"files": ("a.png", content)})
            data = {"data": [[{"path": sent.json()[0]}]]}
            answer = post(server, "/gradio_api/call/predict", json=data)
            if answer.status_code == 503:
                refused = answer.json()["detail"]
                break
            started.wait(5)
    finally:
        release.set()
    assert refused is not None
    assert "Queue is full" in refused
    wait_until(lambda: len(server.page._queue) == 0)
    server.page.fashion_transfer.uploads.sweep(0)  # what was sent with the refused request
    wait_until(lambda: len(server.page.fashion_transfer.uploads) == 0)


def wait_until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_pictures": 0}, "max_pictures must be a whole number from 1, got 0"),
        ({"max_pictures": 2.5}, "max_pictures must be a whole number from 1, got 2.5"),
        ({"max_megabytes": 0}, "max_megabytes must be a number over 0, got 0"),
    ],
)
def test_impossible_limit_is_refused(tiny_classifier, options, message):
    with pytest.raises(ArgumentError, match=message):
        build_page(tiny_classifier, **options)


def test_port_that_is_taken_is_refused_in_words(server, tiny_classifier):
    page = build_page(tiny_classifier)
    with pytest.raises(FashionTransferError, match=f"port={server.port} .* cannot be used"):
        launch(page, port=server.port)
    page.fashion_transfer.close()


# ---- what the page says of itself


def test_only_the_endpoint_is_documented(client):
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/predict"]
    assert client.view_api(return_format="dict")["unnamed_endpoints"] == {}


def test_page_names_its_classes_and_formats(server, tiny_classifier):
    markup = httpx.get(server.url).text
    for words in (*tiny_classifier.class_names, "JPEG", "PNG", "Up to 3 at once, 0.1 MB each"):
        assert words in markup


# ---- flags


def page_event(server, name, value):
    """Triggers an event of the page as its script does, and returns what comes back."""
    config = httpx.get(f"{server.url}config").json()
    [index] = [
        d["id"] for d in config["dependencies"] if d["targets"] and d["targets"][0][1] == name
    ]
    body = {"data": [value], "fn_index": index, "session_hash": f"{name}{time.monotonic_ns()}"}
    post(server, "/gradio_api/queue/join", json=body).raise_for_status()
    address = f"{server.url}gradio_api/queue/data?session_hash={body['session_hash']}"
    with httpx.stream("GET", address, timeout=30) as lines:
        for line in lines.iter_lines():
            message = json.loads(line[6:]) if line.startswith("data: ") else {}
            if message.get("msg") == "process_completed":
                return message["output"]
    raise AssertionError("no result")


def send(server, path):
    sent = post(server, "/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
    return {"upload": sent.json()[0]}


def test_flag_stores_picture_and_prediction(server, flags, expected, picture):
    path = picture("wrong.png")
    value = {"picture": "x/0", "label": "Bag", "file": send(server, path)}
    before = set(flags.glob("*"))
    said = page_event(server, "wrong", value)["data"][0]
    assert said["stored"]
    assert said["flagged"] == "x/0"
    stored = set(flags.glob("*")) - before
    [note] = [file for file in stored if file.suffix == ".json"]
    content = json.loads(note.read_text())
    assert (flags / content["picture"]).read_bytes() == path.read_bytes()
    assert content["label"] == "Bag"
    assert content["version"]
    assert_same(content["prediction"], expected(path))


@pytest.mark.parametrize("label", ["../../etc", "no such label", 7, ["Bag"]])
def test_flag_with_an_unknown_label_is_refused(server, flags, picture, label):
    before, waiting = set(flags.glob("*")), len(server.page.fashion_transfer.uploads)
    value = {"picture": "x/0", "label": label, "file": send(server, picture())}
    said = page_event(server, "wrong", value)["data"][0]
    assert not said["stored"]
    assert set(flags.glob("*")) == before
    assert len(server.page.fashion_transfer.uploads) == waiting


def test_cards_have_the_result_and_no_name_as_markup(server, picture, uploads):
    name = "<img src=x onerror=alert(1)>.png"
    path = picture()
    files = {"files": (name, path.read_bytes())}
    [token] = post(server, "/gradio_api/upload", files=files).json()
    refused = {"name": "<b>big</b>.png", "error": "<i>too large</i>"}
    value = {"set": "<x>", "files": [{"upload": token}, refused]}
    markup, shown = page_event(server, "submit", value)["data"]
    assert shown == {"shown": "<x>"}
    assert markup.count("<article") == 2
    assert markup.count("data:image/") == 2
    assert "&lt;img src=x" in markup
    assert not any(tag in markup for tag in ("<img src=x", "<b>", "<i>", "<x>"))
    assert len(uploads) == 0
