"""`make results`, with training stood in for."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from fashion_transfer.benchmarks import machine, results
from fashion_transfer.benchmarks.machine import BEST
from fashion_transfer.benchmarks.recipes import Recipe
from fashion_transfer.features.weights import file_sha256
from fashion_transfer.reporting import curves_figure, results_figure, save_figure

NEAR_DUPLICATES = {
    "correlation": 0.995,
    "test_images": 7,
    "accuracy": 0.8642,
    "accuracy_without": 0.8639,
}
real_run = machine.subprocess.run


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Overrides as Hydra understands them."""
    overrides = OverridesParser.create().parse_overrides(arguments)
    return {override.key_or_group: override.value() for override in overrides}


class FakeTraining:
    """Stands for `train.py`: notes how it was called and leaves metrics, or fails.

    Attributes:
        commands: of each run so far, arguments only.
        accuracy: of a run, by its seed.
        failing: an argument with which a run fails, printing `output`.
    """

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.accuracy = {0: 0.80, 1: 0.84, 2: 0.85}
        self.failing = ""
        self.output = "Traceback\nerror: no such thing\n"

    def __call__(self, command, stdout=None, **options):
        if command[1:3] == ["-m", "fashion_transfer.benchmarks.baselines"]:
            return self.baseline(command[3:])
        if command[1] != "train.py":  # git, and what Python asks about the machine
            return real_run(command, stdout=stdout, **options)
        arguments = command[2:]
        self.commands.append(arguments)
        if self.failing and self.failing in arguments:
            stdout.write(self.output)
            stdout.flush()
            return SimpleNamespace(returncode=1)
        values = parsed(arguments)
        accuracy = self.accuracy[values["seed"]]
        metrics = {
            "test/accuracy": accuracy,
            "test/macro_accuracy": accuracy,
            "test/accuracy/shirt": accuracy / 2,
            "test/accuracy/bag": accuracy,
            "test/ece": 0.03,
            "val/accuracy": accuracy,
            "weights/name": "mine.pth",
            "weights/sha256": "1234",
            "seconds/features": 10.0 if values["seed"] == 0 else 0.5,
            "seconds/fit": 1.0 + values["seed"],
        }
        folder = Path(str(values["hydra.run.dir"]))
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return SimpleNamespace(returncode=0)

    def baseline(self, arguments: list[str]) -> SimpleNamespace:
        self.commands.append(arguments)
        folder = Path(arguments[arguments.index("--folder") + 1])
        metrics = {"test/accuracy": 0.7, "test/macro_accuracy": 0.7, "val/accuracy": 0.7}
        metrics |= {"chosen/k": 9, "seconds/features": 1.0, "seconds/fit": 2.0}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return SimpleNamespace(returncode=0)

    @property
    def seeds(self) -> list[str]:
        return [a for command in self.commands for a in command if a.startswith("seed=")]


@pytest.fixture
def training(monkeypatch):
    fake = FakeTraining()
    monkeypatch.setattr(machine.subprocess, "run", fake)
    # Drawing takes longer than all the rest.
    monkeypatch.setattr(results, "results_figure", lambda *_: None)
    monkeypatch.setattr(results, "curves_figure", lambda *_: None)
    monkeypatch.setattr(results, "save_figure", lambda figure, path: path.touch())
    return fake


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "mine (1).pth"
    torch.save({"a": torch.ones(1)}, path)
    return path


@pytest.fixture
def recipes(monkeypatch):
    """`recipes(quick, slow)`: what the command has instead of its own rows."""

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


def by_name(content: dict) -> dict[str, dict]:
    return {row["name"]: row for row in content["rows"]}


# ---- which runs are made


def test_quick_recipes_are_run_over_their_seeds_and_slow_ones_if_asked(measure, training):
    assert list(by_name(measure())) == ["default", "mlp"]
    assert training.seeds == ["seed=0", "seed=1", "seed=2", "seed=0", "seed=1"]
    assert list(by_name(measure("--slow"))) == ["default", "mlp", "all"]
    assert training.seeds[5:] == ["seed=0"]


