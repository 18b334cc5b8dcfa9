import json
import os

import pytest
from filelock import Timeout

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import newest_checkpoint, run_lock, write_metrics


@pytest.fixture
def finished(tmp_path):
    """`finished(name)`: the folder of a finished training run, newer than the one before."""
    folders = []

    def create(name: str):
        folder = tmp_path / "logs" / "train" / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "checkpoints" / "best.ckpt").touch()
        (folder / "metrics.json").write_text("{}")
        folders.append(folder)
        os.utime(folder / "metrics.json", (1e9 + len(folders), 1e9 + len(folders)))
        return folder

    return create


def test_write_metrics_writes_one_flat_json_object(tmp_path):
    metrics = {"test/accuracy": 0.5, "weights/name": "Müller.pth", "seconds/fit": 1.234}
    write_metrics(tmp_path, metrics)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]


def test_write_metrics_that_fails_leaves_the_older_file(tmp_path):
    write_metrics(tmp_path, {"test/accuracy": 0.5})
    with pytest.raises(TypeError):
        write_metrics(tmp_path, {"test/accuracy": object()})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"test/accuracy": 0.5}


def test_newest_checkpoint_is_of_the_run_that_finished_last(finished, tmp_path):
    finished("runs/2030")
    newer = finished("runs/2020")
    assert newest_checkpoint(tmp_path / "logs") == newer / "checkpoints" / "best.ckpt"


def test_newest_checkpoint_may_be_of_a_job_of_a_multirun(finished, tmp_path):
    finished("runs/a")
    newer = finished("multiruns/b/0")
    assert newest_checkpoint(tmp_path / "logs") == newer / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize("missing", ["metrics.json", "checkpoints/best.ckpt"])
def test_newest_checkpoint_skips_an_unfinished_run(finished, tmp_path, missing):
    older = finished("runs/a")
    (finished("runs/b") / missing).unlink()
    assert newest_checkpoint(tmp_path / "logs") == older / "checkpoints" / "best.ckpt"


def started_with(folder, debug: str) -> None:
    (folder / ".hydra").mkdir()
    text = f"hydra:\n  runtime:\n    choices:\n      data: folder\n      debug: {debug}\n"
    (folder / ".hydra" / "hydra.yaml").write_text(text)


def test_newest_checkpoint_skips_debug_runs(finished, tmp_path):
    older = finished("runs/a")
    started_with(older, "null")
    started_with(finished("runs/b"), "tiny")
    assert newest_checkpoint(tmp_path / "logs") == older / "checkpoints" / "best.ckpt"


def test_newest_checkpoint_of_debug_runs_alone_raises_what_to_do(finished, tmp_path):
    started_with(finished("runs/a"), "tiny")
    with pytest.raises(FashionTransferError, match=r"no training runs but those with debug="):
        newest_checkpoint(tmp_path / "logs")


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_newest_checkpoint_skips_runs_of_other_commands(tmp_path, command):
    folder = tmp_path / command / "runs" / "a"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").touch()
    write_metrics(folder, {})
    with pytest.raises(FashionTransferError, match="no finished training run"):
        newest_checkpoint(tmp_path)


def test_newest_checkpoint_without_any_run_raises_what_to_do(tmp_path):
    with pytest.raises(FashionTransferError, match=r"train\.py.*ckpt_path=PATH"):
        newest_checkpoint(tmp_path / "nowhere")


def test_run_lock_is_held_by_one_at_a_time(tmp_path):
    with run_lock(tmp_path), pytest.raises(Timeout), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass
