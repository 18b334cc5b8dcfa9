"""CONTRIBUTING.md does what it promises: its code is copied from the page and run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from toy import SHAPES, write_toy

from fashion_transfer.confidence import Prediction
from fashion_transfer.data import read_image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

MOST_FILES = 2
MOST_LINES_OF_A_DATA_SET = 60

PATH = re.compile(r"^(?:In )?`([\w/.]+)`:$")
FENCE = re.compile(r"^```(\w*)$")


class Change(NamedTuple):
    """A block of code for one file: a new file, or lines that change in one that is there."""

    path: str
    language: str
    lines: list[str]

    def apply(self, root: Path) -> None:
        file = root / self.path
        if self.language != "diff":
            assert not file.exists()
            file.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
            return
        old = [line[1:] for line in self.lines if not line.startswith("+")]
        new = [line[1:] for line in self.lines if not line.startswith("-")]
        there = file.read_text(encoding="utf-8").splitlines()
        starts = [i for i in range(len(there)) if there[i : i + len(old)] == old]
        assert len(starts) == 1, f"{self.path} has {len(starts)} places for {old}"
        there[starts[0] : starts[0] + len(old)] = new
        file.write_text("\n".join(there) + "\n", encoding="utf-8")


def read_guide() -> dict[str, list[Change]]:
    """The changes of each section under "How to add something", by its title."""
    sections: dict[str, list[Change]] = {}
    title, path, block = "", "", None
    for line in GUIDE.partition("## How to add something")[2].splitlines():
        if block is not None:
            if line == "```":
                block = None
            else:
                block.append(line)
        elif line.startswith("### "):
            title = line.removeprefix("### ")
            sections[title] = []
        elif match := PATH.match(line):
            path = match[1]
        elif match := FENCE.match(line):
            block = []
            if match[1]:  # a block without a language is a command
                sections[title].append(Change(path, match[1], block))
    return sections


SECTIONS = read_guide()

USE = """
import json, runpy, sys
from pathlib import Path

LOGS = ["paths.logs=logs", "paths.cache=cache"]
QUIET = ["trainer.enable_progress_bar=false", "logger=none"]
DATA = ["data=my_photos", "data.dir=photos"]
BACKBONE = [
    "model.backbone.name=mine/small",
    "model.backbone.weights=null",
    "model.backbone.pool=[low,high]",
]

def run(script, *arguments):
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")

if __name__ == "__main__":
    run(
        "train.py", *DATA, *BACKBONE, *LOGS, *QUIET, "model/head=cosine", "data.image_size=48",
        "trainer.max_epochs=2", "trainer.accelerator=cpu", "hydra.run.dir=logs/train/runs/guide",
    )
    run(
        "evaluate.py", *DATA, *LOGS, "device=cpu", "hydra.run.dir=logs/evaluate",
        "images_per_set=1",
    )
    run(
        "predict.py", *LOGS, "device=cpu", "hydra.run.dir=logs/predict",
        "input=photos/test/circle/0.png",
    )

    import torch
    from fashion_transfer.confidence import REASONS, decide
    from fashion_transfer.models import read_checkpoint

    predictions = decide(
        torch.tensor([[0.5, 0.4, 0.1], [0.4, 0.3, 0.3]]), torch.zeros(2), ["a", "b", "c"], 0.8, 1.0
    )
    checkpoint = read_checkpoint("logs/train/runs/guide/checkpoints/best.ckpt")
    result = {
        "classifier": checkpoint["classifier"] | {"validation": None},
        "predictions": predictions,
        "reasons": REASONS,
    }
    Path("result.json").write_text(json.dumps(result))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project in which everything on the page has been added."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("src", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("train.py", "evaluate.py", "predict.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    for changes in SECTIONS.values():
        for change in changes:
            change.apply(root)
    return root


