"""The same twenty pictures have the same label and warning wherever a person asks for them."""

import json
import re
import runpy
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from outcomes import only_run
from PIL import Image, ImageDraw

pytest.importorskip("gradio")
pytest.importorskip("onnxscript")

import gradio_client

import fashion_transfer
from fashion_transfer.benchmarks.page_browser import open_browser, visit, why_no_browser
from fashion_transfer.confidence.decision import MULTI_ITEM
from fashion_transfer.page import build_page, launch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NUMBER = 20
OOD_LIMIT, TEMPERATURE = 4000.0, 6.0

Rows = dict[str, tuple[str, str]]
"""Label and reason, which is empty without a warning, by the name of the file."""


def draw_item(number: int, mode: str, ground: object, size: tuple[int, int]) -> Image.Image:
    """An item on a ground, as a shirt or a bag may look from far away."""
    draw = np.random.default_rng(number)
    image = Image.new(mode, size, ground)
    pen, (width, height) = ImageDraw.Draw(image), size
    colour = tuple(draw.integers(20, 200, 4).tolist())[: len(image.getbands())]
    ink = colour if len(colour) > 1 else colour[0]
    pen.rectangle([width // 4, height // 5, 3 * width // 4, 4 * height // 5], fill=ink)
    pen.ellipse([width // 8, height // 5, 7 * width // 8, height // 2], fill=ink)
    return image


def write_pictures(folder: Path) -> list[Path]:
    """Pictures on black, on plain and on busy grounds, in many formats and modes."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 160, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = {
        **{f"black-{n}.png": draw_item(n, "L", 0, (28, 28)) for n in range(5)},
        "black-large.png": draw_item(5, "L", 0, (90, 60)),
        "black-colour.png": draw_item(6, "RGB", (0, 0, 0), (70, 70)),
        "white.jpg": draw_item(7, "RGB", (255, 255, 255), (240, 320)),
        "white.webp": draw_item(8, "RGB", (250, 250, 250), (300, 200)),
        "beige.tif": draw_item(9, "RGB", (220, 205, 180), (150, 150)),
        "blue.bmp": draw_item(10, "RGB", (90, 120, 190), (180, 240)),
        "grey.gif": draw_item(11, "L", 230, (120, 160)),
        "transparent.png": draw_item(12, "RGBA", (0, 0, 0, 0), (200, 260)),
        "palette.png": draw_item(13, "RGB", (240, 230, 240), (160, 220)).convert("P"),
        "print.jpg": draw_item(14, "RGB", (245, 240, 235), (160, 220)).convert("CMYK"),
        "sixteen.png": Image.fromarray(np.uint16(257) * draw_item(15, "L", 235, (90, 120))),
        "noise.jpg": Image.fromarray(noise),
        "busy.jpg": Image.fromarray(np.sort(noise, axis=0)),
        "large.jpg": draw_item(16, "RGB", (210, 210, 215), (2400, 1800)),
        "turned.jpg": draw_item(17, "RGB", (255, 250, 250), (300, 180)),
    }
    paths = []
    for name, image in pictures.items():
        paths.append(folder / name)
        options = {"exif": exif} if name == "turned.jpg" else {}
        image.save(paths[-1], **options)
    assert len(paths) == NUMBER
    return paths


def as_rows(rows: list[Mapping[str, object]]) -> Rows:
    assert all(bool(row["warning"]) == bool(row["reason"]) for row in rows)
    return {Path(str(row["path"])).name: (str(row["label"]), row["reason"] or "") for row in rows}


@pytest.fixture(scope="module")
def checkpoint(train, imagenet_weights, tmp_path_factory) -> Path:
    """A classifier with a second opinion, on a ResNet18 with random weights."""
    logs = tmp_path_factory.mktemp("twenty")
    more = ("policy.threshold=0.4", "trainer.max_epochs=6", "model.optimizer.lr=0.001")
    best = train(logs, f"model.backbone.weights={imagenet_weights}", *more).best
    content = torch.load(best, weights_only=True)
    # Or nearly all were unfamiliar, and the others certain.
    content["state_dict"]["classifier.calibrator.ood_limit"].fill_(OOD_LIMIT)
    content["state_dict"]["classifier.calibrator.temperature"].fill_(TEMPERATURE)
    torch.save(content, best)
    return best


@pytest.fixture(scope="module")
def classifier(checkpoint):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        loaded = fashion_transfer.load(checkpoint, precision="float32")
    assert loaded.opinion is not None
    return loaded


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def expected(run, checkpoint, pictures, tmp_path_factory) -> Rows:
    """What predict.py writes."""
    logs = tmp_path_factory.mktemp("logs")
    given = (f"ckpt_path={checkpoint}", f"paths.logs={logs}", "device=cpu")
    run("predict.py", *pictures, *given, "model.backbone.precision=float32").succeeded()
    return as_rows(json.loads((only_run(logs, "predict") / "predictions.json").read_text()))


@pytest.fixture(scope="module", params=[False, True], ids=["page", "notebook"])
def server(request, classifier):
    """The page by itself, and as a notebook shows it."""
    with launch(build_page(classifier), port=0, embedded=request.param) as served:
        yield served


def test_the_pictures_tell_doors_apart(expected, classifier, pictures):
    labels, reasons = zip(*expected.values(), strict=True)
    assert len(expected) == NUMBER
    assert len(set(labels)) > 3
    assert len(set(reasons)) > 2
    prepared = Counter(prediction.prepared for prediction in classifier.predict(pictures))
    assert prepared["as it is"] > 5
    assert len(prepared) > 1


def test_python_agrees(expected, classifier, pictures):
    predictions = classifier.predict(pictures)
    rows = zip(pictures, predictions, strict=True)
    assert {path.name: (p.label, p.reason) for path, p in rows} == expected


def test_endpoint_agrees(expected, server, pictures):
    client = gradio_client.Client(server.url, verbose=False)
    files = [gradio_client.handle_file(str(path)) for path in pictures]
    assert as_rows(client.predict(files, api_name="/predict")) == expected


@pytest.mark.skipif(bool(why_no_browser()), reason=why_no_browser())
def test_page_in_a_browser_agrees(expected, server, pictures):
    with open_browser() as browser, visit(browser, server.url) as visitor:
        visitor.upload(pictures)
        for path in pictures:
            label, reason = expected[path.name]
            card = visitor.card(path.name)
            assert card.get_attribute("data-state") == ("warning" if reason else "accepted")
            text = card.inner_text()
            heading = ".ft-below" if reason == MULTI_ITEM else "h3"
            assert re.search(rf"(^|: ){re.escape(label)}\s", card.locator(heading).inner_text())
            assert (f"Warning: {reason}." in text) == bool(reason)


def test_export_agrees(expected, run, checkpoint, pictures, tmp_path):
    file = tmp_path / "classifier.onnx"
    run("export.py", f"ckpt_path={checkpoint}", f"output={file}").succeeded()
    example = runpy.run_path(str(ROOT / "docs" / "examples" / "predict_onnx.py"))
    exported = example["OnnxClassifier"](str(file))
    rows = {path.name: exported.predict(path) for path in pictures}
    assert {name: (row.label, row.reason) for name, row in rows.items()} == expected