def test_finished_runs_are_not_repeated(measure, training):
    first = measure()
    assert len(training.commands) == 5
    assert measure() == first
    assert len(training.commands) == 5


def test_chosen_recipe_is_run_alone_and_rows_of_earlier_calls_stay(measure, training):
    assert list(by_name(measure("--only", "mlp"))) == ["mlp"]
    assert len(training.commands) == 2
    assert list(by_name(measure("--only", "all"))) == ["mlp", "all"]
    assert len(training.commands) == 3


def test_unknown_recipe_is_refused_with_those_that_exist(measure, training, capsys):
    with pytest.raises(SystemExit) as ended:
        measure("--only", "nothing")
    assert ended.value.code == 2
    assert "mlp" in capsys.readouterr().err
    assert training.commands == []


def test_other_weights_repeat_everything(measure, training, weights):
    before = measure()["about"]["weights"]
    torch.save({"a": torch.zeros(1)}, weights)
    after = measure()["about"]["weights"]
    assert len(training.commands) == 10
    assert before["name"] == after["name"]
    assert before["sha256"] != after["sha256"] == file_sha256(weights)


def test_changed_recipe_is_repeated_and_no_other(measure, training, recipes):
    measure()
    again = Recipe("an MLP", ("model/head=mlp", "model.head.hidden=64"), seeds=2)
    recipes({"default": Recipe("default"), "mlp": again})
    rows = by_name(measure())
    assert len(training.commands) == 7
    assert all("model.head.hidden=64" in command for command in training.commands[5:])
    assert rows["mlp"]["command"] == "python train.py model/head=mlp model.head.hidden=64"


def test_changed_title_repeats_nothing(measure, training, recipes):
    measure("--only", "default")
    recipes({"default": Recipe("ours")})
    assert by_name(measure())["default"]["title"] == "ours"
    assert len(training.commands) == 3


def test_changed_configuration_repeats_everything(measure, training):
    measure()
    Path("conf/train.yaml").write_text("seed: 1\n")
    measure()
    assert len(training.commands) == 10


def test_changed_experiment_repeats_only_recipes_of_experiments(measure, training, recipes):
    recipes({"default": Recipe("default"), "fast": Recipe("fast", ("experiment=fast",), seeds=1)})
    measure()
    Path("conf/experiment").mkdir()
    Path("conf/experiment/new.yaml").write_text("seed: 1\n")
    measure()
    assert len(training.commands) == 3 + 1 + 1
    assert "experiment=fast" in training.commands[-1]


def test_rows_that_are_not_run_again_stay_as_they_were_measured(measure):
    before = by_name(measure())
    Path("conf/train.yaml").write_text("seed: 1\n")
    after = by_name(measure("--only", "mlp"))
    assert list(after) == list(before)
    assert after["mlp"]["key"] != before["mlp"]["key"]
    assert {name: row for name, row in after.items() if name != "mlp"} == {
        name: row for name, row in before.items() if name != "mlp"
    }


def test_run_gets_weights_data_seed_and_a_folder_of_its_own(measure, training, weights):
    measure("--only", "mlp", "--data", "some data", "--runs", "my runs")
    folders = set()
    for number, command in enumerate(training.commands):
        values = parsed(command)
        assert values["model/head"] == "mlp"
        assert values["seed"] == number
        assert values["model.backbone.weights"] == str(weights)
        assert values["paths.data"] == "some data"
        folder = Path(values["hydra.run.dir"])
        assert folder.is_absolute()
        assert folder.is_relative_to(Path("my runs").resolve())
        folders.add(folder)
    assert len(folders) == 2


def test_recipe_with_weights_of_its_own_is_not_given_others(measure, training, recipes):
    recipes({"offline": Recipe("offline", ("experiment=offline",), seeds=1, resnet=False)})
    measure()
    [command] = training.commands
    assert not any(argument.startswith("model.backbone.weights") for argument in command)


