import argparse
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from fashion_transfer.commands import results
from fashion_transfer.commands.results import Recipe
from fashion_transfer.commands.runs import BEST
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Backbone
from fashion_transfer.features.weights import file_sha256
from fashion_transfer.reporting import draw_results

ROOT = Path(__file__).resolve().parents[2]
NEAR_DUPLICATES = {
    "correlation": 0.995,
    "test_images": 7,
    "accuracy": 0.8642,
    "accuracy_without": 0.8639,
}
real_run = subprocess.run


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Overrides as Hydra understands them."""
    overrides = OverridesParser.create().parse_overrides(arguments)
    return {override.key_or_group: override.value() for override in overrides}


class FakeTraining:
    """Stands for `train.py`: notes how it was called and leaves metrics, or fails.

    Attributes:
        commands: of each run so far, arguments only.
        accuracy: of a run, by its seed.
        failing: an argument with which a run fails, saying `said`.
    """

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.accuracy = {0: 0.80, 1: 0.84, 2: 0.85}
        self.failing = ""
        self.said = "Traceback\nerror: no such thing\n"

    def __call__(self, command, stdout=None, **options):
        if command[1] != "train.py":  # git, and what Python asks about the machine
            return real_run(command, stdout=stdout, **options)
        arguments = command[2:]
        self.commands.append(arguments)
        if self.failing and self.failing in arguments:
            stdout.write(self.said)
            return SimpleNamespace(returncode=1)
        values = {
            o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(arguments)
        }
        accuracy = self.accuracy[values["seed"]]
        metrics = {
            "test/accuracy": accuracy,
            "test/macro_accuracy": accuracy,
            "test/accuracy/shirt": accuracy / 2,
            "test/ece": 0.03,
            "val/accuracy": accuracy,
            "weights/name": "mine.pth",
            "seconds/features": 10.0 if values["seed"] == 0 else 0.5,
            "seconds/fit": 1.0 + values["seed"],
        }
        folder = Path(str(values["hydra.run.dir"]))
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return SimpleNamespace(returncode=0)

    @property
    def seeds(self) -> list[str]:
        return [a for command in self.commands for a in command if a.startswith("seed=")]


@pytest.fixture
def training(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(results.subprocess, "run", fake)
    # Drawing takes longer than all the rest.
    monkeypatch.setattr(results, "draw_results", lambda rows, path: path.touch())
    return fake


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "mine (1).pth"
    torch.save({"a": torch.ones(1)}, path)
    return path


@pytest.fixture
def recipes(monkeypatch):
    """`recipes(quick, slow)`: what the command knows instead of its own rows."""

    def choose(quick: dict[str, Recipe], slow: dict[str, Recipe] | None = None) -> None:
        monkeypatch.setattr(results, "RECIPES", quick)
        monkeypatch.setattr(results, "SLOW", slow or {})

    choose(
        {"default": Recipe("default"), "mlp": Recipe("an MLP", ("model/head=mlp",), seeds=2)},
        {"all": Recipe("all images", ("data.images_per_class=all",), seeds=1)},
    )
    return choose


@pytest.fixture
def measure(training, weights, recipes, tmp_path, monkeypatch):
    """`measure(*arguments)`: the command in a folder with a config of its own; gives the JSON."""
    folder = tmp_path / "checkout"
    (folder / "conf").mkdir(parents=True)
    (folder / "conf" / "train.yaml").write_text("seed: 0\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "240")

    def run(*arguments: str) -> dict:
        results.main(["--weights", str(weights), *arguments])
        return json.loads(Path("results/results.json").read_text())

    return run


def by_name(found: dict) -> dict[str, dict]:
    return {row["name"]: row for row in found["rows"]}


def leftovers(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob(".*")]


# ---- which runs are made


def test_every_quick_recipe_is_run_over_its_seeds_and_the_slow_ones_if_asked(measure, training):
    assert list(by_name(measure())) == ["default", "mlp"]
    assert training.seeds == ["seed=0", "seed=1", "seed=2", "seed=0", "seed=1"]
    assert list(by_name(measure("--slow"))) == ["default", "mlp", "all"]
    assert training.seeds[5:] == ["seed=0"]


def test_what_has_been_run_is_not_run_again(measure, training):
    first = measure()
    assert len(training.commands) == 5
    assert measure() == first
    assert len(training.commands) == 5


def test_a_chosen_recipe_is_run_alone_and_what_was_run_before_stays_in_the_table(measure, training):
    assert list(by_name(measure("--only", "mlp"))) == ["mlp"]
    assert len(training.commands) == 2
    assert list(by_name(measure("--only", "all"))) == ["mlp", "all"]
    assert len(training.commands) == 3


def test_an_unknown_recipe_is_refused_with_those_known(measure, training, capsys):
    with pytest.raises(SystemExit) as ended:
        measure("--only", "nothing")
    assert ended.value.code == 2
    assert "mlp" in capsys.readouterr().err
    assert training.commands == []


def test_other_weights_run_everything_again(measure, training, weights):
    before = measure()["about"]["weights"]
    torch.save({"a": torch.zeros(1)}, weights)
    after = measure()["about"]["weights"]
    assert len(training.commands) == 10
    assert before["name"] == after["name"]
    assert before["sha256"] != after["sha256"] == file_sha256(weights)


def test_another_recipe_of_the_same_name_is_run_again_and_no_other(measure, training, recipes):
    measure()
    again = Recipe("an MLP", ("model/head=mlp", "model.head.hidden=64"), seeds=2)
    recipes({"default": Recipe("default"), "mlp": again})
    found = by_name(measure())
    assert len(training.commands) == 7
    assert all("model.head.hidden=64" in command for command in training.commands[5:])
    assert found["mlp"]["command"] == "python train.py model/head=mlp model.head.hidden=64"


def test_another_title_is_no_other_run(measure, training, recipes):
    measure("--only", "default")
    recipes({"default": Recipe("ours")})
    assert by_name(measure())["default"]["title"] == "ours"
    assert len(training.commands) == 3


def test_another_configuration_runs_everything_again(measure, training):
    measure()
    Path("conf/train.yaml").write_text("seed: 1\n")
    measure()
    assert len(training.commands) == 10


def test_another_experiment_runs_only_recipes_of_experiments_again(measure, training, recipes):
    recipes({"default": Recipe("default"), "fast": Recipe("fast", ("experiment=fast",), seeds=1)})
    measure()
    Path("conf/experiment").mkdir()
    Path("conf/experiment/new.yaml").write_text("seed: 1\n")
    measure()
    assert len(training.commands) == 3 + 1 + 1
    assert "experiment=fast" in training.commands[-1]


def test_rows_of_another_configuration_leave_the_table(measure):
    measure()
    Path("conf/train.yaml").write_text("seed: 1\n")
    assert list(by_name(measure("--only", "mlp"))) == ["mlp"]


def test_a_run_gets_weights_data_seed_and_a_folder_of_its_own(measure, training, weights):
    measure("--only", "mlp", "--data", "some data", "--runs", "my runs")
    seen = set()
    for number, command in enumerate(training.commands):
        values = parsed(command)
        assert values["model/head"] == "mlp"
        assert values["seed"] == number
        assert values["model.backbone.weights"] == str(weights)
        assert values["paths.data"] == "some data"
        folder = Path(values["hydra.run.dir"])
        assert folder.is_absolute()
        assert folder.is_relative_to(Path("my runs").resolve())
        seen.add(folder)
    assert len(seen) == 2


def test_a_recipe_with_weights_of_its_own_is_not_given_others(measure, training, recipes):
    recipes({"offline": Recipe("offline", ("experiment=offline",), seeds=1, resnet=False)})
    measure()
    [command] = training.commands
    assert not any(argument.startswith("model.backbone.weights") for argument in command)


# ---- runs that fail


def test_a_run_that_fails_is_named_with_its_last_line_and_is_not_done(measure, training):
    training.failing = "seed=1"
    with pytest.raises(SystemExit) as ended:
        measure("--only", "default")
    told = ended.value.code
    assert told.startswith("error: ")
    assert "train.py seed=1" in told
    assert told.endswith("failed: error: no such thing")
    assert len(list(Path("logs").rglob("stamp.json"))) == 1
    assert not Path("results").exists()

    training.failing = ""
    measure("--only", "default")
    assert training.seeds == ["seed=0", "seed=1", "seed=1", "seed=2"]


def test_a_run_that_fails_without_a_word_is_named(measure, training):
    training.failing, training.said = "seed=0", ""
    with pytest.raises(SystemExit, match="train.py seed=0.* failed"):
        measure()


def test_a_run_that_fails_takes_the_stamp_of_the_one_before_it_along(measure, training):
    measure("--only", "default")
    Path("conf/train.yaml").write_text("seed: 1\n")
    training.failing = "seed=0"
    with pytest.raises(SystemExit):
        measure("--only", "default")
    Path("conf/train.yaml").write_text("seed: 0\n")
    training.failing = ""
    measure("--only", "default")
    assert training.seeds == ["seed=0", "seed=1", "seed=2", "seed=0", "seed=0"]


def test_weights_that_are_not_there_are_an_error_before_anything_is_run(measure, training, weights):
    weights.unlink()
    with pytest.raises(SystemExit, match=r"error: .*mine \(1\)\.pth.*no such file"):
        measure()
    assert training.commands == []


# ---- what is written


def test_a_row_has_mean_and_deviation_over_its_seeds(measure):
    row = by_name(measure())["default"]
    assert row["seeds"] == 3
    accuracy = row["test/accuracy"]
    assert accuracy["runs"] == [0.80, 0.84, 0.85]
    assert accuracy["mean"] == pytest.approx(0.83)
    assert accuracy["spread"] == pytest.approx(np.std([0.80, 0.84, 0.85], ddof=1))
    assert row["test/accuracy/shirt"]["mean"] == pytest.approx(0.415)
    assert row["seconds/features"] == 10
    assert row["seconds/fit"] == 2
    assert len(row["seconds"]) == 3
    assert row["weights"] == "mine.pth"


def test_a_row_of_one_seed_has_no_deviation(measure):
    assert by_name(measure("--only", "all"))["all"]["test/accuracy"]["spread"] == 0


def test_a_metric_that_no_run_has_is_left_out(measure, tmp_path):
    measure("--only", "all")
    [file] = Path("logs").rglob("metrics.json")
    metrics = json.loads(file.read_text())
    del metrics["val/accuracy"]
    file.write_text(json.dumps(metrics))
    assert "val/accuracy" not in by_name(measure("--only", "all"))["all"]


def test_the_three_files_are_written_whole_and_the_table_is_printed(
    measure, weights, capsys, monkeypatch
):
    monkeypatch.setattr(results, "draw_results", draw_results)
    found = measure("--slow")
    folder = Path("results")
    assert {file.name for file in folder.iterdir()} == {
        "results.md",
        "results.json",
        "results.png",
    }
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    text = (folder / "results.md").read_text()
    for title in ("default", "an MLP", "all images (1 seed)"):
        assert f"\n| {title} |" in text
    assert "`python train.py model/head=mlp`" in text
    assert weights.name in text
    assert found["about"]["weights"] == {"name": weights.name, "sha256": file_sha256(weights)}
    assert found["about"]["commit"] == "unknown"
    assert found["about"]["torch"] == torch.__version__
    assert leftovers(Path("logs")) == leftovers(folder) == []
    out = capsys.readouterr().out
    assert "an MLP" in out
    assert "83.00 ± 2.65 %" in out


def test_the_folder_of_the_output_can_be_chosen(measure):
    measure()
    results.main(["--weights", str(Path("../mine (1).pth")), "--output", "deep/er"])
    assert (Path("deep/er") / "results.json").read_text() == Path(
        "results/results.json"
    ).read_text()


def test_what_a_run_said_is_kept_beside_it(measure, training):
    training.failing = "seed=0"
    with pytest.raises(SystemExit):
        measure("--only", "mlp")
    [output] = Path("logs").rglob("output.txt")
    assert output.read_text() == training.said


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_commit_is_told_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "n")
        monkeypatch.setenv(f"{name}_EMAIL", "n@n")
    assert results.commit() == "unknown"
    (tmp_path / "file").write_text("one")
    for command in ("init", "add file", "commit -m one"):
        real_run(["git", *command.split()], check=True, capture_output=True)
    clean = results.commit()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (tmp_path / "file").write_text("two")
    assert results.commit() == f"{clean}+"


# ---- the recipes themselves


@pytest.fixture(scope="module")
def configs() -> dict[str, Any]:
    """What each recipe composes to."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return {
            name: compose("train", [*recipe.overrides, "seed=0"])
            for name, recipe in (results.RECIPES | results.SLOW).items()
            if not name.startswith(("cost_64", "cost_112"))  # as cost_32 but for the number
        }


