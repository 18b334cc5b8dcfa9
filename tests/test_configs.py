import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import OmegaConf, open_dict

from fashion_transfer.features import Backbone
from fashion_transfer.models import HEADS, load_classifier

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"

COMMANDS = ("train", "evaluate", "predict")
GROUPS = ("experiment", "debug", "model/head", "model/backbone", "logger", "callbacks")
CHOICES = [
    ("train", f"{group}={file.stem}")
    for group in GROUPS
    for file in sorted((CONF / group).glob("*.yaml"))
]
CONFIGS = [(command, "") for command in COMMANDS] + CHOICES


def composed(command: str, *overrides: str) -> dict[str, Any]:
    """A command's own config, resolved as in a run, without Hydra's."""
    given = ["hydra.runtime.output_dir=run", f"hydra.job.name={command}", *filter(None, overrides)]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command, given, return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        try:
            with open_dict(cfg):
                del cfg.hydra
            plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        finally:
            HydraConfig.instance().cfg = None
    assert isinstance(plain, dict)
    return plain


@pytest.fixture(autouse=True)
def run_name(monkeypatch):
    monkeypatch.setenv("FASHION_TRANSFER_RUN", "now")


def targets(config: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a `_target_` in a config, by its place."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield name, dict(config)
        for key, value in config.items():
            yield from targets(value, f"{name}.{key}".lstrip("."))


def arguments_of(target: Any) -> set[str]:
    parameters = inspect.signature(target).parameters.values()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


# ---- every file composes


@pytest.mark.parametrize(("command", "override"), CONFIGS)
def test_every_choice_composes_and_names_only_what_there_is(command, override):
    found = dict(targets(composed(command, override)))
    assert found
    for place, config in found.items():
        target = get_object(config.pop("_target_"))
        assert callable(target), place
        given = {key for key in config if not re.fullmatch(r"_\w+_", key)}
        assert given <= arguments_of(target), f"{place}: {given - arguments_of(target)}"


def test_there_is_something_to_choose_everywhere():
    assert {choice.partition("=")[0] for _, choice in CHOICES} == set(GROUPS)


@pytest.mark.parametrize("file", sorted(p.stem for p in (CONF / "model/head").glob("*.yaml")))
def test_every_head_is_one_that_there_is(file):
    head = composed("train", f"model/head={file}")["model"]["head"]
    name = head.pop("name")
    assert name in HEADS
    assert head.keys() <= arguments_of(HEADS[name]) - {"in_features", "num_classes"}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_that_there_is_has_a_file(name):
    assert composed("train", f"model/head={name}")["model"]["head"]["name"] == name


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_checkpoint_is_loaded_with_arguments_that_there_are(command):
    given = composed(command)["model"]["backbone"].keys()
    assert given <= arguments_of(load_classifier) | arguments_of(Backbone)


# ---- what the files say


def test_the_default_run_is_resnet50_on_500_images_a_class():
    cfg = composed("train")
    assert cfg["model"]["backbone"]["name"] == "resnet50"
    assert cfg["model"]["backbone"]["weights"] == "IMAGENET1K_V1"
    assert cfg["data"]["images_per_class"] == 500


def test_the_seed_reaches_data_and_model():
    cfg = composed("train", "seed=7")
    assert cfg["data"]["seed"] == cfg["model"]["seed"] == 7


def test_the_notebooks_recipe_is_kept_to_the_letter():
    cfg = composed("train", "experiment=notebook")
    assert cfg["model"]["head"] == {"name": "mlp", "hidden": 512, "dropout": 0.0}
    assert cfg["model"]["optimizer"]["_target_"] == "torch.optim.Adam"
    assert cfg["model"]["optimizer"]["lr"] == 0.001
    assert cfg["model"]["scheduler"] is None
    assert cfg["model"]["standardise"] is False
    assert cfg["trainer"]["max_epochs"] == 10
    data = {key: cfg["data"][key] for key in ("images_per_class", "batch_size", "views")}
    assert data == {"images_per_class": 500, "batch_size": 32, "views": None}


def test_an_experiment_can_be_debugged():
    cfg = composed("train", "experiment=notebook", "debug=tiny")
    assert cfg["data"]["image_size"] == 32
    assert cfg["model"]["head"]["name"] == "mlp"


def test_another_threshold_is_one_override():
    assert composed("predict")["policy"]["threshold"] == 0.8
    assert composed("predict", "policy.threshold=0.6")["policy"]["threshold"] == 0.6


@pytest.mark.parametrize("command", COMMANDS)
def test_every_knob_has_its_place_in_a_run_folder(command):
    # Without a run name of its own, two runs could share a folder.
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command, [f"hydra.job.name={command}"], return_hydra_config=True)
        assert cfg.hydra.run.dir == f"logs/{command}/runs/now"
        assert cfg.hydra.sweep.dir == f"logs/{command}/multiruns/now"


def test_every_file_says_in_its_comments_what_its_knobs_are():
    for file in CONF.rglob("*.yaml"):
        assert "#" in file.read_text(encoding="utf-8"), file


# ---- before there is a run


WITHOUT_TORCH = """
import contextlib, io, os, runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "lightning", "torchmetrics"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
for script in ("train.py", "evaluate.py", "predict.py"):
    for arguments in (["--help"], ["--cfg", "job"]):
        sys.argv = [script, *arguments]
        os.environ.pop("HYDRA_FULL_ERROR", None)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                runpy.run_path(script, run_name="__main__")
            except SystemExit as end:
                assert not end.code, (script, arguments, end.code)
        assert "paths:" in out.getvalue(), (script, arguments)
"""


def test_help_and_config_are_shown_without_importing_torch(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
