"""Conditions of a measurement, and commands in processes of their own."""

import re
import shutil
import subprocess
import sys

import pytest

from fashion_transfer.benchmarks import machine
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs import folders


def test_files_of_a_run_are_named_as_the_commands_name_them():
    for name in ("METRICS", "BEST", "LAST"):
        assert getattr(machine, name) == getattr(folders, name)


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_commit_is_given_with_a_sign_if_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "n")
        monkeypatch.setenv(f"{name}_EMAIL", "n@n")
    assert machine.commit(tmp_path) == "unknown"
    (tmp_path / "file").write_text("one")
    for command in ("init", "add file", "commit -m one"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    clean = machine.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "file").write_text("two")
    assert machine.commit(tmp_path) == f"{clean}+"


def test_conditions_name_commit_date_processor_and_torch():
    conditions = machine.conditions()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", conditions["date"])
    assert conditions["machine"]["cores"] >= 1
    assert conditions["machine"]["processor"] == machine.processor()
    assert {"commit", "torch"} <= conditions.keys()


def test_output_of_a_command_goes_to_a_file(tmp_path):
    output = tmp_path / "output.txt"
    code = "import os, sys; print(os.getcwd(), os.environ['NAME']); print('too', file=sys.stderr)"
    seconds = machine.execute([sys.executable, "-c", code], output, tmp_path, {"NAME": "value"})
    assert seconds > 0
    assert sorted(output.read_text().split()) == sorted([str(tmp_path), "value", "too"])


def test_failing_command_is_an_error_with_its_last_line(tmp_path):
    code = "import sys; print('first'); sys.exit('error: the reason')"
    with pytest.raises(FashionTransferError, match="failed: error: the reason"):
        machine.execute([sys.executable, "-c", code], tmp_path / "output.txt")
