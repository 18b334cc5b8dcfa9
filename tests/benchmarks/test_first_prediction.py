"""The first answer of predict.py, of two revisions in turn."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fashion_transfer.benchmarks import first_prediction
from fashion_transfer.benchmarks.first_prediction import (
    first_pictures,
    first_prediction_rows,
    seconds_to_prediction,
)
from fashion_transfer.benchmarks.revisions import Revision
from fashion_transfer.data.preparation import Prepared
from fashion_transfer.errors import FashionTransferError


@pytest.fixture
def revisions(tmp_path) -> tuple[Revision, Revision]:
    """One with the packages of version 0.1.0, and one with those of today."""
    for name in ("old", "new"):
        (tmp_path / name / "src" / "fashion_transfer").mkdir(parents=True)
    (tmp_path / "new" / "src" / "fashion_transfer" / "evaluation").mkdir()
    return tuple(Revision(name, tmp_path / name, "commit") for name in ("old", "new"))


@pytest.fixture
def trained(monkeypatch):
    """The commands of `train.py`, which run nothing."""
    commands = []
    monkeypatch.setattr(first_prediction, "execute", lambda command, *_: commands.append(command))
    return commands


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        image = Image.new("RGB", (60, 80), "white")
        ImageDraw.Draw(image).rectangle((15, 10, 45, 65), "navy")
        image.save(folder / f"{number}.jpg")
    return folder


def mask(image):
    """Saliency of what is dark."""
    return (image[0] < 120).astype(np.float32)


@pytest.fixture
def treated(monkeypatch):
    """Stands for the preparation: `treated[:]` are what it says of one image after the other."""
    treatments = []

    class Preparing:
        def prepare(self, image):
            return Prepared(image, treatments.pop(0))

    monkeypatch.setattr(first_prediction, "get_preparation", lambda name: Preparing())
    return treatments


def test_first_answers_alternate_and_the_first_of_each_does_not_count(
    revisions, trained, photos, treated, tmp_path, monkeypatch
):
    treated[:] = ["plain ground", "cut out"]
    calls = []

    def answer(command, revision, errors):
        picture = Path(command[2]).parent.name
        calls.append((picture, revision.name))
        if len(calls) <= 4:
            return 100.0
        return {"old": 4.0, "new": {"plain": 2.0, "cut_out": 5.0}[picture]}[revision.name]

    monkeypatch.setattr(first_prediction, "seconds_to_prediction", answer)
    rows = {
        row["name"]: row
        for row in first_prediction_rows(*revisions, tmp_path, ["a=b"], 2, mask, photos)
    }
    assert calls == 3 * [(p, n) for p in ("plain", "cut_out") for n in ("old", "new")]
    assert rows["first_prediction_plain"]["ratio"] == 0.5
    assert rows["first_prediction_cut_out"]["ratio"] == 1.25
    assert rows["first_prediction_plain_base"]["value"] == 4.0
    assert "data.composites=0" in trained[0]
    assert "data.synthetic=null" in trained[1]


def test_pictures_are_prepared_as_their_rows_say(photos, treated, tmp_path):
    treated[:] = ["cut out", "plain ground", "plain ground", "cut out"]
    pictures = first_pictures(sorted(photos.iterdir()), tmp_path / "first", mask)
    assert not treated  # each took the second photo, which is treated as it should be
    assert Image.open(pictures["plain"]).size == (480, 480)
    assert Image.open(pictures["cut_out"]).size == (60, 80)


def test_without_a_cut_out_there_is_no_picture(photos, treated, tmp_path):
    treated[:] = ["plain ground"] * 3
    with pytest.raises(FashionTransferError, match="'cut out': get .* by `make cutout`"):
        first_pictures(sorted(photos.iterdir()), tmp_path / "first", mask)


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_answer_is_the_line_of_the_table(revisions, tmp_path):
    code = (
        "import time\nprint('[INFO] predicting uploaded.png')\ntime.sleep(0.2)\n"
        "print('uploaded.png  Coat  87%')\ntime.sleep(0.6)"
    )
    seconds = seconds_to_prediction(command(code), revisions[1], tmp_path / "errors.txt")
    assert 0.2 < seconds < 0.6


@pytest.mark.parametrize(
    "code", ["print('no table')", "import sys; sys.exit('error: no such file')"]
)
def test_command_without_an_answer_is_an_error(revisions, tmp_path, code):
    with pytest.raises(FashionTransferError, match="gave no answer:"):
        seconds_to_prediction(command(code), revisions[1], tmp_path / "errors.txt")
