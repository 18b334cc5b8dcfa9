"""Loggers get every run's hyperparameters and results, and are closed when it ends or fails."""

import contextlib
import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml
from hydra.errors import InstantiationException
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import OmegaConf
from outcomes import only_run, read_metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from fashion_transfer.commands import loggers
from fashion_transfer.commands.errors import explain
from fashion_transfer.commands.loggers import build_loggers, logged_run
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import ClassificationTask
from fashion_transfer.runs.hyperparameters import METRICS, hyperparameters
from fashion_transfer.runs.record import RunPruned

PARAMETERS = hyperparameters({"seed": 3, "model.head.name": "mlp"}, {"data": "toy"}, 8, 2)
RESULTS = {"val/loss": 0.5, "test/accuracy": 0.75, "seconds/fit": 2.0}


class Recording(Logger):
    """Notes what it is given."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.calls: list = []
        self.fails = fails

    name = version = "recording"

    def log_metrics(self, metrics, step=None):
        self.calls.append(("metrics", metrics))

    def log_hyperparams(self, params, *args, **kwargs):
        self.calls.append(("hyperparameters", params))

    def finalize(self, status):
        self.calls.append(("end", status))
        if self.fails:
            raise OSError("no network")


def events(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


# ---- a run's logging


def test_logger_gets_hyperparameters_results_and_the_end():
    logger = Recording()
    with logged_run([logger], PARAMETERS) as log_results:
        assert logger.calls == [("hyperparameters", PARAMETERS)]
        log_results(RESULTS)
    results = {"summary/test/accuracy": 0.75, "summary/val/loss": 0.5, "summary/seconds": 2.0}
    assert logger.calls[1:] == [("metrics", results), ("end", "success")]


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "failed"), (KeyboardInterrupt, "failed"), (RunPruned, "success")],
)
def test_logger_is_closed_when_the_run_ends_early(error, status):
    loggers = [Recording(fails=True), Recording()]
    with pytest.raises(error), logged_run(loggers, PARAMETERS):
        raise error
    assert [logger.calls[-1] for logger in loggers] == [("end", status)] * 2


def test_logger_that_cannot_be_closed_is_a_warning(caplog):
    with logged_run([Recording(fails=True)], PARAMETERS):
        pass
    assert "Recording could not be closed: no network" in caplog.text


def test_tensorboard_and_csv_have_the_hyperparameters_from_the_start(tmp_path):
    board = TensorBoardLogger(tmp_path, "tensorboard", "", default_hp_metric=False)
    table = CSVLogger(tmp_path, "csv")
    with logged_run([board, table], PARAMETERS, ["seed"]) as log_results:
        board.experiment.flush()
        contents = events(tmp_path / "tensorboard").SummaryMetadata
        start = contents(metadata.SESSION_START_INFO_TAG).plugin_data.content
        values = metadata.parse_session_start_info_plugin_data(start).hparams
        assert {name: value.WhichOneof("kind") for name, value in values.items()} == {
            name: {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
            for name, value in PARAMETERS.items()
        }
        log_results(RESULTS)
    read = events(tmp_path / "tensorboard")
    assert {metadata.EXPERIMENT_TAG, metadata.SESSION_END_INFO_TAG} <= read.summary_metadata.keys()
    for folder in (tmp_path / "tensorboard", tmp_path / "csv" / "version_0"):
        assert yaml.safe_load((folder / "hparams.yaml").read_text()) == PARAMETERS


def test_failed_run_has_no_end_in_tensorboard(tmp_path):
    board = TensorBoardLogger(tmp_path, "tensorboard", "", default_hp_metric=False)
    with pytest.raises(ValueError, match="x"), logged_run([board], PARAMETERS):
        raise ValueError("x")
    tags = events(tmp_path / "tensorboard").summary_metadata.keys()
    assert metadata.SESSION_START_INFO_TAG in tags
    assert metadata.SESSION_END_INFO_TAG not in tags


def test_continued_run_has_every_step_of_a_curve_once(tmp_path, monkeypatch):
    entry = {
        "_target_": "lightning.pytorch.loggers.TensorBoardLogger",
        **{"save_dir": str(tmp_path), "name": "tensorboard", "version": ""},
    }
    for ckpt_path, first, last in ((None, 0, 9), ("last.ckpt", 6, 12)):
        monkeypatch.setattr(loggers, "read_checkpoint", lambda path: {"global_step": 6})
        [board] = build_loggers(
            OmegaConf.create({"ckpt_path": ckpt_path, "logger": {"tensorboard": entry}})
        )
        for step in range(first, last):
            board.log_metrics({"val/loss": float(first)}, step)
        board.finalize("failed")
        # Files are read in the order of their names, which begin with the second they were made in.
        [written] = (tmp_path / "tensorboard").glob("*.tfevents.*.*")
        written.rename(written.with_name(f"events.out.tfevents.{first:010}"))
    curve = events(tmp_path / "tensorboard").Scalars("val/loss")
    assert [(point.step, point.value) for point in curve] == [
        *((step, 0.0) for step in range(6)),
        *((step, 6.0) for step in range(6, 12)),
    ]


# ---- the choice of loggers


def test_no_logger_is_none():
    assert build_loggers(OmegaConf.create({"logger": {"csv": None}})) == []
    assert build_loggers(OmegaConf.create({"logger": None})) == []


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_missing_package_is_one_line_that_names_it(run, tiny, tmp_path, monkeypatch, name):
    find = importlib.util.find_spec
    missing = lambda package, *rest: None if package == name else find(package, *rest)  # noqa: E731
    monkeypatch.setattr("fashion_transfer.commands.loggers.find_spec", missing)
    message = run("train.py", *tiny(tmp_path, f"logger={name}")).mistake()
    assert message == f'logger={name} needs the package {name}: pip install -e ".[{name}]"'


@pytest.mark.parametrize("name", ["a%20b", "a?b", "a#b"])
def test_folder_that_mlflow_takes_for_an_address_is_one_line(monkeypatch, name):
    monkeypatch.setattr(loggers, "find_spec", lambda package: True)
    entry = {
        "_target_": "fashion_transfer.commands.mlflow_logger.MLFlowLogger",
        **{"experiment_name": "x", "tracking_uri": f"sqlite:////logs/{name}/mlflow.db"},
    }
    with pytest.raises(InstantiationException) as caught:
        build_loggers(OmegaConf.create({"logger": {"mlflow": entry}}))
    assert explain(caught.value).endswith("mean something else: give another paths.logs")


def test_two_loggers_can_be_chosen_by_name(run, tiny, tmp_path):
    more = ("logger=[csv,tensorboard]", "callbacks.figures=null", "trainer.max_epochs=1")
    run("train.py", *tiny(tmp_path, *more)).succeeded()
    folder = only_run(tmp_path)
    assert (folder / "csv").is_dir()
    assert (folder / "tensorboard").is_dir()


def test_default_run_has_curves_figures_and_results_in_tensorboard(trained):
    read = events(trained.folder / "tensorboard")
    curves = {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "lr-AdamW"}
    assert curves <= set(read.Tags()["scalars"])
    figures = ("classes", "confusion", "mistakes", "reliability", "training_views")
    assert sorted(read.Tags()["images"]) == [f"figures/{name}" for name in figures]
    assert sorted(f.stem for f in (trained.folder / "figures").iterdir()) == list(figures)
    for name in METRICS[:-1]:
        [point] = read.Scalars(f"summary/{name}")
        if name != "seconds":
            assert point.value == pytest.approx(trained.metrics[name], rel=1e-5)
    # No result is a point of a curve.
    assert [point.step for point in read.Scalars("val/accuracy")] == sorted(
        {point.step for point in read.Scalars("val/loss")}
    )


# ---- sweeps, in the packages themselves


def sweep_with_a_failure(run, tiny, logs, monkeypatch, *more) -> None:
    """Runs jobs with seeds 0 to 2, of which the one with seed 1 fails in training."""
    fit = ClassificationTask.on_train_epoch_start

    def fail(task):
        if task.seed == 1:
            raise FashionTransferError("seed 1 fails")
        fit(task)

    monkeypatch.setattr(ClassificationTask, "on_train_epoch_start", fail)
    options = ("trainer.max_epochs=1", "callbacks.progress=null", "seed=0,1,2", *more)
    run("train.py", "-m", *tiny(logs, *options))


@pytest.mark.slow
def test_sweep_has_a_wandb_run_per_job_each_closed(run, tiny, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from wandb.sdk.wandb_run import Run

    for name, value in (("MODE", "offline"), ("ERROR_REPORTING", "false"), ("SILENT", "true")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    ended = []
    finish = Run.finish

    def spy(opened, exit_code=None, **options):
        ended.append((opened.id, exit_code, dict(opened.config)))
        finish(opened, exit_code, **options)

    monkeypatch.setattr(Run, "finish", spy)
    sweep_with_a_failure(run, tiny, tmp_path, monkeypatch, "logger=wandb")
    assert [code for _, code, _ in ended] == [0, 1, 0]
    assert len({identity for identity, _, _ in ended}) == 3
    assert [config["seed"] for _, _, config in ended] == [0, 1, 2]
    assert all(PARAMETERS.keys() <= config.keys() for _, _, config in ended)
    jobs = sorted(folder.parents[1].name for folder in tmp_path.rglob("offline-run-*"))
    assert jobs == ["0", "1", "2"]


@pytest.mark.slow
def test_sweep_has_an_mlflow_run_per_job_each_closed(run, tiny, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    sweep_with_a_failure(run, tiny, tmp_path, monkeypatch, "logger=mlflow")
    with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        runs = store.execute("select run_uuid, status from runs order by start_time").fetchall()
        seeds = store.execute("select run_uuid, value from params where key = 'seed'").fetchall()
        names = store.execute("select distinct key from params").fetchall()
        metrics = store.execute("select distinct key from metrics").fetchall()
    assert [status for _, status in runs] == ["FINISHED", "FAILED", "FINISHED"]
    assert [dict(seeds)[identity] for identity, _ in runs] == ["0", "1", "2"]
    assert {name for (name,) in names} == PARAMETERS.keys()
    assert {"summary/test/accuracy", "val/loss"} <= {name for (name,) in metrics}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_single_run_has_its_figures_in_the_logger(run, tiny, tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    options = (f"logger={name}", "trainer.max_epochs=1", "callbacks.progress=null")
    run("train.py", *tiny(tmp_path, *options)).succeeded()
    pictures = [file for file in tmp_path.rglob("*.png") if file.parents[1] != only_run(tmp_path)]
    assert len(pictures) == 5


# ---- TensorBoard itself


@contextlib.contextmanager
def tensorboard(logs: Path, port: int):
    """A real TensorBoard over a folder; gives a function that asks its HPARAMS tab."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    server = subprocess.Popen(
        [*command, "--port", str(port), "--load_fast=false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )

    def ask(path: str, question: dict) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/data/plugin/hparams/{path}",
            json.dumps(question).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answered:
            return json.load(answered)

    try:
        yield ask
    finally:
        server.terminate()
        server.wait(30)


def until(condition, seconds: float = 120):
    """What a function gives as soon as it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            if value := condition():
                return value
        time.sleep(0.5)
    raise AssertionError("TensorBoard shows nothing")


@pytest.mark.slow
def test_tensorboard_has_the_same_typed_columns_for_runs_of_different_overrides(
    run, tiny, tmp_path, closed_url
):
    runs = {
        "one": ["model.optimizer.lr=0.01"],
        "two": ["model/head=linear", "data.synthetic=null", "test=false"],
        "three": ["seed=7", "model.backbone.pool=[layer2,layer4]", "data.images_per_class=all"],
    }
    quiet = ("trainer.max_epochs=1", "callbacks.progress=null", "callbacks.figures=null")
    for name, overrides in runs.items():
        folder = f"hydra.run.dir={tmp_path}/deep/{name}"  # as nested as a study's trials
        given = [a for a in tiny(tmp_path, *quiet) if "synthetic" not in a or name != "two"]
        run("train.py", *given, folder, *overrides).succeeded()

    port = int(closed_url.rpartition(":")[2].strip("/")) + 1
    names = [{"hparam": name, "includeInResult": True} for name in PARAMETERS]
    tags = [{"metric": {"tag": f"summary/{name}"}, "includeInResult": True} for name in METRICS]
    question = {
        "experimentName": "",
        "allowedStatuses": [f"STATUS_{s}" for s in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")],
        "colParams": names + tags,
        "startIndex": 0,
        "sliceSize": 10,
        "includeMetrics": True,
    }
    with tensorboard(tmp_path, port) as ask:
        groups = until(
            lambda: len(found := ask("session_groups", question)["sessionGroups"]) == 3 and found
        )
        sorting = {"hparam": "learning_rate", "order": "ORDER_DESC"}
        filtering = {
            "hparam": "images_per_class",
            "filterInterval": {"minValue": 8.5, "maxValue": "Infinity"},
        }
        by_rate = ask("session_groups", question | {"colParams": [sorting]})["sessionGroups"]
        large = ask("session_groups", question | {"colParams": [filtering]})["sessionGroups"]
        experiment = ask("experiment", {"experimentName": "", "includeMetrics": True})
    columns = {column["name"]: column["type"] for column in experiment["hparamInfos"]}
    assert columns == {
        name: {bool: "DATA_TYPE_BOOL", str: "DATA_TYPE_STRING"}.get(
            type(value), "DATA_TYPE_FLOAT64"
        )
        for name, value in PARAMETERS.items()
    }
    assert [metric["displayName"] for metric in experiment["metricInfos"]] == list(METRICS)
    name_of = lambda group: Path(group["sessions"][0]["name"]).parts[-2]  # noqa: E731
    rows = {name_of(group): group for group in groups}
    assert rows.keys() == runs.keys()
    assert name_of(by_rate[0]) == "one"
    assert [name_of(group) for group in large] == ["three"]
    for name, group in rows.items():
        assert group["sessions"][0]["status"] == "STATUS_SUCCESS"
        assert group["hparams"].keys() == PARAMETERS.keys()
        values = {m["name"]["tag"].partition("/")[2]: m["value"] for m in group["metricValues"]}
        metrics = read_metrics(tmp_path / "deep" / name)
        assert values.keys() == {m for m in METRICS if m in metrics or m == "seconds"}
        assert values["val/loss"] == pytest.approx(metrics["val/loss"], rel=1e-5)
    one, two, three = (rows[name]["hparams"] for name in runs)
    assert (one["learning_rate"], three["learning_rate"]) == (0.01, 0.0002)
    assert (two["head"], two["composites"], two["hidden"]) == ("linear", 0, 0)
    assert (three["seed"], three["pool"]) == (7, "layer2, layer4")
    assert three["images_per_class"] == 9