def test_a_recipe_gets_the_weights_if_its_backbone_takes_them(configs):
    recipes = results.RECIPES | results.SLOW
    for name, cfg in configs.items():
        assert (cfg.model.backbone.name == "resnet50") == recipes[name].resnet


def test_every_recipe_pools_what_there_is(configs):
    backbones = [cfg.model.backbone for cfg in configs.values()]
    for pool in {tuple(b.pool) for b in backbones if b.name == "resnet50"}:
        assert Backbone("resnet18", None, pool, compile=False).pool == pool


def test_a_row_of_the_table_has_three_seeds_and_names_are_folders():
    every = results.RECIPES | results.SLOW
    assert len(every) == len(results.RECIPES) + len(results.SLOW)
    assert all(recipe.seeds == 3 for recipe in results.RECIPES.values())
    assert all(recipe.seeds >= 1 and "/" not in name for name, recipe in every.items())
    assert len({recipe.overrides for recipe in every.values()}) == len(every)


# ---- with real runs


@pytest.fixture
def small(trained, idx_dir, tmp_path, monkeypatch):
    """The runs of a default recipe whose only checkpoint is that of a tiny run."""
    folder = tmp_path / "runs" / "default" / "0" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(trained.best, folder)
    tiny = {"images_per_class": 8, "val_per_class": 4, "check_md5": False}
    module = partial(results.FashionMNISTDataModule, **tiny)
    monkeypatch.setattr(results, "FashionMNISTDataModule", module)
    monkeypatch.setattr(results, "load_classifier", partial(load, results.load_classifier))
    return tmp_path / "runs" / "default"


def load(original, path, **options):
    return original(path, **(options | {"compile": False, "precision": "float32"}))


def test_near_duplicates_are_looked_for_only_among_runs_of_the_table(measure, monkeypatch):
    monkeypatch.setattr(results, "duplicates", lambda *_: NEAR_DUPLICATES)
    assert "near_duplicates" not in measure()["about"]
    best = Path("logs/results/default/0") / BEST
    best.parent.mkdir()
    best.touch()
    assert measure()["about"]["near_duplicates"] == NEAR_DUPLICATES
    assert "7 nearly equal" in Path("results/results.md").read_text()
    Path("conf/train.yaml").write_text("seed: 1\n")
    assert "near_duplicates" not in measure("--only", "mlp")["about"]


@pytest.mark.parametrize("alike", [[], [3, 17, 40]])
def test_accuracy_is_told_with_and_without_near_duplicates(
    small, trained, idx_dir, monkeypatch, alike
):
    same = np.isin(np.arange(60), alike)
    seen = []

    def found(images, others):
        seen.append((len(images), len(others)))
        return same, same.astype(np.float32)

    monkeypatch.setattr(results, "near_duplicates", found)
    told = results.duplicates(small, str(idx_dir))
    assert seen == [(60, 80)]
    assert told["test_images"] == len(alike)
    assert told["correlation"] == results.SIMILAR
    assert told["accuracy"] == pytest.approx(trained.metrics["test/accuracy"], abs=1e-6)
    right = round(60 * told["accuracy"])
    left = told["accuracy_without"] * (60 - len(alike))
    assert right - len(alike) <= round(left) <= right
    assert left == pytest.approx(round(left), abs=1e-4)


def test_a_real_run_is_stamped_and_summarised(run, tiny, plain, tmp_path, monkeypatch):
    def inside(command, stdout, **options):
        ran = run("train.py", *command[2:])
        stdout.write(ran.out + ran.err)
        return SimpleNamespace(returncode=ran.status)

    monkeypatch.setattr(results.subprocess, "run", inside)
    overrides = tuple(tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1"))
    recipe, folder = Recipe("tiny", overrides, seeds=1, resnet=False), tmp_path / "runs" / "tiny"
    chosen = argparse.Namespace(data="data", weights="")
    results.run(recipe, folder / "0", 0, chosen, "sha")
    assert results.finished(recipe, folder / "0", "sha")
    assert not results.finished(recipe, folder / "0", "other")
    row = results.summarise("tiny", recipe, folder)
    assert set(results.SHOWN) <= row.keys()
    assert row["weights"] == "random"

    broken = Recipe("broken", (*overrides, "data.images_per_class=99"), seeds=1, resnet=False)
    with pytest.raises(FashionTransferError, match="images_per_class=99 asks for more than"):
        results.run(broken, folder / "0", 0, chosen, "sha")
    assert not (folder / "0" / "stamp.json").exists()
