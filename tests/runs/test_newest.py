import os

import pytest

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import write_metrics
from fashion_transfer.runs.newest import newest_checkpoint
from fashion_transfer.runs.record import RunRecord, write_record


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


@pytest.mark.parametrize("debug", ["tiny", "[tiny,profiler]"])
def test_newest_checkpoint_skips_debug_runs(finished, tmp_path, debug):
    older, newer = finished("runs/a"), finished("runs/b")
    write_record(RunRecord(older, choices={"data": "folder", "debug": None}))
    write_record(RunRecord(newer, choices={"data": "folder", "debug": debug}))
    assert newest_checkpoint(tmp_path / "logs") == older / "checkpoints" / "best.ckpt"


def test_newest_checkpoint_of_debug_runs_alone_raises_what_to_do(finished, tmp_path):
    write_record(RunRecord(finished("runs/a"), choices={"debug": "tiny"}))
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
