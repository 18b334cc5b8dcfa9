"""The parts of the page that need neither a server nor Gradio."""

import io
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fashion_transfer.confidence import Prediction
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.page import uploads as uploads_module
from fashion_transfer.page.cards import cards, percent, summary
from fashion_transfer.page.flags import Flags
from fashion_transfer.page.guard import without_paths
from fashion_transfer.page.markup import Example, package_examples, page_markup
from fashion_transfer.page.predictor import Predictor, Shown, data_address
from fashion_transfer.page.uploads import Uploads, own_name
from fashion_transfer.reporting import ImagePrediction

NAMES = ("Bag", "Coat", "Dress")


@pytest.fixture
def uploads():
    there = Uploads()
    yield there
    there.close()


def add(uploads, content=b"content", name="a.png"):
    return uploads.add(io.BytesIO(content), name, len(content))


def shown(prediction=None, error="", name="a.png", picture="data:image/jpeg;base64,x"):
    return Shown(ImagePrediction(Path(name), prediction, error), picture, picture)


def predicted(values=(0.2, 0.7, 0.1), warning=False, **more):
    label, confidence = max(zip(NAMES, values, strict=False), key=lambda pair: pair[1])
    top = tuple(sorted(zip(NAMES, values, strict=False), key=lambda pair: -pair[1]))
    return Prediction(label, confidence, top, warning, probabilities=tuple(values), **more)


# ---- uploads


def test_upload_is_given_once_and_deleted(uploads):
    token = add(uploads)
    with uploads.claim([token]) as [upload]:
        assert upload.path.read_bytes() == b"content"
        assert (upload.name, upload.size, upload.path.suffix) == ("a.png", 7, ".png")
        with uploads.claim([token]) as again:
            assert again == [None]
    assert list(uploads.folder.iterdir()) == []
    assert len(uploads) == 0


def test_same_content_has_two_tokens_and_two_files(uploads):
    tokens = [add(uploads), add(uploads)]
    with uploads.claim(tokens[:1]):
        pass
    with uploads.claim(tokens[1:]) as [other]:
        assert other.path.read_bytes() == b"content"


def test_upload_is_deleted_where_the_prediction_fails(uploads):
    token = add(uploads)
    with pytest.raises(RuntimeError), uploads.claim([token]):
        raise RuntimeError
    assert list(uploads.folder.iterdir()) == []


@pytest.mark.parametrize("token", [None, 7, "", "../x", ["a"], {"a": 1}, "x" * 10_000])
def test_unknown_token_gives_nothing(uploads, token):
    add(uploads)
    with uploads.claim([token]) as claimed:
        assert claimed == [None]
    assert len(uploads) == 1


def test_sweep_deletes_what_has_waited_too_long(uploads, monkeypatch):
    old, now = add(uploads), time.monotonic()
    monkeypatch.setattr(uploads_module.time, "monotonic", lambda: now + 100)
    new = add(uploads)
    uploads.sweep(50)
    with uploads.claim([old, new]) as [first, second]:
        assert first is None
        assert second is not None


def test_full_folder_is_refused(uploads, monkeypatch):
    monkeypatch.setattr(uploads_module, "MAX_BYTES", 10)
    add(uploads)
    with pytest.raises(FashionTransferError, match="too many pictures are waiting"):
        add(uploads)
    assert len(uploads) == len(list(uploads.folder.iterdir())) == 1


def test_folder_of_uploads_is_the_users_own_and_is_deleted(uploads):
    add(uploads)
    assert uploads.folder.stat().st_mode & 0o077 == 0
    folder = uploads.folder
    uploads.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.png", "a.png"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\a.png", "a.png"),
        ("C:\\Users\\x\\a b.jpg", "a b.jpg"),
        ("", "picture"),
        ("/", "picture"),
        ("a\nb\0.png", "a\ufffdb\ufffd.png"),
        ("x" * 300 + ".png", "x" * 251 + ".png"),
    ],
)
def test_name_of_an_upload_is_its_last_part(given, name):
    assert own_name(given) == name


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a.HEIC", ".heic"),
        ("a", ""),
        ("a.p/g", ""),
        ("a.png\0", ""),
        ("a.toolong", ""),
        ("a.ü", ""),
    ],
)
def test_ending_of_an_upload_is_harmless(uploads, name, ending):
    with uploads.claim([add(uploads, name=name)]) as [upload]:
        assert upload.path.suffix == ending


def test_no_path_is_left_in_json():
    given = {"data": [[{"path": "a", "meta": {"path": ["b", {"path": 1}]}}], "path"]}
    assert without_paths(given) == {
        "data": [[{"upload": "a", "meta": {"upload": ["b", {"upload": 1}]}}], "path"]
    }


# ---- predictions


def test_predictions_are_in_the_order_of_the_uploads(tiny_classifier, uploads, draw, tmp_path):
    predictor = Predictor(tiny_classifier)
    files = [draw(tmp_path / f"{seed}.png", seed) for seed in range(10)]
    files[3].write_bytes(b"no picture")
    tokens = [add(uploads, file.read_bytes(), file.name) for file in files]
    with uploads.claim([*tokens, "gone"]) as there:
        results = predictor.predict(there, pictures=True)
    predictor.close()
    assert [str(r.result.path) for r in results] == [*(f.name for f in files), "picture"]
    assert results[3].result.error == "not an image that can be read"
    assert "did not arrive" in results[10].result.error
    good = [row for row in range(10) if row != 3]
    expected = tiny_classifier.predict([files[row] for row in good])
    for row, prediction in zip(good, expected, strict=True):
        assert results[row].result.prediction.label == prediction.label
        assert results[row].picture.startswith("data:image/")
        assert results[row].prepared.startswith("data:image/")


def test_threads_may_predict_at_once(tiny_classifier, uploads, draw, tmp_path):
    predictor = Predictor(tiny_classifier)
    predictor.warm_up()
    files = [draw(tmp_path / f"{seed}.png", seed) for seed in range(6)]
    labels = {}

    def ask(file):
        with uploads.claim([add(uploads, file.read_bytes(), file.name)]) as there:
            [result] = predictor.predict(there)
            labels[file] = result.result.prediction.label

    threads = [threading.Thread(target=ask, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    predictor.close()
    assert [labels[file] for file in files] == [p.label for p in tiny_classifier.predict(files)]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (3, 1000, 700), (1, 1, 4000)])
def test_pictures_of_the_page_are_small(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    address = data_address(noise)
    assert address.startswith("data:image/png" if shape[1] == 28 else "data:image/jpeg")
    assert len(address) < 200_000


# ---- cards


def test_card_says_what_was_predicted():
    warned = predicted((0.5, 0.4, 0.1), True, reason="ambiguous", message="Only 50% <sure>.")
    markup = cards([shown(predicted(prepared="cut out")), shown(warned)], NAMES, "set", True)
    for words in ("Coat", "70%", "item cut out", "No warning", "Warning: ambiguous.", "set/1"):
        assert words in markup
    assert "Only 50% &lt;sure&gt;." in markup
    assert markup.count('class="bar"') == 6
    assert markup.count("This is wrong") == 2
    assert markup.count("<img") == markup.count('alt="') == 4


def test_card_of_several_items_is_headed_so():
    p = predicted((0.02, 0.01, 0.0, 0.97), True, reason="several items", message="Many.")
    markup = cards([shown(p._replace(label="Bag", confidence=0.02))], NAMES, "set", False)
    assert 'Several items <span class="confidence">97%' in markup
    assert "As one item: Bag 2%" in markup
    assert markup.index("ft-multi") < markup.index(">Bag</span>")


def test_card_without_flags_has_no_button():
    assert "<button" not in cards([shown(predicted())], NAMES, "set", False)


def test_card_of_a_bad_file_says_why():
    markup = cards([shown(error="not an image", name="<b>.png")], NAMES, "set", True)
    assert "Could not be read" in markup
    assert "Not an image." in markup
    assert "&lt;b&gt;.png" in markup
    assert "<button" not in markup
    assert "<img" not in markup


def test_names_of_classes_are_escaped():
    names = ("<b>", '"x"', "&")
    label = predicted()._replace(label="<b>")
    markup = cards([shown(label)], names, "set", True)
    assert "<b>" not in markup
    assert "&lt;b&gt;" in markup


def test_card_has_ten_bars_at_most_and_one_of_several_items():
    names = [f"class {number}" for number in range(30)]
    values = (*np.linspace(0.06, 0.0, 30), 0.1)
    markup = cards([shown(predicted()._replace(probabilities=values))], names, "set", False)
    assert markup.count('<li class="bar') == 11
    assert "and 20 more classes" in markup
    assert "several items" in markup


def test_summary_counts_warnings_and_bad_files():
    warned = shown(predicted(warning=True))
    bad = shown(error="x")
    assert summary([shown(predicted())]) == "1 picture"
    assert summary([warned]) == "1 picture, with a warning"
    assert summary([bad]) == "1 file, could not be read"
    assert summary([warned, bad, bad]) == "3 pictures, 1 with a warning, 2 could not be read"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (0.001, "&lt;1%"), (0.456, "46%"), (0.994, "99%"), (0.999, "&gt;99%"), (1, "100%")],
)
def test_percent_is_never_rounded_to_certainty(value, text):
    assert percent(value) == text


# ---- the upload area


def test_markup_holds_no_code_of_the_template_language():
    names = ["${alert(1)}", "`x`", "{{x}}", "a\\b", "<b>"]
    markup = page_markup(names, names, 20, 50, [Example("${x}.png", b"x", "{{y}}")])
    assert not any(sign in markup for sign in ("${", "`", "{{", "\\", "<b>"))
    assert "@" not in markup


def test_markup_names_twenty_classes_at_most():
    names = [f"class {number}" for number in range(25)]
    assert "and 5 more" in page_markup(names, (), 20, 50)


def test_examples_are_small_and_free():
    examples = package_examples()
    assert 4 <= len(examples) <= 8
    assert sum(len(example.content) for example in examples) < 200_000
    folder = Path(uploads_module.__file__).parent / "examples"
    note = (folder / "README.md").read_text("utf-8")
    assert "CC0" in note
    assert all(example.name in note for example in examples)


# ---- flags


def flag(flags, uploads, content=b"content", **more):
    with uploads.claim([add(uploads, content, **more)]) as [upload]:
        return flags.add(upload, {"label": "Coat", "path": "a.png"}, "Bag")


def test_flag_is_two_files(uploads, tmp_path):
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.touch()
    flags = Flags(tmp_path / "deep" / "flagged", checkpoint)
    name = flag(flags, uploads, name="../<x>.jpg")
    content = json.loads((flags.folder / name).read_text())
    assert content["picture"] == name.replace(".json", ".jpg")
    assert (flags.folder / content["picture"]).read_bytes() == b"content"
    assert (content["label"], content["prediction"]["label"]) == ("Bag", "Coat")
    assert content["checkpoint"]["name"] == str(checkpoint)
    assert flags.folder.stat().st_mode & 0o077 == 0


def test_flags_never_replace_each_other(uploads, tmp_path):
    flags = Flags(tmp_path / "flagged")
    assert len({flag(flags, uploads) for _ in range(20)}) == 20
    assert len(list(flags.folder.iterdir())) == 40


def test_full_folder_of_flags_is_refused(uploads, tmp_path):
    flags = Flags(tmp_path / "flagged", max_bytes=600)
    flag(flags, uploads)
    with pytest.raises(FashionTransferError, match="flagged pictures is full"):
        flag(flags, uploads, bytes(600))
    assert len(list(flags.folder.iterdir())) == 2


def test_flag_that_cannot_be_written_is_refused(uploads, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FashionTransferError, match="could not be stored"):
        flag(Flags(tmp_path / "file"), uploads)
