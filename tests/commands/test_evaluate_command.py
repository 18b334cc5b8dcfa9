import json
import shutil
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from fashion_transfer.data import LAYOUTS
from fashion_transfer.data.unfamiliar import UNFAMILIAR
from fashion_transfer.models import Classifier


@pytest.fixture(scope="module")
def settings(idx_dir, tmp_path_factory):
    """`settings(logs, *more)`: arguments of an evaluation over the generated files."""
    cache = tmp_path_factory.mktemp("features")

    def arguments(logs: Path, *more: str) -> list[str]:
        return [
            f"data.dir={idx_dir}",
            "data.check_md5=false",
            "data.batch_size=16",  # as in training: the last bits of a mean depend on it
            "trainer.accelerator=cpu",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            f"paths.cache={cache}",
            f"paths.logs={logs}",
            "kinds=0",
            *more,
        ]

    return arguments


def only_metrics(logs: Path) -> dict:
    [file] = logs.glob("evaluate/runs/*/metrics.json")
    return json.loads(file.read_text())


@pytest.fixture(scope="module")
def reference(train, tmp_path_factory):
    """A plain run, which has seen no composite."""
    plain = ("data.composites=0", "data.controls=0", "trainer.max_epochs=1", "test=false")
    return train(tmp_path_factory.mktemp("reference"), *plain)


@pytest.fixture(scope="module")
def reported(run, settings, trained, reference, tmp_path_factory):
    """An evaluation with four images of every kind: what it printed, its folder, its metrics."""
    logs = tmp_path_factory.mktemp("reported")
    more = (f"ckpt_path={trained.best}", f"reference={reference.best}", "kinds=4")
    ended = run("evaluate.py", *settings(logs, *more)).succeeded()
    [folder] = (logs / "evaluate" / "runs").iterdir()
    return ended, folder, only_metrics(logs)


def numbers_of_test(metrics: dict) -> dict:
    return {name: value for name, value in metrics.items() if name.startswith("test/")}


def test_the_checkpoint_alone_repeats_the_test_numbers(run, settings, trained, tmp_path):
    alone = tmp_path / "elsewhere" / "mine.ckpt"
    alone.parent.mkdir()
    shutil.copy(trained.best, alone)
    run("evaluate.py", *settings(tmp_path / "logs", f"ckpt_path={alone}")).succeeded()
    metrics = only_metrics(tmp_path / "logs")
    assert len(numbers_of_test(metrics)) == 26
    assert numbers_of_test(metrics) == numbers_of_test(trained.metrics)
    for name in ("weights/sha256", "backbone/precision", "backbone/compiled", "versions/torch"):
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


# ---- the report


def test_the_report_has_a_number_for_every_kind_of_image_by_both_rules(reported):
    _, _, metrics = reported
    names = [f"{kind}/{name}" for name in LAYOUTS for kind in ("multi", "control")]
    names += [f"unfamiliar/{name}" for name in UNFAMILIAR]
    names += [f"{kind}/{part}" for kind in ("multi", "control") for part in ("trained", "held_out")]
    names += ["control", "unfamiliar", "single"]
    told = [f"{name}/warned" for name in names]
    told += ["multi/several_items", "multi/auroc", "control/accuracy", "single/ece"]
    for name in told:
        assert 0 <= metrics[name] <= 1, name
        assert 0 <= metrics[f"reference/{name}"] <= 1, name
    assert -1 <= metrics["control/warned_over_single"] <= 1
    assert metrics["single/warned"] == pytest.approx(metrics["test/warned"])
    assert metrics["single/ece"] == pytest.approx(metrics["test/ece"], abs=1e-6)
    assert metrics["reference/multi/several_items"] == 0  # it knows no such reason


def test_the_report_leaves_the_test_numbers_as_they_are(reported, trained):
    assert numbers_of_test(reported[2]) == pytest.approx(
        numbers_of_test(trained.metrics), nan_ok=True
    )


def test_the_report_leaves_figures_a_table_and_tensorboard_events(reported):
    ended, folder, _ = reported
    for name in ("reliability", "risk_coverage", "confidence", "mistakes", "kinds"):
        with Image.open(folder / f"{name}.png") as image:
            image.verify()
            assert image.format == "PNG"
        assert f"{name}.png" in ended.out
    assert f"written: {folder}/warnings.md" in ended.out
    [events] = (folder / "tensorboard").glob("events.out.tfevents.*")
    assert b"report/reliability" in events.read_bytes()
    hidden = [path.name for path in folder.rglob(".*") if path.name != ".hydra"]
    assert hidden == []  # nothing that is half written


