"""Sweeps by `train.py -m` whose runs are trained in no time."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from fashion_transfer.commands.sweep import read_sweep
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import write_metrics
from fashion_transfer.runs.record import new_record, recording


@pytest.fixture
def stub(monkeypatch):
    """Trains in no time; `stub[seed]` is an error to raise; `stub["runs"]` counts what was run."""
    behaviour = {"runs": []}

    def train(cfg):
        folder = Path(HydraConfig.get().runtime.output_dir)
        behaviour["runs"].append(cfg.seed)
        with recording(new_record(folder, cfg), str):
            if cfg.seed in behaviour:
                raise behaviour[cfg.seed]
            loss = 1 / (1 + cfg.seed)
            write_metrics(folder, {"val/loss": loss, "val/accuracy": 0.5, "seconds/fit": 0.1})
        return loss

    monkeypatch.setattr("fashion_transfer.commands.train.train", train)
    return behaviour


@pytest.fixture
def sweep_of(run, tmp_path):
    """`sweep_of(*arguments)`: what the command printed; its logs are in `tmp_path / "logs"`."""

    def sweep(*arguments: str):
        return run("train.py", "-m", *arguments, f"paths.logs={tmp_path / 'logs'}")

    return sweep


@pytest.fixture
def only_sweep(tmp_path):
    """`only_sweep()`: the folder of the only sweep."""

    def folder() -> Path:
        [only] = (tmp_path / "logs/train/multiruns").iterdir()
        return only

    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_sweep_prints_a_line_per_run_and_ends_in_a_ranked_table(stub, sweep_of, only_sweep):
    out = sweep_of("seed=0,1,2").succeeded().out
    lines = out.splitlines()
    assert lines[0] == f"sweep {only_sweep()}: 3 runs"
    assert lines[1].startswith("[1/3] seed=0: val/loss 1.0000, val/accuracy 50.00%, 0.1 s (")
    assert lines[3] == "[3/3] seed=2: val/loss 0.3333, val/accuracy 50.00%, 0.1 s"
    assert [row["seed"] for row in table(only_sweep())] == ["2", "1", "0"]
    assert "metric" not in out  # the table of a single run


def test_sweep_goes_on_when_a_run_fails_and_says_which_and_why(stub, sweep_of, only_sweep):
    stub[1] = FashionTransferError("seed 1 brings no luck")
    ended = sweep_of("seed=0,1,2")
    assert ended.mistake() == "1 of 3 runs failed, see above"
    assert "[2/3] seed=1: failed: seed 1 brings no luck" in ended.out
    assert ended.out.rstrip().splitlines()[-2] == "  job 1, seed=1: seed 1 brings no luck"
    assert [row["status"] for row in table(only_sweep())] == ["finished", "finished", "failed"]


def test_traceback_of_a_defect_is_in_the_folder_of_its_run(stub, sweep_of, only_sweep):
    stub[1] = ZeroDivisionError("by zero")
    ended = sweep_of("seed=0,1")
    assert "ZeroDivisionError: by zero (see traceback.txt)" in ended.out
    assert "Traceback" not in ended.out + ended.err
    assert "in train" in (only_sweep() / "1/traceback.txt").read_text()


def test_interrupted_run_is_not_called_failed_and_the_hint_continues(
    stub, sweep_of, only_sweep, tmp_path
):
    stub[1] = KeyboardInterrupt("the best checkpoint is here")
    ended = sweep_of("seed=0,1,2")
    assert ended.status == 130
    logs = tmp_path / "logs"
    command = f"python train.py -m seed=0,1,2 paths.logs={logs} sweep.resume=true"
    [line] = ended.err.splitlines()
    assert line == f"interrupted: 1 of 3 runs have finished; `{command}` continues"
    assert "failed" not in ended.out
    by_seed = {row["seed"]: row["status"] for row in table(only_sweep())}
    assert by_seed == {"0": "finished", "1": "interrupted", "2": "waiting"}


def test_resumed_sweep_runs_what_is_missing_and_changes_nothing_else(stub, sweep_of, only_sweep):
    stub[1] = KeyboardInterrupt()
    sweep_of("seed=0,1,2", "test=false")
    before = hashes(only_sweep() / "0")
    del stub[1]
    stub["runs"].clear()
    out = sweep_of("test=false", "sweep.resume=true", "seed=0,1,2").succeeded().out
    assert "3 runs: 1 finished, 0 continued, 2 to run" in out
    assert "[2/3] seed=1" in out
    assert stub["runs"] == [1, 2]
    assert hashes(only_sweep() / "0") == before
    assert json.loads((only_sweep() / "sweep.json").read_text())["total"] == 3
    assert [row["status"] for row in table(only_sweep())] == ["finished"] * 3


def test_resumed_sweep_has_the_numbers_of_the_one_before(stub, sweep_of, only_sweep):
    stub[1] = KeyboardInterrupt()
    sweep_of("seed=0,1", "data.batch_size=8,16")
    del stub[1]
    sweep_of("data.batch_size=8,16", "seed=0,1", "sweep.resume=true").succeeded()
    assert read_sweep(only_sweep()).jobs[1].overrides[:2] == ["seed=0", "data.batch_size=16"]


def test_run_that_finished_unknown_to_the_sweep_is_not_run_again(stub, sweep_of, only_sweep):
    sweep_of("seed=0,1").succeeded()
    file = only_sweep() / "sweep.json"  # as if it was killed before it could write that
    values = json.loads(file.read_text())
    values["jobs"][1] |= {"status": "running", "metrics": {}}
    file.write_text(json.dumps(values))
    stub["runs"].clear()
    out = sweep_of("seed=0,1", "sweep.resume=true").succeeded().out
    assert "2 finished, 0 continued, 0 to run" in out
    assert stub["runs"] == []
    assert read_sweep(only_sweep()).jobs[1].metrics["val/loss"] == 0.5


def test_sweep_with_other_arguments_is_not_continued(stub, sweep_of):
    sweep_of("seed=0,1").succeeded()
    message = sweep_of("seed=0,1,2", "sweep.resume=true").mistake()
    assert "no sweep under" in message
    assert stub["runs"] == [0, 1]


def test_folder_that_is_named_must_have_the_same_sweep(stub, sweep_of, tmp_path):
    folder = f"hydra.sweep.dir={tmp_path / 'mine'}"
    sweep_of("seed=0,1", folder).succeeded()
    assert "has a sweep already" in sweep_of("seed=0,1", folder).mistake()
    assert "other arguments" in sweep_of("seed=2", folder, "sweep.resume=true").mistake()
    assert "2 finished" in sweep_of("seed=0,1", folder, "sweep.resume=true").succeeded().out


def test_single_run_is_not_continued_as_a_sweep(run, sweep_of, tmp_path):
    message = run("train.py", "sweep.resume=true", f"paths.logs={tmp_path}").mistake()
    assert "add -m" in message
    assert "sweep.resume=true continues a sweep" in sweep_of("ckpt_path=last", "seed=0").mistake()


@pytest.mark.parametrize(
    "subdir", ["${hydra.job.override_dirname}", "${model.head.name}/${seed}/run"]
)
def test_runs_in_nested_folders_are_in_the_table_and_not_run_again(
    stub, sweep_of, only_sweep, subdir
):
    arguments = ("seed=0,1", "model/head=linear,mlp", f"hydra.sweep.subdir={subdir}")
    sweep_of(*arguments).succeeded()
    rows = table(only_sweep())
    assert {(row["seed"], row["head"]) for row in rows} == {
        ("0", "linear"), ("0", "mlp"), ("1", "linear"), ("1", "mlp")
    }  # fmt: skip
    assert all((only_sweep() / row["folder"] / "metrics.json").is_file() for row in rows)
    stub["runs"].clear()
    sweep_of(*arguments, "sweep.resume=true").succeeded()
    assert stub["runs"] == []


def test_choice_that_does_not_exist_is_a_mistake_before_anything_is_run(stub, sweep_of, tmp_path):
    message = sweep_of("seed=0,1", "model/head=linear,mlpp").mistake()
    assert message.startswith("there is no model/head=mlpp")
    assert not (tmp_path / "logs").exists()


def test_impossible_value_is_a_mistake_before_anything_is_run(stub, sweep_of, tmp_path):
    message = sweep_of("seed=0,1", "model.optimizer.lr=0.1,-1").mistake()
    assert message.startswith("model.optimizer.lr must be")
    assert stub["runs"] == []
    assert not (tmp_path / "logs").exists()


def test_launcher_of_hydra_is_refused_in_one_line(stub, sweep_of):
    message = sweep_of("seed=0", "hydra/launcher=basic").mistake()
    assert "hydra/launcher must be serial, joblib" in message


def test_launcher_of_this_project_wants_its_own_sweeper(stub, sweep_of):
    message = sweep_of("seed=0", "hydra/sweeper=basic").mistake()
    assert "hydra/launcher=serial needs hydra/sweeper=grid, got basic: leave it out" in message


def test_sweeper_and_launcher_of_hydra_train_every_run(stub, sweep_of):
    sweep_of("seed=0,1", "hydra/sweeper=basic", "hydra/launcher=basic").succeeded()
    assert stub["runs"] == [0, 1]


@pytest.mark.parametrize("number", ["0", "-2", "1.5", "null", "abc", "true"])
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", "submitit_slurm"])
def test_impossible_number_of_jobs_is_a_mistake(stub, sweep_of, tmp_path, launcher, number):
    given = (f"hydra/launcher={launcher}", f"hydra.launcher.n_jobs={number}")
    message = sweep_of("seed=0", *given).mistake()
    assert message.startswith("hydra.launcher.n_jobs must be a whole number from 1")
    assert stub["runs"] == []
    assert not (tmp_path / "logs").exists()


def test_submitit_takes_no_number_of_jobs_per_core(stub, sweep_of):
    message = sweep_of("seed=0", "hydra/launcher=submitit_local", "hydra.launcher.n_jobs=-1")
    assert message.mistake() == "hydra.launcher.n_jobs must be a whole number from 1, got -1"


@pytest.mark.parametrize("option", ["--multirun", "hydra.mode=MULTIRUN"])
def test_sweep_may_be_asked_for_in_other_words(stub, run, only_sweep, tmp_path, option):
    arguments = (option, "seed=0,1", f"paths.logs={tmp_path / 'logs'}")
    run("train.py", *arguments).succeeded()
    run("train.py", *arguments, "sweep.resume=true").succeeded()
    assert stub["runs"] == [0, 1]
    assert (only_sweep() / "sweep.csv").is_file()


def test_submitit_that_is_missing_is_a_mistake(stub, sweep_of, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    message = sweep_of("seed=0", "hydra/launcher=submitit_local").mistake()
    assert "pip install 'fashion-transfer[cluster]'" in message


def test_slurm_that_is_missing_is_a_mistake(stub, sweep_of):
    pytest.importorskip("submitit")
    message = sweep_of("seed=0", "hydra/launcher=submitit_slurm").mistake()
    assert message.startswith("hydra/launcher=submitit_slurm: Could not detect")
