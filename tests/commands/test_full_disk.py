"""Disks that are full or can only be read: one line, and what was whole stays whole."""

import errno
import fcntl
import json
import os
import sys
from pathlib import Path

import pytest
from outcomes import only_run, read_metrics, same_state, state_of, without_seconds
from tensorboard.compat.tensorflow_stub.io import gfile

from fashion_transfer.commands import cli
from fashion_transfer.files import TEMPORARY

NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if TEMPORARY.fullmatch(path.name)]


@pytest.fixture
def full_after():
    """`full_after(name, count)`: files of a name can be written so often, then the disk is full.

    It returns what makes room.
    """

    patch = pytest.MonkeyPatch()

    def fill(name: str, count: int):
        write, written = Path.write_bytes, []

        def writing(path, content):
            if path.name.startswith(f".{name}."):
                written.append(path)
                if len(written) > count:
                    write(path, bytes(content)[:100])
                    raise OSError(*NO_SPACE.args)
            return write(path, content)

        patch.setattr(Path, "write_bytes", writing)
        return patch.undo

    yield fill
    patch.undo()


@pytest.mark.parametrize(
    "command",
    [
        ["train.py"],
        ["train.py", "-m", "seed=0,1"],
        ["search.py", "trials=2"],
        ["evaluate.py", "ckpt_path=none.ckpt"],
        ["predict.py", "ckpt_path=none.ckpt", "photo.jpg"],
        ["app.py", "ckpt_path=none.ckpt"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_folder_that_cannot_be_made_is_one_line(run, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    message = run(*command, f"paths.logs={tmp_path}/file").mistake()
    assert message.startswith(f"{tmp_path}/file/")
    assert "cannot be written (Not a directory): remove the file" in message
    assert "paths.logs=DIR" in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_table_of_runs_that_cannot_be_written_is_one_line(run, trained, tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise OSError(*NO_SPACE.args)

    monkeypatch.setattr(Path, "write_text", full)
    output = tmp_path / "runs.csv"
    message = run("runs.py", "--logs", trained.logs, "--output", output).mistake()
    assert message.startswith(f"{output} cannot be written (No space left on device): free some")
    assert list(tmp_path.iterdir()) == []


def test_run_goes_on_from_its_last_whole_checkpoint(run, tiny, plain, train, tmp_path, full_after):
    straight = train(tmp_path / "straight", "trainer.max_epochs=3")
    command = tiny(tmp_path / "logs", *plain, "trainer.max_epochs=3")
    make_room = full_after("last", 1)
    message = run("train.py", *command).mistake()
    make_room()
    folder = only_run(tmp_path / "logs")
    last = folder / "checkpoints" / "last.ckpt"
    assert message.startswith(f"{last} cannot be written (No space left on device): free some")
    assert left_behind(folder) == []
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"
    run("train.py", f"paths.logs={tmp_path / 'logs'}", "ckpt_path=last").succeeded()
    assert without_seconds(read_metrics(folder)) == without_seconds(straight.metrics)
    best = folder / "checkpoints" / "best.ckpt"
    assert same_state(state_of(best), state_of(straight.best))


def test_error_in_tensorboards_thread_is_one_line_of_the_run(run, tiny, tmp_path, monkeypatch):
    append = gfile.LocalFileSystem.append

    def full(self, filename, content, binary_mode=False):
        if b"epoch" in content:
            raise OSError(*NO_SPACE.args)
        append(self, filename, content, binary_mode)

    monkeypatch.setattr(gfile.LocalFileSystem, "append", full)
    message = run("train.py", *tiny(tmp_path, "callbacks.progress=null")).mistake()
    assert message.startswith(f"{only_run(tmp_path)} cannot be written (No space left on device)")


def test_file_system_without_locks_is_one_line(run, tiny, plain, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    message = run("train.py", *tiny(tmp_path, *plain)).mistake()
    assert "cannot be written (No locks available): use a disk that has file locks" in message


def test_trial_goes_on_once_there_is_room(run, tiny, plain, tmp_path, full_after):
    command = [*tiny(tmp_path, *plain), "trials=2", f"hydra.run.dir={tmp_path / 'study'}"]
    make_room = full_after("last", 1)
    message = run("search.py", *command).mistake()
    make_room()
    assert "last.ckpt cannot be written (No space left on device)" in message
    run("search.py", *command).succeeded()
    trials = sorted((tmp_path / "study" / "trials").iterdir())
    assert [trial.name for trial in trials] == ["0000", "0001"]
    states = [json.loads((trial / "run.json").read_text())["status"] for trial in trials]
    assert states[0] == "finished"
    assert states[1] in ("finished", "pruned")


def test_sweep_says_of_each_run_that_the_disk_is_full(run, tiny, plain, tmp_path, full_after):
    command = ["-m", *tiny(tmp_path, *plain), "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    make_room = full_after("best", 0)
    ended = run("train.py", *command)
    assert "1 of 2 runs failed" in ended.err or "2 of 2 runs failed" in ended.err
    assert ended.out.count("best.ckpt cannot be written (No space left on device)") >= 2
    assert left_behind(tmp_path / "sweep") == []
    make_room()
    run("train.py", *command, "sweep.resume=true").succeeded()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_output_into_a_full_disk_is_one_line(monkeypatch, capfd):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as caught:
            cli.run(lambda: print("metrics"))
    assert caught.value.code == 1
    assert capfd.readouterr().err == (
        "error: standard output cannot be written (No space left on device): send it to another "
        "disk\n"
    )