def test_the_table_of_warnings_has_a_row_a_kind_and_both_rules(reported):
    _, folder, metrics = reported
    lines = (folder / "warnings.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == [
        *("kind", "images", "warned", "several items", "ambiguous", "unfamiliar", "reference")
    ]
    rows = {row[0]: row[1:] for row in cells[2:]}
    assert len(rows) == 1 + 2 * len(LAYOUTS) + len(UNFAMILIAR)
    assert rows["single test images"][0] == "60"
    for name in ("multi/crossed", "control/stacked", "unfamiliar/noise"):
        images, warned, *reasons, reference = rows[name]
        assert images == "4"
        assert float(warned) == pytest.approx(100 * metrics[f"{name}/warned"])
        assert float(warned) == pytest.approx(sum(map(float, reasons)))
        assert float(reference) == pytest.approx(100 * metrics[f"reference/{name}/warned"])


def test_without_a_reference_its_numbers_are_left_out(run, settings, trained, tmp_path):
    arguments = settings(tmp_path, f"ckpt_path={trained.best}", "kinds=2", "store=false")
    run("evaluate.py", *arguments).succeeded()
    metrics = only_metrics(tmp_path)
    assert "multi/crossed/warned" in metrics
    assert not any(name.startswith("reference/") for name in metrics)
    [table] = tmp_path.rglob("warnings.md")
    assert all(line.endswith("| – |") for line in table.read_text().splitlines()[2:])


def test_no_kinds_leave_no_report(run, settings, trained, tmp_path):
    run("evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}", "kinds=0")).succeeded()
    metrics = only_metrics(tmp_path)
    assert not any(name.startswith(("multi/", "control/", "unfamiliar/")) for name in metrics)
    assert not [*tmp_path.rglob("*.png"), *tmp_path.rglob("warnings.md")]
    assert not list(tmp_path.rglob("tensorboard"))


def test_a_reference_of_another_backbone_is_refused(run, settings, trained, train, tmp_path):
    given = ("model.backbone.pool=[layer4]", "data.composites=0", "data.controls=0", "test=false")
    other = train(tmp_path / "other", *given, "trainer.max_epochs=1", "store=false")
    more = (f"ckpt_path={trained.best}", f"reference={other.best}", "kinds=1")
    message = run("evaluate.py", *settings(tmp_path / "logs", *more)).mistake()
    assert str(other.best) in message
    assert "another backbone" in message
    assert not list((tmp_path / "logs").rglob("metrics.json"))


def test_warnings_follow_the_threshold_that_is_given(run, settings, trained, tmp_path):
    for threshold, warned in ((0, 0), (1, 1)):
        logs = tmp_path / str(threshold)
        more = (f"ckpt_path={trained.best}", f"policy.threshold={threshold}", "kinds=1")
        run("evaluate.py", *settings(logs, *more)).succeeded()
        metrics = only_metrics(logs)
        assert metrics["test/threshold"] == threshold
        told = {value for name, value in metrics.items() if name.endswith("warned")}
        assert told == {warned}
        assert metrics["test/accuracy"] == trained.metrics["test/accuracy"]


def test_an_automatic_threshold_warns_of_the_fraction_asked_for(run, settings, trained, tmp_path):
    more = (f"ckpt_path={trained.best}", "policy.threshold=auto", "policy.auto.warned=0.25")
    run("evaluate.py", *settings(tmp_path, *more)).succeeded()
    kept = torch.load(trained.best, weights_only=True)["classifier"]["validation"]
    found = only_metrics(tmp_path)["test/threshold"]
    assert (kept["confidence"] < found - 1e-6).double().mean() == pytest.approx(0.25)


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


@pytest.mark.parametrize("auto", ["warned=many", "warned=2", "selective_accuracy=null"])
def test_an_impossible_wish_for_a_threshold_is_one_line(run, settings, trained, tmp_path, auto):
    more = (f"ckpt_path={trained.best}", "policy.threshold=auto", f"policy.auto.{auto}")
    assert "threshold=auto" in run("evaluate.py", *settings(tmp_path, *more)).mistake()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("ckpt_path=nowhere.ckpt", "nowhere.ckpt"),
        ("no_such_key=1", "no_such_key"),
        ("model.backbone.weights=nowhere.pth", "nowhere.pth"),
        ("data.batch_size=0", "data.batch_size"),
        ("trainer.accelerator=abacus", "abacus"),
        ("kinds=-1", "kinds"),
        ("kinds=many", "kinds"),
        ("kinds=100001", "100001"),
        ("policy.threshold=1.5", "policy.threshold"),
        ("policy.threshold=high", "policy.threshold"),
        ("reference=nowhere.ckpt", "nowhere.ckpt"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(run, settings, trained, tmp_path, override, named):
    arguments = settings(tmp_path, f"ckpt_path={trained.best}")
    if override.startswith("ckpt_path="):
        arguments.pop()
    if override.startswith("reference="):
        arguments.append("kinds=1")
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
