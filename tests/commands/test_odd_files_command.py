"""predict.py on 200 odd files: a row for each, whatever it holds, and then exit status 1."""

import csv
import json

import pytest
from odd_files import write_odd_files
from outcomes import only_run

from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.data.image_files import images_below


@pytest.fixture(scope="module")
def predicted(run, trained, tmp_path_factory):
    """What predict.py printed on the files, its run folder, and by path whether each is readable.

    The cut-out net is missing.
    """
    folder, logs = tmp_path_factory.mktemp("odd") / "pictures", tmp_path_factory.mktemp("logs")
    pictures = write_odd_files(folder)
    settings = (f"ckpt_path={trained.best}", f"paths.logs={logs}", "device=cpu")
    ended = run("predict.py", folder, *settings, "model.backbone.precision=float32")
    return ended, only_run(logs, "predict"), folder, pictures


@pytest.fixture(scope="module")
def rows(predicted):
    with (predicted[1] / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_odd_file_has_its_row_in_the_order_of_the_folder(predicted, rows):
    _, _, folder, pictures = predicted
    assert len(rows) == len(pictures) >= 200
    assert [row["path"] for row in rows] == [str(path) for path in images_below(folder)]


def test_every_row_has_either_a_prediction_or_an_error(predicted, rows):
    readable = {str(path): state for path, state in predicted[3].items()}
    for row in rows:
        assert (row["label"] in CLASS_NAMES) is not bool(row["error"])
        assert bool(row["prepared"]) is not bool(row["error"])
        assert bool(row["confidence"]) is not bool(row["error"])
        assert len(row["error"].splitlines()) <= 1
        if readable[row["path"]] is not None:
            assert (not row["error"]) is readable[row["path"]], row
    assert {row["prepared"] for row in rows} == {"", "as it is", "plain ground"}


def test_exit_status_is_1_with_one_line_after_all_is_written(predicted, rows):
    ended, folder, _, _ = predicted
    failed = sum(bool(row["error"]) for row in rows)
    assert 0 < failed < len(rows)
    assert ended.mistake().startswith(f"{failed} of {len(rows)} files could not be read, such as ")
    assert (folder / "gallery.png").is_file()
    objects = json.loads((folder / "predictions.json").read_text(encoding="utf-8"))
    assert [described["path"] for described in objects] == [row["path"] for row in rows]


def test_missing_net_is_named_once(predicted):
    assert predicted[0].out.count("make cutout") == 1
