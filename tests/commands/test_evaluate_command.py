import json
import shutil
from pathlib import Path

import pytest
import torch
import torchvision

from fashion_transfer.models import Classifier


@pytest.fixture(scope="module")
def settings(idx_dir, tmp_path_factory):
    """`settings(logs, *more)`: arguments of an evaluation over the generated files."""
    cache = tmp_path_factory.mktemp("features")

    def arguments(logs: Path, *more: str) -> list[str]:
        return [
            f"data.dir={idx_dir}",
            "data.check_md5=false",
            "trainer.accelerator=cpu",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            f"paths.cache={cache}",
            f"paths.logs={logs}",
            *more,
        ]

    return arguments


def only_metrics(logs: Path) -> dict:
    [file] = logs.glob("evaluate/runs/*/metrics.json")
    return json.loads(file.read_text())


def numbers_of_test(metrics: dict) -> dict:
    return {name: value for name, value in metrics.items() if name.startswith("test/")}


def test_the_checkpoint_alone_repeats_the_test_numbers(run, settings, trained, tmp_path):
    alone = tmp_path / "elsewhere" / "mine.ckpt"
    alone.parent.mkdir()
    shutil.copy(trained.best, alone)
    run("evaluate.py", *settings(tmp_path / "logs", f"ckpt_path={alone}")).succeeded()
    metrics = only_metrics(tmp_path / "logs")
    assert len(numbers_of_test(metrics)) == 13
    assert numbers_of_test(metrics) == numbers_of_test(trained.metrics)
    for name in ("weights/name", "weights/sha256", "versions/torch"):
        assert metrics[name] == trained.metrics[name]
    assert "seconds/evaluate" in metrics
    assert str(alone) in metrics["checkpoint"]


def test_the_newest_finished_run_is_evaluated_and_named(run, settings, trained, tmp_path):
    logs = tmp_path / "logs"
    shutil.copytree(trained.logs, logs)
    [folder] = (logs / "train" / "runs").iterdir()
    before = sorted(logs.glob("train/**/*"))
    out = run("evaluate.py", *settings(logs)).succeeded().out
    assert str(folder / "checkpoints" / "best.ckpt") in out
    assert numbers_of_test(only_metrics(logs)) == numbers_of_test(trained.metrics)
    assert sorted(logs.glob("train/**/*")) == before


def test_features_that_are_not_kept_give_the_same_accuracy(run, settings, trained, tmp_path):
    # Twice, for every evaluation has a folder of its own.
    for _ in range(2):
        arguments = settings(tmp_path, f"ckpt_path={trained.best}", "store=false")
        run("evaluate.py", *arguments).succeeded()
    first, second = (
        json.loads(f.read_text()) for f in tmp_path.glob("evaluate/runs/*/metrics.json")
    )
    assert numbers_of_test(first) == numbers_of_test(second)
    assert [path.name for path in tmp_path.iterdir()] == ["evaluate"]
    # Kept features are rounded to float16, which may move an image at a border.
    assert first["test/accuracy"] == pytest.approx(trained.metrics["test/accuracy"], abs=2 / 60)
    assert first["test/loss"] == pytest.approx(trained.metrics["test/loss"], abs=1e-2)


def test_ctrl_c_is_one_line(run, settings, trained, tmp_path, monkeypatch):
    def interrupting(self, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "test_step", interrupting)
    ended = run("evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}"))
    assert ended.status == 130
    [line] = ended.err.splitlines()
    assert line.startswith("interrupted")


def test_without_a_run_the_message_says_what_to_do(run, settings, tmp_path):
    assert "train.py" in run("evaluate.py", *settings(tmp_path)).mistake()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("ckpt_path=nowhere.ckpt", "nowhere.ckpt"),
        ("no_such_key=1", "no_such_key"),
        ("model.backbone.weights=nowhere.pth", "nowhere.pth"),
        ("data.batch_size=0", "data.batch_size"),
        ("trainer.accelerator=abacus", "abacus"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(run, settings, trained, tmp_path, override, named):
    arguments = settings(tmp_path, f"ckpt_path={trained.best}")
    if override.startswith("ckpt_path="):
        arguments.pop()
    assert named in run("evaluate.py", *arguments, override).mistake()
    assert not list(tmp_path.rglob("metrics.json"))


def test_other_weights_than_the_checkpoints_are_refused(run, settings, trained, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "other.pth")
    message = run(
        "evaluate.py",
        *settings(tmp_path, f"ckpt_path={trained.best}"),
        f"model.backbone.weights={tmp_path / 'other.pth'}",
    ).mistake()
    assert "another backbone" in message


def test_a_file_that_is_no_checkpoint_is_refused(run, settings, tmp_path):
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    message = run("evaluate.py", *settings(tmp_path, f"ckpt_path={tmp_path / 'notes.txt'}"))
    assert "notes.txt" in message.mistake()