@pytest.fixture(scope="module")
def used(checkout):
    """The copy after one run of each command with the additions."""
    write_toy(checkout / "photos")
    (checkout / "use.py").write_text(USE, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "use.py"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return checkout


@pytest.fixture(scope="module")
def result(used):
    return json.loads((used / "result.json").read_text())


def metrics(used: Path, run: str) -> dict:
    return json.loads((used / "logs" / run / "metrics.json").read_text())


# ---- the page


def test_guide_has_a_section_for_each_extension():
    assert list(SECTIONS) == [
        "A data set",
        "A head",
        "A backbone of another library",
        "A metric",
        "A reason to warn",
        "An experiment",
    ]


@pytest.mark.parametrize("title", SECTIONS)
def test_each_extension_takes_at_most_two_files(title):
    files = {change.path for change in SECTIONS[title]}
    assert 1 <= len(files) <= MOST_FILES


@pytest.mark.parametrize("title", ["A metric", "A reason to warn", "An experiment"])
def test_small_extensions_take_one_file(title):
    assert len({change.path for change in SECTIONS[title]}) == 1


def test_data_set_takes_two_files_and_at_most_sixty_lines():
    changes = SECTIONS["A data set"]
    assert {change.language for change in changes} == {"python", "yaml"}
    assert len(changes) == MOST_FILES
    assert sum(len(change.lines) for change in changes) <= MOST_LINES_OF_A_DATA_SET


def test_code_of_the_guide_has_the_projects_style(checkout):
    files = {change.path for changes in SECTIONS.values() for change in changes}
    files = sorted(file for file in files if file.endswith(".py"))
    for command in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, *files],
            cwd=checkout,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout


# ---- each extension, used


def test_added_data_set_is_trained_on_and_evaluated(used, result):
    assert result["classifier"]["class_names"] == sorted(SHAPES)
    assert result["classifier"]["preparation"] == "photo"
    for name in SHAPES:
        assert f"test/accuracy/{name}" in metrics(used, "train/runs/guide")
    shapes = {read_image(path).shape for path in (used / "photos").rglob("*.png")}
    assert len(shapes) > 1
    assert {shape[0] for shape in shapes} == {3}


def test_added_data_set_gets_the_same_metrics_from_both_commands(used):
    trained, evaluated = metrics(used, "train/runs/guide"), metrics(used, "evaluate")
    tests = [name for name in trained if name.startswith("test/")]
    assert tests
    assert {name: evaluated[name] for name in tests} == pytest.approx(
        {name: trained[name] for name in tests}, abs=1e-6
    )


def test_checkpoint_of_an_added_data_set_labels_image_files(used):
    header, row = (used / "logs" / "predict" / "predictions.csv").read_text().splitlines()
    label = row.split(",")[header.split(",").index("label")]
    assert label in SHAPES


def test_added_head_is_trained_and_named_in_the_checkpoint(result):
    assert result["classifier"]["head"] == {"name": "cosine", "scale": 16.0}


def test_added_backbone_is_used_and_its_stages_are_pooled(result):
    backbone = result["classifier"]["backbone"]
    assert (backbone["name"], backbone["pool"]) == ("mine/small", ["low", "high"])


@pytest.mark.parametrize("run", ["train/runs/guide", "evaluate"])
def test_added_metric_is_reported_by_training_and_evaluation(used, run):
    assert 0 < metrics(used, run)["test/mean_confidence"] <= 1


def test_added_reason_is_given_where_it_applies_and_nowhere_else(result):
    assert "two candidates" in result["reasons"]
    first, other = (Prediction(*values) for values in result["predictions"])
    assert first.warning
    assert first.reason == "two candidates"
    assert first.message == "This is either a or b."
    assert other.reason == "ambiguous"


def test_added_experiment_changes_what_its_file_says(checkout):
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(checkout / "conf"), version_base="1.3"):
        cfg = compose("train", ["experiment=small_head"])
    assert cfg.model.head.hidden == 32
    assert cfg.data.images_per_class == 100
    assert cfg.trainer.max_epochs == 5