def test_baselines_are_rows_with_their_own_command(measure, training, recipes):
    overrides = ("data.images_per_class=5",)
    recipes(
        {
            "hog_svm": Recipe("an SVM", (), 1, resnet=False, baseline="hog_svm"),
            "knn": Recipe("neighbours", overrides, 5, baseline="knn"),
        }
    )
    rows = by_name(measure("--data", "some data"))
    svm, neighbours = training.commands[0], training.commands[1]
    assert svm[:3] == ["hog_svm", "seed=0", "paths.data='some data'"]
    assert neighbours[:3] == ["knn", *overrides, "seed=0"]
    assert any(argument.startswith("model.backbone.weights=") for argument in neighbours)
    assert len(training.commands) == 1 + 5
    assert rows["hog_svm"]["command"] == "python -m fashion_transfer.benchmarks.baselines hog_svm"
    assert rows["hog_svm"]["deterministic"]
    assert rows["knn"]["chosen"] == [{"k": 9}] * 5
    text = Path("results/results.md").read_text()
    assert "| an SVM (deterministic) | 70.00 % | 70.0 % | – | – |" in text
    measure("--data", "some data")
    assert len(training.commands) == 1 + 5


# ---- runs that fail


def test_failing_run_is_named_with_its_last_line_and_is_not_finished(measure, training):
    training.failing = "seed=1"
    with pytest.raises(SystemExit) as ended:
        measure("--only", "default")
    message = ended.value.code
    assert message.startswith("error: ")
    assert "train.py seed=1" in message
    assert message.endswith("failed: error: no such thing")
    assert len(list(Path("logs").rglob("stamp.json"))) == 1
    assert not Path("results").exists()

    training.failing = ""
    measure("--only", "default")
    assert training.seeds == ["seed=0", "seed=1", "seed=1", "seed=2"]


def test_failing_run_without_output_is_named(measure, training):
    training.failing, training.output = "seed=0", ""
    with pytest.raises(SystemExit, match="train.py seed=0.* failed"):
        measure()


def test_failing_run_removes_the_stamp_of_the_one_before_it(measure, training):
    measure("--only", "default")
    Path("conf/train.yaml").write_text("seed: 1\n")
    training.failing = "seed=0"
    with pytest.raises(SystemExit):
        measure("--only", "default")
    Path("conf/train.yaml").write_text("seed: 0\n")
    training.failing = ""
    measure("--only", "default")
    assert training.seeds == ["seed=0", "seed=1", "seed=2", "seed=0", "seed=0"]


def test_missing_weights_are_an_error_before_anything_is_run(measure, training, weights):
    weights.unlink()
    with pytest.raises(SystemExit, match=r"error: .*mine \(1\)\.pth.*no such file"):
        measure()
    assert training.commands == []


# ---- what is written


def test_row_has_mean_and_deviation_over_its_seeds(measure):
    row = by_name(measure())["default"]
    assert row["seeds"] == 3
    accuracy = row["test/accuracy"]
    assert accuracy["runs"] == [0.80, 0.84, 0.85]
    assert accuracy["mean"] == pytest.approx(0.83)
    assert accuracy["spread"] == pytest.approx(np.std([0.80, 0.84, 0.85], ddof=1))
    assert row["seconds/features"] == 10
    assert row["seconds/fit"] == 2
    assert len(row["seconds"]) == 3
    assert row["weights"] == "mine.pth"


def test_row_has_the_accuracy_of_every_class(measure):
    row = by_name(measure())["default"]
    assert row["test/accuracy/shirt"]["mean"] == pytest.approx(0.415)
    assert row["test/accuracy/bag"]["mean"] == pytest.approx(0.83)
    assert "shirt 41.5 %" in Path("results/results.md").read_text()


def test_row_has_the_conditions_it_was_measured_under(measure):
    row = by_name(measure())["default"]
    assert row["commit"] == "unknown"
    assert row["machine"]["cores"] >= 1
    assert row["weights/licence"] == "not stated"
    assert {"date", "torch", "key"} <= row.keys()


