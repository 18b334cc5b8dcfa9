import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from run_folders import write_run
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from fashion_transfer.runs import html_page
from fashion_transfer.runs.collection import collect
from fashion_transfer.runs.figures import SIDE, figures, tensorboard_images, thumbnail
from fashion_transfer.runs.html_page import to_html
from fashion_transfer.runs.leaderboard import leaderboard


def png(value: int = 100, size: tuple[int, int] = (30, 20)) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full(size, value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def decoded(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def write_events(folder, **images):
    writer = EventFileWriter(str(folder))
    for step in range(2):
        for tag, image in images.items():
            value = Summary.Value(tag=tag, image=Summary.Image(encoded_image_string=image))
            writer.add_event(Event(step=step, summary=Summary(value=[value])))
    writer.close()
    [file] = folder.glob("events*")
    return file


def test_thumbnail_is_small_and_whole():
    image = decoded(thumbnail(png(size=(1000, 2000))))
    assert image.size == (SIDE, SIDE // 2)


@pytest.mark.parametrize("content", [b"", b"no image", png()[:40]])
def test_thumbnail_of_a_damaged_file_is_none(content):
    assert thumbnail(content) is None


def test_figures_are_the_png_files_of_a_run_and_its_evaluation(tmp_path):
    (tmp_path / "evaluate").mkdir()
    (tmp_path / "a_b.png").write_bytes(png())
    (tmp_path / "evaluate" / "c.png").write_bytes(png())
    (tmp_path / "broken.png").write_bytes(b"x")
    assert [figure.title for figure in figures(tmp_path)] == ["a b", "c"]


def test_figures_are_those_of_tensorboard_where_there_are_no_files(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    write_events(tmp_path / "tensorboard", confusion=png(), views=png())
    assert [figure.title for figure in figures(tmp_path)] == ["confusion", "views"]


def test_tensorboard_images_end_where_the_file_is_cut_off(tmp_path):
    file = write_events(tmp_path, a=png(), b=png(50))
    whole = file.read_bytes()
    assert tensorboard_images(file) == {"a": png(), "b": png(50)}
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        tensorboard_images(file)
    file.write_bytes(whole[:30] + b"\xff" * 40 + whole[70:])
    tensorboard_images(file)


def page(logs, **options):
    board = leaderboard(collect(logs), **options)
    return to_html(board, "runs", "a note")


def test_page_needs_no_other_file(tmp_path):
    folder = write_run(tmp_path, "a", {"seed": 1}, accuracy=0.5)
    write_run(tmp_path, "b", accuracy=0.75)
    (folder / "x.png").write_bytes(png())
    html = page(tmp_path)
    assert re.findall(r"(?:src|href)=\"(.{10})", html) == ["data:image"]
    assert "http" not in html
    assert html.count('<tbody class="run">') == 2
    assert "python train.py seed=1" in html
    assert 'data-key="0.75"' in html


def test_page_escapes_names_errors_and_commands(tmp_path):
    evil = "<script>alert(1)</script>\x1b[31m"
    write_run(tmp_path, "a", {"x": evil}, status="failed", error=evil, command=evil)
    write_run(tmp_path, "b", {"x": '"><b>'}, accuracy=0.5)
    html = page(tmp_path)
    assert html.count("<script>") == 1
    assert "<b>" not in html
    assert "\x1b" not in html


def test_page_leaves_figures_out_once_it_is_full(tmp_path, monkeypatch):
    for name in "abc":
        (write_run(tmp_path, name, accuracy=0.5) / "x.png").write_bytes(png())
    monkeypatch.setattr(html_page, "MAX_FIGURE_BYTES", 1)
    html = page(tmp_path)
    assert html.count("<img") == 1
    assert "The last 2 rows are without figures" in html


def test_page_of_means_over_seeds_sorts_by_the_mean(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path, str(seed), {"seed": seed}, accuracy=0.5 + seed / 4)
    html = page(tmp_path, seeds=True)
    assert 'data-key="0.625"' in html
    assert "62.50 ± 17.68%" in html
