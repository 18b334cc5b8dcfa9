"""Runs in MLflow, which is asked by itself what it has."""

import contextlib
import sqlite3
import subprocess
import sys

import pytest

pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow

ONE_RUN = """
import os, sys, time

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
import mlflow
from fashion_transfer.commands.mlflow_logger import MLFlowLogger

uri, folder, ready, begin = sys.argv[1:]
open(ready, "w").close()
while not os.path.exists(begin):
    time.sleep(0.01)
logger = MLFlowLogger("fashion", tracking_uri=uri, artifact_location=folder)
logger.log_hyperparams({"seed": 1})
logger.log_metrics({"test/accuracy/\\u9774": 0.5, "test/accuracy/\\xe7anta": 0.25}, 3)
logger.log_metrics({"test/accuracy/anta": 0.75})
logger.finalize("success")
"""


def test_runs_that_begin_at_once_have_their_metrics_in_one_experiment(tmp_path):
    database, begin = tmp_path / "mlflow.db", tmp_path / "begin"
    ready = [tmp_path / f"ready{number}" for number in range(3)]
    command = [sys.executable, "-c", ONE_RUN, f"sqlite:///{database}", str(tmp_path / "mlflow")]
    runs = [subprocess.Popen([*command, str(file), str(begin)]) for file in ready]
    while not all(file.exists() for file in ready):
        assert all(run.poll() is None for run in runs)
        with contextlib.suppress(subprocess.TimeoutExpired):
            runs[0].wait(0.1)
    begin.touch()
    assert [run.wait(300) for run in runs] == [0, 0, 0]
    with contextlib.closing(sqlite3.connect(database)) as store:
        names = store.execute("select name from experiments where name != 'Default'").fetchall()
        ended = store.execute("select status from runs").fetchall()
        metrics = store.execute("select distinct key, value, step from metrics").fetchall()
    assert names == [("fashion",)]
    assert ended == [("FINISHED",)] * 3
    assert set(metrics) == {
        ("test/accuracy/靴", 0.5, 3),
        ("test/accuracy/çanta", 0.25, 3),
        ("test/accuracy/anta", 0.75, 0),
    }