def test_row_of_one_seed_has_no_deviation(measure):
    assert by_name(measure("--only", "all"))["all"]["test/accuracy"]["spread"] == 0


def test_metric_that_no_run_has_is_left_out(measure):
    measure("--only", "all")
    [file] = Path("logs").rglob("metrics.json")
    metrics = json.loads(file.read_text())
    del metrics["val/accuracy"]
    file.write_text(json.dumps(metrics))
    assert "val/accuracy" not in by_name(measure("--only", "all"))["all"]


def test_three_files_are_written_and_the_table_is_printed(measure, weights, capsys, monkeypatch):
    monkeypatch.setattr(results, "results_figure", results_figure)
    monkeypatch.setattr(results, "curves_figure", curves_figure)
    monkeypatch.setattr(results, "save_figure", save_figure)
    content = measure("--slow")
    folder = Path("results")
    names = {file.name for file in folder.iterdir()}
    figures = ("results.png", "images_per_class.png")
    assert names == {"results.md", "results.json", *figures}
    for figure in figures:
        assert (folder / figure).read_bytes().startswith(b"\x89PNG")
    text = (folder / "results.md").read_text()
    for title in ("default", "an MLP (2 seeds)", "all images (1 seed)"):
        assert f"\n| {title} |" in text
    assert "`python train.py model/head=mlp`" in text
    assert weights.name in text
    about = content["about"]
    assert about["weights"] == {
        "name": weights.name,
        "sha256": file_sha256(weights),
        "licence": "not stated",
    }
    assert not [file for path in (folder, Path("logs")) for file in path.rglob(".*")]
    out = capsys.readouterr().out
    assert "an MLP" in out
    assert "83.00 ± 2.65 %" in out


def test_folder_of_the_output_can_be_chosen(measure):
    measure()
    results.main(["--weights", str(Path("../mine (1).pth")), "--output", "deep/er"])
    written = [Path(folder) / "results.json" for folder in ("deep/er", "results")]
    assert written[0].read_text() == written[1].read_text()


def test_output_of_a_run_is_a_file_beside_it(measure, training):
    training.failing = "seed=0"
    with pytest.raises(SystemExit):
        measure("--only", "mlp")
    [output] = Path("logs").rglob("output.txt")
    assert output.read_text() == training.output


def test_readme_is_updated_if_it_is_named(measure):
    Path("README.md").write_text("before\n<!-- results:begin -->\n<!-- results:end -->\nafter\n")
    measure("--readme", "README.md")
    text = Path("README.md").read_text()
    assert text.startswith("before\n")
    assert "| default | 83.00 ± 2.65 % |" in text


def test_default_is_measured_further_once_it_and_the_plain_recipe_are_there(
    measure, recipes, monkeypatch
):
    monkeypatch.setattr(results, "duplicate_metrics", lambda *_: NEAR_DUPLICATES)
    rows = {name: {"mean": 0.5, "runs": [0.5]} for name in results.DESCRIPTIONS}
    ood = {"out_of_distribution/noise/auroc": 0.9876}
    measured = {"warnings": rows, "ood": ood}
    monkeypatch.setattr(results, "measure_warnings", lambda *_, best: measured)
    recipes({"default": Recipe("default"), "plain": Recipe("plain", ("a=1",))})
    assert {"near_duplicates", "warnings"}.isdisjoint(measure("--only", "plain")["about"])
    measure("--only", "default")
    best = Path("logs/results/default/0") / BEST
    best.parent.mkdir()
    best.touch()
    about = measure()["about"]
    assert about["near_duplicates"] == NEAR_DUPLICATES
    assert about["warnings"] == rows
    assert about["ood"] == ood
    text = Path("results/results.md").read_text()
    assert "out-of-distribution images: warned" in text
    assert "0.995" in text
    assert "| noise | 0.9876 |" in text
