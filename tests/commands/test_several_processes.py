"""Two real processes that train together equal one, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from fashion_transfer.features import FeatureStore

ROOT = Path(__file__).resolve().parents[2]
RECORDER = "fashion_transfer.benchmarks.ddp_job.StepRecorder"

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(tiny, plain, tmp_path):
    """`arguments(name, *more)`: of a run in its own folder, with 111 images in batches of 16."""

    def of(name: str, *more: str) -> list[str]:
        common = [*tiny(tmp_path / "logs"), *plain, f"paths.cache={tmp_path / f'cache-{name}'}"]
        own = ["data.synthetic.controls=15", f"hydra.run.dir={tmp_path / name}", *more]
        return [*common, "data.images_per_class=8", *own]

    return of


@pytest.fixture
def start(arguments):
    """`start(name, *more)`: a command that trains with two processes, under way."""
    started = []

    def command(name: str, *more: str) -> subprocess.Popen:
        given = [sys.executable, str(ROOT / "train.py"), *arguments(name, "trainer=ddp_cpu", *more)]
        process = subprocess.Popen(
            given,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell has what it starts in the background ignore Ctrl-C, and so its children.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()


def recorder(path: Path) -> list[str]:
    return [f"+callbacks.steps._target_={RECORDER}", f"+callbacks.steps.path={path}"]


def children(process: subprocess.Popen) -> list[int]:
    """The ranks of a command, by their rank."""
    ranks = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == process.pid:
                variables = (folder / "environ").read_bytes().split(b"\0")
                rank = [v for v in variables if v.startswith(b"FASHION_TRANSFER_RANK=")]
                if rank:
                    ranks[int(rank[0].partition(b"=")[2])] = int(folder.name)
        except OSError:  # it has ended
            continue
    return [ranks[rank] for rank in sorted(ranks)]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120):
    """What a condition gives, once that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"it did not come to this: {process.poll()}, {process.communicate()}")


def assert_gone(pids: list[int]) -> None:
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a process was left behind"
        time.sleep(0.05)


def test_two_processes_equal_one(process, arguments, tmp_path):
    exact = ["model.mixup=0", "model.head.dropout=0"]
    for name, trainer in (("one", "trainer=default"), ("two", "trainer=ddp_cpu")):
        more = [trainer, "trainer.accelerator=cpu", *exact, *recorder(tmp_path / f"{name}.pt")]
        ended = process("train.py", *arguments(name, *more))
        assert ended.returncode == 0, ended.stderr
        assert ended.stderr == ""
    one, two = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("one", "two"))
    assert len(one["losses"]) == 10
    for name in one:
        torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=0)

    metrics = [json.loads((tmp_path / n / "metrics.json").read_text()) for n in ("one", "two")]
    assert metrics[0].keys() == metrics[1].keys()
    for name, value in metrics[0].items():
        if name.startswith(("val/", "test/", "calibration/")):
            assert metrics[1][name] == pytest.approx(value, abs=1e-3), name

    files = [
        {str(f.relative_to(tmp_path / n)) for f in (tmp_path / n).rglob("*")}
        for n in ("one", "two")
    ]
    assert files[0] == files[1]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["status"] == "finished"

    stores = [FeatureStore(tmp_path / f"cache-{name}") for name in ("one", "two")]
    folders = [{f.name: f for f, _, _ in store.entries()} for store in stores]
    assert folders[0].keys() == folders[1].keys()
    for name, folder in folders[0].items():
        for file in folder.glob("*.npy"):
            assert file.read_bytes() == (folders[1][name] / file.name).read_bytes(), file.name


def test_a_killed_process_ends_the_run_with_one_line(start, arguments, process, tmp_path):
    command = start("killed", "trainer.max_epochs=1000")
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    wait_for(last.is_file, command)
    pids = children(command)
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 1
    [line] = errors.splitlines()
    assert line.startswith("error: process 1 of 2 ended")
    assert_gone(pids)
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["status"] == "failed"


def test_a_killed_command_leaves_no_process(start, tmp_path):
    command = start("orphans", "trainer.max_epochs=1000")
    wait_for((tmp_path / "orphans" / "checkpoints" / "last.ckpt").is_file, command)
    pids = children(command)
    command.kill()
    assert_gone(pids)


def test_ctrl_c_ends_all_processes(start, tmp_path):
    command = start("interrupted", "trainer.max_epochs=1000")
    wait_for((tmp_path / "interrupted" / "checkpoints" / "last.ckpt").is_file, command)
    pids = children(command)
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130
    [line] = errors.splitlines()
    assert line.startswith("interrupted: the best checkpoint so far is ")
    assert_gone(pids)
    record = json.loads((tmp_path / "interrupted" / "run.json").read_text())
    assert record["status"] == "interrupted"


def test_a_mistake_that_all_processes_see_is_one_line(process, arguments):
    too_many = "data.images_per_class=5000"  # no process knows before it has read the files
    ended = process("train.py", *arguments("mistake", "trainer=ddp_cpu", too_many))
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "5000" in line
