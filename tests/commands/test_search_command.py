import csv
import json
import math
import re
import shlex
import weakref

import optuna
import pytest

from fashion_transfer.models import ClassificationTask
from fashion_transfer.runs.record import read_metrics, read_record
from fashion_transfer.search.study import JOURNAL

SPACE = [
    "search.model.head.hidden.low=4",
    "search.model.head.hidden.high=16",
]
EPOCHS = "trainer.max_epochs=4"  # two rungs


@pytest.fixture(scope="module")
def search(run, tiny, plain):
    """`search(logs, *more)`: a search over the generated files."""

    def start(logs, *more):
        return run("search.py", *tiny(logs, *plain, *SPACE, EPOCHS, *more))

    return start


@pytest.fixture(scope="module")
def searched(search, tmp_path_factory):
    """The study folder, and the output, of a search of 6 trials; do not change it."""
    logs = tmp_path_factory.mktemp("searched")
    ran = search(logs, "trials=6")
    ran.succeeded()
    return logs / "search" / "default", ran.out


def trials_of(folder):
    backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    return optuna.load_study(study_name=None, storage=storage).trials


def outcomes(folder):
    return [
        (t.number, t.state, t.params, t.value, t.intermediate_values) for t in trials_of(folder)
    ]


def test_every_trial_is_a_run_folder(searched):
    folder, _ = searched
    trials = trials_of(folder)
    assert [trial.number for trial in trials] == list(range(6))
    states = {"COMPLETE": "finished", "PRUNED": "pruned"}
    assert {trial.state.name for trial in trials} == set(states)
    for trial in trials:
        run_folder = folder / "trials" / f"{trial.number:04d}"
        record = read_record(run_folder)
        assert record.state == states[trial.state.name]
        assert f"model.mixup={trial.params['model.mixup']}" in record.overrides
        assert record.config["model.head.hidden"] == trial.params["model.head.hidden"]
        metrics = read_metrics(run_folder)
        assert metrics.get("val/loss") == (trial.value if record.state == "finished" else None)
        assert not any(name.startswith("test/") for name in metrics)
        assert (run_folder / ".hydra" / "config.yaml").is_file()
        assert not (run_folder / "checkpoints" / "last.ckpt").exists()
        assert (run_folder / "checkpoints").exists() == (record.state == "finished")


def test_value_is_the_lowest_of_the_reports(searched):
    for trial in trials_of(searched[0]):
        if trial.state.name == "COMPLETE":
            assert trial.value == min(trial.intermediate_values.values())


def test_winner_is_tested_once_and_its_command_gives_the_same(searched, run):
    folder, out = searched
    [command] = re.findall(r"^python (train\.py .*)$", out, re.MULTILINE)
    script, *arguments = shlex.split(command)
    logs = folder.parents[1] / "winner"
    run(script, *arguments, f"paths.logs={logs}").succeeded()
    [file] = logs.glob("train/runs/*/metrics.json")
    metrics = json.loads(file.read_text())
    best = min((t for t in trials_of(folder) if t.state.name == "COMPLETE"), key=lambda t: t.value)
    assert metrics["val/loss"] == best.value
    [tested] = (folder / "winner").iterdir()
    assert tested.name == f"{best.number:04d}"
    assert read_metrics(tested)["test/accuracy"] == metrics["test/accuracy"]
    assert f"test/accuracy {metrics['test/accuracy']:.2%}" in out


def test_search_ends_in_a_table_and_figures(searched):
    folder, out = searched
    rows = list(csv.DictReader((folder / "search.csv").open()))
    assert len(rows) == 6
    values = [float(row["val/loss"]) for row in rows if row["state"] == "finished"]
    assert values == sorted(values)
    assert rows[0]["state"] == "finished"
    assert {"model.head.dropout", "model.head.hidden", "model.mixup"} <= rows[0].keys()
    text = (folder / "search.md").read_text()
    for name in re.findall(r"\]\((\w+\.png)\)", text):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    assert "history.png" in text
    assert "6 trials: " in text
    assert "python train.py" in text
    assert len(re.findall(r"^trial \d \(of 6\): ", out, re.MULTILINE)) == 6
    assert "min left" in out
    table = [line for line in out.splitlines() if "│" in line or "┃" in line]
    assert table
    assert max(map(len, table)) <= 80


def test_trials_are_the_total_and_more_of_them_continue(search, searched, tmp_path):
    search(tmp_path, "trials=4", "test=false").succeeded()
    more = search(tmp_path, "trials=6")
    more.succeeded()
    folder = tmp_path / "search" / "default"
    assert outcomes(folder) == outcomes(searched[0])
    assert len(re.findall(r"^trial \d", more.out, re.MULTILINE)) == 2
    before = (folder / JOURNAL).read_bytes()
    again = search(tmp_path, "trials=6")
    again.succeeded()
    assert (folder / JOURNAL).read_bytes() == before
    assert not re.search(r"^trial \d", again.out, re.MULTILINE)


class Stopped(KeyboardInterrupt):
    pass


@pytest.mark.parametrize(
    "moment", [2, pytest.param(7, marks=pytest.mark.slow), pytest.param(12, marks=pytest.mark.slow)]
)
def test_interrupted_search_continues_as_if_it_had_not_been(
    search, searched, tmp_path, monkeypatch, moment
):
    """Ctrl-C at some training epoch; the interrupted trial goes on in its own folder."""
    start, epochs = ClassificationTask.on_train_epoch_start, []

    def stop(task):
        epochs.append(1)
        if len(epochs) == moment:
            raise Stopped
        start(task)

    monkeypatch.setattr(ClassificationTask, "on_train_epoch_start", stop)
    ran = search(tmp_path, "trials=6")
    assert ran.status == 130
    assert "python search.py" in ran.err
    assert "trials=6" in ran.err
    assert "continues the study" in ran.err
    monkeypatch.undo()
    search(tmp_path, "trials=6", "test=false").succeeded()
    assert outcomes(tmp_path / "search" / "default") == outcomes(searched[0])


