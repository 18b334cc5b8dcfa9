"""The table of warnings: `evaluate.py` over seeds, repeated when something has changed."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from fashion_transfer.benchmarks import warning_runs
from fashion_transfer.benchmarks.machine import BEST
from fashion_transfer.benchmarks.warning_runs import DESCRIPTIONS, measure_warnings
from fashion_transfer.data import mnist
from fashion_transfer.errors import FashionTransferError


@pytest.fixture
def evaluations(monkeypatch):
    """The commands so far; each leaves metrics that tell its number."""
    commands: list[list[str]] = []

    def execute(command, output, *_):
        commands.append(command)
        value = len(commands) / 10
        metrics = dict.fromkeys(DESCRIPTIONS, value)
        metrics |= {f"reference/{name}": value / 2 for name in DESCRIPTIONS if "ece" not in name}
        metrics |= {"out_of_distribution/noise/auroc": value}
        [folder] = [a for a in command if a.startswith("hydra.run.dir=")]
        folder = Path(folder.partition("=")[2].strip("'"))
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return 1.0

    monkeypatch.setattr(warning_runs, "execute", execute)
    monkeypatch.setattr(warning_runs, "download_mnist", lambda folder: None)
    return commands


@pytest.fixture
def runs(tmp_path) -> Path:
    for recipe in ("default", "plain"):
        for seed in range(2):
            path = tmp_path / recipe / str(seed) / BEST
            path.parent.mkdir(parents=True)
            path.write_text(f"{recipe} {seed}")
    return tmp_path


def test_warnings_are_means_over_seeds_beside_the_reference(evaluations, runs):
    measured = measure_warnings(runs, "my data", seeds=2)
    assert measured["ood"] == {"out_of_distribution/noise/auroc": pytest.approx(0.15)}
    rows = measured["warnings"]
    assert list(rows) == list(DESCRIPTIONS)
    assert rows["multi_item/auroc"]["runs"] == [0.1, 0.2]
    assert rows["multi_item/auroc"]["mean"] == pytest.approx(0.15)
    assert rows["multi_item/auroc"]["reference"] == pytest.approx(0.075)
    assert "reference" not in rows["test/ece"]
    assert f"reference='{runs / 'plain' / '1' / BEST}'" in evaluations[1]
    assert "paths.data='my data'" in evaluations[1]


def test_warnings_of_the_best_experiment_are_beside_those_of_the_default(evaluations, runs):
    for seed in range(2):
        path = runs / "best" / str(seed) / BEST
        path.parent.mkdir(parents=True)
        path.write_text(f"best {seed}")
    row = measure_warnings(runs, "data", seeds=2, best=True)["warnings"]["multi_item/auroc"]
    assert row["runs"] == [0.1, 0.2]
    assert row["best"] == pytest.approx(0.35)
    assert f"ckpt_path='{runs / 'best' / '1' / BEST}'" in evaluations[3]
    assert not any(argument.startswith("reference=") for argument in evaluations[3])


def test_evaluation_is_not_repeated_while_nothing_has_changed(evaluations, runs):
    first = measure_warnings(runs, "data", seeds=2)
    assert measure_warnings(runs, "data", seeds=2) == first
    assert len(evaluations) == 2


@pytest.mark.parametrize("recipe", ["default", "plain"])
def test_evaluation_is_repeated_if_a_checkpoint_has_changed(evaluations, runs, recipe):
    measure_warnings(runs, "data", seeds=2)
    (runs / recipe / "1" / BEST).write_text("trained again")
    rows = measure_warnings(runs, "data", seeds=2)["warnings"]
    assert len(evaluations) == 3
    assert rows["multi_item/auroc"]["runs"] == [0.1, 0.3]


def test_evaluation_is_repeated_if_the_source_has_changed(evaluations, runs, monkeypatch):
    measure_warnings(runs, "data", seeds=1)
    monkeypatch.setattr(warning_runs, "evaluation_key", lambda *_: "of other source")
    measure_warnings(runs, "data", seeds=1)
    assert len(evaluations) == 2


def test_evaluation_without_a_stamp_is_repeated(evaluations, runs):
    folder = runs / "default" / "0" / "evaluate"
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    measure_warnings(runs, "data", seeds=1)
    assert len(evaluations) == 1


def test_mnist_is_downloaded_and_evaluations_are_repeated_with_it(
    evaluations, runs, tmp_path, write_idx, monkeypatch, capsys
):
    def download(folder):
        raise FashionTransferError("no mirror")

    monkeypatch.setattr(warning_runs, "download_mnist", download)
    measure_warnings(runs, str(tmp_path), seeds=1)
    assert "without MNIST: no mirror" in capsys.readouterr().err

    def bring(folder):
        folder.mkdir(exist_ok=True)
        write_idx(folder / mnist.FILE, np.zeros((2, 28, 28), np.uint8))
        content = (folder / mnist.FILE).read_bytes()
        monkeypatch.setattr(mnist, "MD5", hashlib.md5(content, usedforsecurity=False).hexdigest())

    monkeypatch.setattr(warning_runs, "download_mnist", bring)
    measure_warnings(runs, str(tmp_path), seeds=1)
    assert len(evaluations) == 2
    measure_warnings(runs, str(tmp_path), seeds=1)
    assert len(evaluations) == 2
