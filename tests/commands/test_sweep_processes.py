"""Sweeps in processes that are killed, run side by side, or preempted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from outcomes import read_metrics, same_state, state_of, without_seconds

from fashion_transfer.benchmarks.kill_runs import count_defects
from fashion_transfer.benchmarks.kill_sweep import SweepKiller
from fashion_transfer.commands.sweep import read_sweep
from fashion_transfer.runs.record import read_record

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread_per_process(monkeypatch):
    """The last bits of a sum depend on the number of threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def small(idx_dir) -> list[str]:
    """Overrides of `debug=tiny` for the generated files, which make it faster still."""
    return [
        "debug=tiny",
        "model.backbone.name=resnet18",
        "model.backbone.precision=float32",
        "model.backbone.compile=false",
        f"data.dir={idx_dir}",
        "data.check_md5=false",
        "data.images_per_class=8",
        "data.val_per_class=5",
        "data.synthetic.composites=16",
        "data.synthetic.controls=16",
        "data.batch_size=16",
        "trainer.accelerator=cpu",
        "logger=none",
    ]


@pytest.fixture
def sweep(small, tmp_path):
    """`sweep(name, *arguments)`: the folder of a sweep that has ended well."""

    def run(name: str, *arguments: str) -> Path:
        folder = tmp_path / name
        command = ["train.py", "-m", *small, *arguments, f"hydra.sweep.dir={folder}"]
        ended = subprocess.run(
            [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=600
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return folder

    return run


def test_killed_and_continued_sweep_is_that_which_nobody_killed(small, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    counts = SweepKiller(tmp_path, seed=1, overrides=small[1:]).run(kills=2)
    assert counts.pop("kills") == 2
    assert set(counts.values()) == {0}, counts


def test_killed_and_continued_runs_are_those_which_nobody_killed(small, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    counts = count_defects(tmp_path, kills=2, seed=1, overrides=small[1:])
    assert counts.pop("kills") == 2
    assert set(counts.values()) == {0}, counts


def test_jobs_side_by_side_compute_features_once_and_give_the_same_metrics(sweep, tmp_path):
    grid = ("seed=0,1,2", "store=true", "data.views=2")
    one = sweep("one", *grid, f"paths.cache={tmp_path / 'first'}")
    two = sweep(
        "two",
        *grid,
        f"paths.cache={tmp_path / 'second'}",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
    )
    assert _stored(tmp_path / "first") == _stored(tmp_path / "second")
    for job in read_sweep(two).jobs:
        assert job.status == "finished"
        assert without_seconds(read_metrics(two / job.folder)) == without_seconds(
            read_metrics(one / job.folder)
        )
        assert (two / job.folder / "output.log").is_file()


def test_job_whose_process_is_killed_is_run_again_by_another(sweep, tmp_path):
    # The process ends itself in the first epoch, but only the first time.
    (tmp_path / "sitecustomize.py").write_text(KILLED_ONCE.format(mark=str(tmp_path / "mark")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        folder = sweep("killed", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert (tmp_path / "mark").exists()
    assert [job.status for job in read_sweep(folder).jobs] == ["finished"] * 2


KILLED_ONCE = """
import os, signal, sys, threading, time
from pathlib import Path

def kill():
    while "fashion_transfer.commands.train" not in sys.modules:
        time.sleep(0.01)
    try:
        Path({mark!r}).open("x").close()
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)

if any("loky" in argument for argument in sys.orig_argv):
    threading.Thread(target=kill, daemon=True).start()
"""


def test_preempted_job_goes_on_in_its_own_folder(small, sweep, tmp_path):
    pytest.importorskip("submitit")
    long = ("seed=0", "model/head=mlp", "trainer.max_epochs=40")
    straight = sweep("straight", *long) / "0"
    folder = tmp_path / "preempted"
    command = [sys.executable, "train.py", "-m", *small, *long, f"hydra.sweep.dir={folder}"]
    process = subprocess.Popen(
        [*command, "hydra/launcher=submitit_local"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    last = folder / "0/checkpoints/last.ckpt"
    _wait_until(last.exists)
    [pickled] = folder.glob(".submitit/*_submitted.pkl")
    controller = pickled.name.partition("_")[0]
    children = Path(f"/proc/{controller}/task/{controller}/children")
    if not children.is_file():
        process.kill()
        pytest.skip("needs /proc, to find the process of the job")
    os.kill(int(children.read_text().split()[0]), signal.SIGUSR2)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    log = "".join(file.read_text() for file in folder.glob(".submitit/*_log.*"))
    assert "Requeued job" in log
    assert f"continuing {folder / '0'}" in log
    assert read_record(folder / "0").status == "finished"
    assert [path.name for path in folder.iterdir() if path.is_dir()].count("0") == 1
    assert without_seconds(read_metrics(folder / "0")) == without_seconds(read_metrics(straight))
    assert same_state(state_of(last), state_of(straight / "checkpoints/last.ckpt"))
    assert json.loads((folder / "sweep.json").read_text())["jobs"][0]["status"] == "finished"
    assert torch.load(last, weights_only=True)["epoch"] == 39


def _wait_until(happened, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def _stored(folder: Path) -> dict[str, int]:
    """Sizes of the files of a feature store, by name."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}