def test_failed_trials_go_on_and_are_said(search, tmp_path, monkeypatch):
    fit, trials = ClassificationTask.on_fit_start, []

    def fail(task):
        trials.append(1)
        if len(trials) == 2:
            raise RuntimeError("out of\nmemory")
        return fit(task)

    monkeypatch.setattr(ClassificationTask, "on_fit_start", fail)
    ran = search(tmp_path, "trials=3", "pruner=none", "test=false")
    ran.succeeded()
    assert re.search(r"^trial 1 \(of 3\): no value, failed \(.*memory", ran.out, re.MULTILINE)
    assert "3 trials: 2 finished, 1 failed." in ran.out
    folder = tmp_path / "search" / "default"
    assert read_record(folder / "trials" / "0001").state == "failed"
    assert not (folder / "winner").exists()


def test_trial_frees_the_memory_of_the_one_before(search, tmp_path, monkeypatch):
    fit, trainers, alive = ClassificationTask.on_fit_start, [], []

    def count(task):
        alive.append(sum(trainer() is not None for trainer in trainers))
        trainers.append(weakref.ref(task.trainer))
        if len(trainers) == 2:
            raise RuntimeError("no GPU")
        return fit(task)

    monkeypatch.setattr(ClassificationTask, "on_fit_start", count)
    search(tmp_path, "trials=4", "pruner=none", "test=false").succeeded()
    assert alive == [0, 0, 0, 0]


def test_search_ends_when_nothing_but_failures_comes(search, tmp_path, monkeypatch):
    def fail(task):
        raise RuntimeError("no GPU")

    monkeypatch.setattr(ClassificationTask, "on_fit_start", fail)
    message = search(tmp_path, "trials=9").mistake()
    assert message.startswith("all of the first 3 trials failed, the last one with: ")
    assert "no GPU" in message


def test_loss_that_is_no_number_ends_the_trial(search, tmp_path, monkeypatch):
    log, losses = ClassificationTask.log, []

    def nan(task, name, value, *arguments, **options):
        if name == "val/loss":
            losses.append(value)
            value = value * math.nan if len(losses) == 1 else value
        log(task, name, value, *arguments, **options)

    monkeypatch.setattr(ClassificationTask, "log", nan)
    ran = search(tmp_path, "trials=2", "pruner=none")
    ran.succeeded()
    assert "pruned after 1 epoch (val/loss is nan after epoch 1)" in ran.out
    assert "2 trials: 1 finished, 1 pruned." in ran.out
    assert "nan" in (tmp_path / "search" / "default" / "search.csv").read_text()


def test_fixed_key_is_not_searched(search, tmp_path):
    ran = search(tmp_path, "trials=1", "model.mixup=0.5", "search.model.head.dropout=null")
    ran.succeeded()
    [trial] = trials_of(tmp_path / "search" / "default")
    assert "model.optimizer.lr" not in trial.params  # the tiny run sets it
    assert trial.params.keys() == {
        "model.optimizer.weight_decay", "model.label_smoothing", "model.head.hidden"
    }  # fmt: skip


def test_other_space_or_values_under_the_same_name_are_refused(search, tmp_path):
    search(tmp_path, "trials=1", "test=false").succeeded()
    message = search(tmp_path, "trials=2", "search.model.head.hidden.high=32", "seed=1").mistake()
    assert 'search.model.head.hidden was "4 to 16 (log)" and is "4 to 32 (log)"' in message
    assert "seed was 0 and is 1" in message
    assert "study=NAME" in message
    assert "pruner was" in search(tmp_path, "pruner=none").mistake()
    search(tmp_path, "trials=1", "seed=1", "study=other", "test=false").succeeded()
    assert len(trials_of(tmp_path / "search" / "other")) == 1


def test_mistake_of_the_first_trial_is_one_line_and_can_be_put_right(search, tmp_path):
    message = search(tmp_path, "trials=2", "data.images_per_class=9999999").mistake()
    assert "images" in message
    search(tmp_path, "trials=1", "test=false").succeeded()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trials=0"], "trials must be a whole number from 1, got 0"),
        (["trials=2.5"], "trials must be a whole number from 1, got 2.5"),
        (["study_seed=-1"], "study_seed must be a whole number from 0, got -1"),
        (["study=a/b"], "study must be a name for a folder, got 'a/b'"),
        (["pruner=median"], "pruner must be one of halving, none, got 'median'"),
        (["monitor.metric=test/accuracy"], "monitor.metric must be one of validation"),
        (["monitor.metric=null"], "monitor.metric must be one of validation"),
        (["search=nothing"], "there is no search=nothing: use one of default, head, optimizer"),
        (["search.model.mixup.low=3"], "search.model.mixup.low must be under its high"),
        (["search.model.mixup.low=-1"], "model.mixup must be"),
        (["+search.model.mixing.choices=[1,2]"], "model.mixing"),
        (["-m"], "-m is for train.py"),
        (["ckpt_path=last"], "ckpt_path=last is for train.py"),
        (["trainer.max_epoch=3"], "did you mean trainer.max_epochs?"),
    ],
)
def test_mistakes_are_one_line(search, tmp_path, arguments, message):
    assert message in search(tmp_path, *arguments).mistake()
    assert not (tmp_path / "search" / "default" / JOURNAL).exists()
