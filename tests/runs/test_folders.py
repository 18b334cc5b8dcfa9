import json
import math

import pytest
from filelock import Timeout

from fashion_transfer.runs.folders import run_lock, write_metrics
from fashion_transfer.runs.record import read_metrics


def test_write_metrics_writes_one_flat_json_object(tmp_path):
    metrics = {"test/accuracy": 0.5, "weights/name": "Müller.pth", "seconds/fit": 1.234}
    write_metrics(tmp_path, metrics)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_metrics_that_are_no_numbers_are_valid_json(tmp_path):
    write_metrics(tmp_path, {"val/loss": math.nan, "test/loss": math.inf, "val/accuracy": 0.1})

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    read = read_metrics(tmp_path)
    assert math.isnan(read["val/loss"])
    assert read["val/accuracy"] == 0.1


def test_write_metrics_that_fails_leaves_the_older_file(tmp_path):
    write_metrics(tmp_path, {"test/accuracy": 0.5})
    with pytest.raises(TypeError):
        write_metrics(tmp_path, {"test/accuracy": object()})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"test/accuracy": 0.5}


def test_run_lock_is_held_by_one_at_a_time(tmp_path):
    with run_lock(tmp_path), pytest.raises(Timeout), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass
