import json
import shlex
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from filelock import FileLock
from omegaconf import OmegaConf

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs import record
from fashion_transfer.runs.record import (
    RunPruned,
    RunRecord,
    flatten,
    new_record,
    options_of,
    read_metrics,
    read_record,
    recording,
    write_record,
)


def ended(folder, error=None):
    """The record of a run that an error, if any, has ended."""
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, recording(RunRecord(folder, overrides=["seed=1"]), str):
        if error is not None:
            raise error
    return read_record(folder)


def test_record_is_there_while_the_run_is_under_way(tmp_path):
    with recording(RunRecord(tmp_path, overrides=["seed=1"]), str):
        assert read_record(tmp_path).status == "running"
        assert read_record(tmp_path).overrides == ["seed=1"]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (None, "finished", ""),
        (ValueError("lr must be above 0"), "failed", "lr must be above 0"),
        (KeyboardInterrupt(), "interrupted", ""),
        (SystemExit(143), "interrupted", ""),
        (RunPruned(), "pruned", ""),
    ],
)
def test_status_is_what_ended_the_run(tmp_path, error, status, line):
    written = ended(tmp_path, error)
    assert (written.status, written.error) == (status, line)
    assert written.ended is not None


def test_run_without_an_end_is_killed_once_its_lock_is_free(tmp_path):
    write_record(RunRecord(tmp_path))
    with FileLock(tmp_path / ".lock"):
        assert read_record(tmp_path).state == "running"
    assert read_record(tmp_path).state == "killed"


def test_run_with_metrics_has_finished_though_its_record_was_not_written_again(tmp_path):
    write_record(RunRecord(tmp_path))
    (tmp_path / "metrics.json").write_text('{"val/loss": 0.5}')
    assert read_record(tmp_path).state == "finished"


def test_same_run_may_be_started_by_another_command():
    first = RunRecord(None, config={"seed": 1, "ckpt_path": None, "sweep.resume": False})
    assert first.same_run(RunRecord(None, config={"seed": 1, "ckpt_path": "last.ckpt"}))
    assert not first.same_run(RunRecord(None, config={"seed": 2, "ckpt_path": None}))


def hydra_of(overrides, choices, *sources, hydra=()):
    """Hydra's own configuration of a run."""
    given = {"task": overrides, "hydra": list(hydra)}
    runtime = {"choices": choices, "config_sources": list(sources)}
    return OmegaConf.create({"overrides": given, "runtime": runtime})


def test_run_with_a_list_of_debug_files_is_a_debug_run(tmp_path, monkeypatch):
    hydra = hydra_of(["debug=[tiny,profiler]", "seeds=[1,2]"], {"experiment": None})
    monkeypatch.setattr(record, "HydraConfig", SimpleNamespace(get=lambda: hydra))
    made = new_record(tmp_path, OmegaConf.create({"seeds": [1, 2]}))
    assert made.choices == {"experiment": None, "debug": "[tiny,profiler]"}
    assert made.debug


def test_command_names_the_users_own_folder_of_configurations():
    main = {"path": "/project/conf", "schema": "file", "provider": "main"}
    own = {"path": "/my conf", "schema": "file", "provider": "command-line"}
    assert options_of(hydra_of([], {}, main)) == []
    assert options_of(hydra_of([], {}, main, own)) == ["--config-dir", "/my conf"]
    path = "hydra.searchpath=[file:///my]"
    assert options_of(hydra_of([], {}, hydra=[path, "hydra.mode=RUN"])) == [path]


def test_new_record_repeats_the_run(tmp_path, monkeypatch):
    overrides = ["seed=1", "model/head=linear", "data.dir='a b'", "name='${seed}'"]
    hydra = hydra_of(overrides, {"model/head": "linear", "debug": "tiny"})
    monkeypatch.setattr(record, "HydraConfig", SimpleNamespace(get=lambda: hydra))
    cfg = OmegaConf.create(
        {"seed": 1, "data": {"dir": "a b", "view_seed": "${seed}"}, "out": f"{tmp_path}/tb"}
    )
    made = new_record(tmp_path, cfg)
    assert made.overrides == overrides
    assert shlex.split(made.command) == ["python", "train.py", *overrides]
    assert made.config == {"seed": 1, "data.dir": "a b", "data.view_seed": 1, "out": "./tb"}
    assert made.debug


def test_values_are_flattened_to_dotted_keys():
    nested = {"a": {"b": [1, 2], "c": {}}, "d": None}
    assert flatten(nested) == {"a.b": [1, 2], "d": None}


def test_run_of_an_earlier_version_is_read_from_its_configuration(tmp_path):
    hydra = tmp_path / ".hydra"
    hydra.mkdir()
    (hydra / "overrides.yaml").write_text("- seed=3\n")
    (hydra / "config.yaml").write_text("seed: 3\ndata:\n  views: 1\n")
    (hydra / "hydra.yaml").write_text("hydra:\n  runtime:\n    choices:\n      debug: null\n")
    unfinished = read_record(tmp_path)
    assert unfinished.config == {"seed": 3, "data.views": 1}
    assert (unfinished.command, unfinished.state) == ("python train.py seed=3", "killed")
    (tmp_path / "metrics.json").write_text("{}")
    assert read_record(tmp_path).state == "finished"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"status": "finished"}'])
def test_damaged_record_is_a_mistake_of_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(FashionTransferError, match="no record that can be read"):
        read_record(tmp_path)


def test_folder_without_a_run_is_a_mistake_of_one_line(tmp_path):
    with pytest.raises(FashionTransferError, match="is it a run folder"):
        read_record(tmp_path)


def test_metrics_are_none_before_the_end(tmp_path):
    assert read_metrics(tmp_path) == {}


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_damaged_metrics_are_a_mistake_of_one_line(tmp_path, text):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(FashionTransferError, match=r"metrics\.json cannot be read"):
        read_metrics(tmp_path)


def test_record_holds_its_format(tmp_path):
    write_record(RunRecord(tmp_path))
    assert json.loads((tmp_path / "run.json").read_text())["format"] == 1
