"""Keys of runs: they change with everything that can change a number, and with nothing else."""

import shutil
from pathlib import Path

import pytest

from fashion_transfer.benchmarks import run_keys
from fashion_transfer.benchmarks.recipes import Recipe
from fashion_transfer.benchmarks.run_keys import PACKAGES, evaluation_key, run_key

DEFAULT = Recipe("default")
FAST = Recipe("fast", ("experiment=fast",))


@pytest.fixture(autouse=True)
def source(tmp_path, monkeypatch) -> Path:
    """A copy of the source and the configuration, to change."""
    for name, origin in (("source", run_keys.SOURCE), ("conf", Path("conf"))):
        shutil.copytree(origin, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(run_keys, "SOURCE", tmp_path / "source")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "source"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"weights")
    return path


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize("package", PACKAGES)
def test_code_of_each_package_changes_both_keys(source, checkpoint, package):
    before = run_key(DEFAULT, "sha"), evaluation_key([checkpoint])
    append(source / package / "__init__.py", "\nx = 1\n")
    assert run_key(DEFAULT, "sha") != before[0]
    assert evaluation_key([checkpoint]) != before[1]


@pytest.mark.parametrize("file", ["reporting/tables.py", "errors.py", "files.py"])
def test_code_that_changes_no_number_changes_no_key(source, checkpoint, file):
    before = run_key(DEFAULT, "sha"), evaluation_key([checkpoint])
    append(source / file, "\nx = 1\n")
    assert (run_key(DEFAULT, "sha"), evaluation_key([checkpoint])) == before


def test_each_command_changes_the_key_of_its_own_runs(source, checkpoint):
    before = run_key(DEFAULT, "sha"), evaluation_key([checkpoint])
    append(source / "commands" / "evaluate.py", "\nx = 1\n")
    assert run_key(DEFAULT, "sha") == before[0]
    assert evaluation_key([checkpoint]) != before[1]
    append(source / "commands" / "train.py", "\nx = 1\n")
    assert run_key(DEFAULT, "sha") != before[0]


def test_comments_and_docstrings_change_no_key(source):
    before = run_key(DEFAULT, "sha")
    path = source / "data" / "batch.py"
    path.write_text(
        path.read_text().replace('"""Labelled images', '"""Other words', 1) + "# more\n"
    )
    append(Path("conf/train.yaml"), "# more\n")
    assert run_key(DEFAULT, "sha") == before


def test_value_in_the_configuration_changes_both_keys(checkpoint):
    before = run_key(DEFAULT, "sha"), evaluation_key([checkpoint])
    append(Path("conf/train.yaml"), "\nmore: 1\n")
    assert run_key(DEFAULT, "sha") != before[0]
    assert evaluation_key([checkpoint]) != before[1]


def test_experiment_changes_only_keys_of_experiments():
    before = run_key(DEFAULT, "sha"), run_key(FAST, "sha")
    append(Path("conf/experiment/fast.yaml"), "\nmore: 1\n")
    assert run_key(DEFAULT, "sha") == before[0]
    assert run_key(FAST, "sha") != before[1]


def test_package_header_of_an_experiment_counts():
    before = run_key(FAST, "sha")
    path = Path("conf/experiment/fast.yaml")
    path.write_text(path.read_text().replace("# @package _global_", "# @package model"))
    assert run_key(FAST, "sha") != before


def test_weights_change_keys_of_recipes_that_take_them():
    assert run_key(DEFAULT, "one") != run_key(DEFAULT, "other")
    offline = Recipe("offline", ("experiment=offline",), resnet=False)
    assert run_key(offline, "one") == run_key(offline, "other")


def test_version_of_a_library_changes_the_key(monkeypatch):
    before = run_key(DEFAULT, "sha")
    monkeypatch.setattr(run_keys.metadata, "version", lambda name: "0.0")
    assert run_key(DEFAULT, "sha") != before


def test_checkpoint_changes_the_key_of_its_evaluation(checkpoint):
    before = evaluation_key([checkpoint])
    checkpoint.write_bytes(b"other weights")
    assert evaluation_key([checkpoint]) != before
