"""`make compare`, with the processes of both revisions stood in for."""

import json
from pathlib import Path

import numpy as np
import pytest

from fashion_transfer.benchmarks import compare, compare_jobs
from fashion_transfer.benchmarks.compare_jobs import JOBS

METRICS = {"test/accuracy": 0.9, "seconds/fit": 1.0}


class Processes:
    """Stands for every process: leaves metrics or arrays.

    Attributes:
        commands: (folder of the revision, program, arguments) so far.
        tasks: of the probes, in order.
        accuracy: by the folder of the revision.
        arrays: what a probe of a revision gives, by its folder.
    """

    def __init__(self) -> None:
        self.commands: list[tuple[str, str, list[str]]] = []
        self.tasks: list[dict] = []
        self.accuracy: dict[str, float] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, command, output, cwd, environment):
        program, arguments = Path(command[1]).name, command[2:]
        self.commands.append((cwd.name, program, arguments))
        assert environment["PYTHONPATH"] == str(cwd / "src")
        if program == "probe.py":
            task = json.loads(Path(arguments[0]).read_text())
            self.tasks.append(task)
            np.savez(task["output"], test=self.arrays.get(cwd.name, np.zeros(3)))
        else:
            [run] = [a for a in arguments if a.startswith("hydra.run.dir=")]
            folder = Path(run.partition("=")[2].strip("'"))
            metrics = METRICS | {"test/accuracy": self.accuracy.get(cwd.name, 0.9)}
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return 1.0

    def run(self, program: str) -> list[tuple[str, list[str]]]:
        return [(where, a) for where, name, a in self.commands if name == program]


@pytest.fixture
def processes(monkeypatch) -> Processes:
    processes = Processes()
    monkeypatch.setattr(compare_jobs, "execute", processes)
    return processes


@pytest.fixture
def run(processes, tmp_path, monkeypatch):
    """`run(*arguments)`: compares the folders `old` (0.1.0) and `new`; gives exit status, JSON."""
    for name in ("old", "new"):
        (tmp_path / name / "src" / "fashion_transfer").mkdir(parents=True)
    (tmp_path / "new" / "src" / "fashion_transfer" / "evaluation").mkdir()
    monkeypatch.chdir(tmp_path)

    def compare_both(*arguments: str) -> tuple[int, dict]:
        try:
            compare.main(["--base", "old", "--head", "new", "--weights", "w", *arguments])
            status = 0
        except SystemExit as end:
            status = end.code
        return status, json.loads(Path("results/compare.json").read_text())

    return compare_both


def test_equal_revisions_end_with_status_0(run, capsys):
    status, content = run("--only", "fast")
    assert status == 0
    assert content["equal"]
    assert content["base"]["name"] == "old"
    assert {row["check"] for row in content["rows"]} == {
        "fast: pixels",
        "fast: features",
        "fast, seed 0: metrics",
        "fast, seed 0: weights and logits",
    }
    assert "new against old: equal" in capsys.readouterr().out


def test_undocumented_difference_ends_with_status_1(run, processes):
    processes.arrays["new"] = np.array([0.0, 0.5, 0.0])
    status, content = run("--only", "fast", "--checks", "features")
    assert status == 1
    assert not content["equal"]
    [row] = content["rows"]
    assert (row["differing"], row["largest"], row["rows"]) == (1, 0.5, [1])


def test_different_metric_ends_with_status_1(run, processes):
    processes.accuracy["new"] = 0.91
    assert run("--only", "linear", "--checks", "runs")[0] == 1


def test_default_is_trained_with_three_seeds_and_evaluated(run, processes):
    run("--only", "default", "--checks", "runs")
    seeds = [a for _, arguments in processes.run("train.py") for a in arguments if "seed=" in a]
    assert seeds == [f"seed={seed}" for seed in (0, 0, 1, 1, 2, 2)]
    evaluated = processes.run("evaluate.py")
    assert [where for where, _ in evaluated] == ["old", "new"] * 3
    assert "kinds=200" in evaluated[0][1]
    assert "images_per_set=200" in evaluated[1][1]


def test_each_revision_gets_overrides_with_its_own_keys(run, processes):
    run("--only", "linear", "--override", "data.synthetic.composites=16", "policy.threshold=0.5")
    trained = dict(processes.run("train.py"))
    assert {"data.composites=16", "model.threshold=0.5"} <= set(trained["old"])
    assert {"data.synthetic.composites=16", "policy.threshold=0.5"} <= set(trained["new"])
    old, new = (task["overrides"] for task in processes.tasks[:2])
    assert "data.composites=16" in old
    assert "data.synthetic.composites=16" in new


def test_offline_job_is_not_given_the_weights(run, processes):
    run("--only", "offline", "fast")
    given = {
        next(a for a in arguments if a.startswith("experiment=")): "model.backbone.weights=w"
        in arguments
        for _, arguments in processes.run("train.py")
    }
    assert given == {"experiment=offline": False, "experiment=fast": True}


def test_notebook_is_reduced_unless_the_comparison_is_full(run, processes):
    run("--only", "notebook", "--checks", "runs")
    run("--only", "notebook", "--checks", "runs", "--full")
    reduced = ["data.images_per_class=50" in a for _, a in processes.run("train.py")]
    assert reduced == [True, True, False, False]


def test_runs_of_the_base_that_were_made_earlier_are_not_repeated(run, processes):
    for folder in ("linear/0", "default/1", "default/1/evaluate"):
        (Path("earlier") / folder).mkdir(parents=True, exist_ok=True)
        (Path("earlier") / folder / "metrics.json").write_text(json.dumps(METRICS))
    run("--only", "linear", "default", "--checks", "runs", "--base-runs", "earlier")
    bases = [a for where, a in processes.run("train.py") if where == "old"]
    assert [next(x for x in a if x.startswith("seed=")) for a in bases] == ["seed=0", "seed=2"]
    assert len([1 for where, _ in processes.run("evaluate.py") if where == "old"]) == 2
    assert [where for where, _ in processes.run("train.py")].count("new") == 4


def test_store_of_the_features_can_be_chosen(run, monkeypatch):
    environments = []
    original = compare_jobs.execute

    def execute(command, output, cwd, environment):
        environments.append(environment.get("FASHION_TRANSFER_CACHE"))
        return original(command, output, cwd, environment)

    monkeypatch.setattr(compare_jobs, "execute", execute)
    run("--only", "fast", "--store", "my store")
    assert set(environments) == {str(Path("my store").resolve())}


def test_unknown_revision_is_an_error(processes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="error: no checkout of revision nothing"):
        compare.main(["--base", "nothing"])


def test_every_job_composes(tmp_path):
    from hydra import compose, initialize_config_dir

    conf = Path(__file__).resolve().parents[2] / "conf"
    with initialize_config_dir(str(conf), version_base="1.3"):
        for job in JOBS.values():
            compose("train", [*job.overrides, *job.reduced])
