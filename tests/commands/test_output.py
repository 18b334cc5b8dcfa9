"""Whole commands whose terminal has few characters, or whose output nobody reads any more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def commands(trained, tiny, plain, idx_dir, tmp_path) -> dict[str, list[str]]:
    """Arguments of the interpreter for each command; they write to `tmp_path / "logs"`."""
    logs, checkpoint = f"paths.logs={tmp_path / 'logs'}", f"ckpt_path={trained.best}"
    picture = tmp_path / "caf\udce9 é \N{PARTY POPPER}.png"
    Image.new("L", (28, 28), 99).save(picture)
    data = [f"data.dir={idx_dir}", "data.check_md5=false", "images_per_set=4", "store=false"]
    few = tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1")
    return {
        "train": ["train.py", *few],
        "sweep": ["train.py", "-m", *few, "seed=1"],
        "search": ["search.py", *few, "trials=1"],
        "evaluate": ["evaluate.py", checkpoint, logs, *data],
        "predict": ["predict.py", str(picture), checkpoint, logs],
        "runs": ["runs.py", "--logs", str(trained.logs)],
        "cache": ["-m", "fashion_transfer.features.cache"],
        "config": ["evaluate.py", "--cfg", "job"],
        "help": ["runs.py", "--help"],
    }


def start(arguments: list[str], **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | variables,
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["output", "locale"],
)
def test_every_command_runs_where_the_terminal_has_ascii_alone(commands, variables):
    for name, arguments in commands.items():
        with start(arguments, **variables) as process:
            out, err = process.communicate(timeout=600)
        assert process.returncode == 0, f"{name}\n{out.decode()}\n{err.decode()}"
        assert out.isascii()
        assert b"Error" not in err, name


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")
def test_every_command_ends_silently_once_nobody_reads_its_output(commands, tmp_path):
    for name, arguments in commands.items():
        with start(arguments) as process:
            process.stdout.close()
            err = process.stderr.read().decode()
            assert (process.wait(600), err) == (141, ""), name
    for kind in ("train/runs", "search"):
        for record in (tmp_path / "logs").glob(f"{kind}/**/run.json"):
            assert json.loads(record.read_text())["status"] == "interrupted"
