import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from outcomes import of_test, only_run, read_metrics
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fashion_transfer.commands import evaluate as command
from fashion_transfer.confidence import REASONS
from fashion_transfer.data import mnist
from fashion_transfer.models import Classifier
from fashion_transfer.synthetic import LAYOUTS, OUT_OF_DISTRIBUTION

THRESHOLD = "policy.threshold must be a number from 0 to 1, or auto, or from_checkpoint, got "

GROUPS = ("multi_item", "control", "out_of_distribution")
FIGURES = ("reliability", "risk_coverage", "confidence", "mistakes", *GROUPS)


@pytest.fixture(scope="module")
def settings(idx_dir, tmp_path_factory):
    """`settings(logs, *more)`: arguments of an evaluation over the generated files."""
    cache = tmp_path_factory.mktemp("features")

    def arguments(logs: Path, *more: str) -> list[str]:
        return [
            f"data.dir={idx_dir}",
            "data.check_md5=false",
            "data.batch_size=16",  # as in training
            "device=cpu",
            "model.backbone.precision=float32",
            "model.backbone.compile=false",
            f"paths.cache={cache}",
            f"paths.logs={logs}",
            "images_per_set=0",
            "mnist=null",  # whoever runs the tests may have the files
            *more,
        ]

    return arguments


@pytest.fixture(scope="module")
def reference(train, tmp_path_factory):
    """A run without synthetic images."""
    plain = ("data.synthetic=null", "trainer.max_epochs=1", "test=false")
    return train(tmp_path_factory.mktemp("reference"), *plain)


@pytest.fixture(scope="module")
def reported(run, settings, trained, reference, tmp_path_factory):
    """An evaluation with four images per set: its output, its folder, its metrics."""
    logs = tmp_path_factory.mktemp("reported")
    more = (f"ckpt_path={trained.best}", f"reference={reference.best}", "images_per_set=4")
    ended = run("evaluate.py", *settings(logs, *more)).succeeded()
    folder = only_run(logs, "evaluate")
    return ended, folder, read_metrics(folder)


def same_as_trained(trained):
    # Lightning logs in float32.
    return pytest.approx(of_test(trained.metrics), rel=1e-6, abs=1e-7)


# ---- test metrics


def test_evaluation_of_a_copied_checkpoint_repeats_the_test_metrics(
    run, settings, trained, tmp_path
):
    alone = tmp_path / "elsewhere" / "mine.ckpt"
    alone.parent.mkdir()
    shutil.copy(trained.best, alone)
    run("evaluate.py", *settings(tmp_path / "logs", f"ckpt_path={alone}")).succeeded()
    metrics = read_metrics(only_run(tmp_path / "logs", "evaluate"))
    assert len(of_test(metrics)) == 29
    assert of_test(metrics) == same_as_trained(trained)
    for name in ("weights/sha256", "backbone/precision", "backbone/compiled", "versions/torch"):
        assert metrics[name] == trained.metrics[name]
    assert "seconds/evaluate" in metrics
    assert metrics["checkpoint"] == str(alone)


def test_evaluation_takes_the_newest_finished_run_and_names_it(run, settings, trained, tmp_path):
    logs = tmp_path / "logs"
    shutil.copytree(trained.logs, logs)
    before = sorted(logs.glob("train/**/*"))
    out = run("evaluate.py", *settings(logs)).succeeded().out
    assert str(only_run(logs) / "checkpoints" / "best.ckpt") in out
    assert of_test(read_metrics(only_run(logs, "evaluate"))) == same_as_trained(trained)
    assert sorted(logs.glob("train/**/*")) == before


def test_evaluation_without_the_store_gives_the_same_accuracy(run, settings, trained, tmp_path):
    # Twice: every evaluation has a folder of its own.
    for _ in range(2):
        arguments = settings(tmp_path, f"ckpt_path={trained.best}", "store=false")
        run("evaluate.py", *arguments).succeeded()
    first, second = (
        json.loads(f.read_text()) for f in tmp_path.glob("evaluate/runs/*/metrics.json")
    )
    assert of_test(first) == of_test(second)
    assert [path.name for path in tmp_path.iterdir()] == ["evaluate"]
    # Cached features are rounded to float16, which may move an image across a border.
    assert first["test/accuracy"] == pytest.approx(trained.metrics["test/accuracy"], abs=2 / 60)
    assert first["test/loss"] == pytest.approx(trained.metrics["test/loss"], abs=1e-2)


@pytest.mark.slow
def test_each_image_goes_through_the_classifier_once(run, settings, trained, tmp_path, monkeypatch):
    images = []
    outputs = Classifier.outputs

    def counting(self, batch):
        images.append(len(batch))
        return outputs(self, batch)

    monkeypatch.setattr(Classifier, "outputs", counting)
    more = (f"ckpt_path={trained.best}", "images_per_set=1")
    run("evaluate.py", *settings(tmp_path, *more)).succeeded()
    assert sum(images) == 60 + 1 * (2 * len(LAYOUTS) + len(OUT_OF_DISTRIBUTION))


# ---- warnings


def test_report_has_a_metric_per_set_by_both_rules(reported):
    _, _, metrics = reported
    names = [f"{group}/{name}" for name in LAYOUTS for group in ("multi_item", "control")]
    names += [f"out_of_distribution/{name}" for name in OUT_OF_DISTRIBUTION]
    names += [
        f"{group}/{part}" for group in ("multi_item", "control") for part in ("trained", "held_out")
    ]
    names += ["control", "out_of_distribution", "test"]
    rates = [f"{name}/warned" for name in names]
    rates += ["multi_item/reason_multi_item", "multi_item/auroc", "control/accuracy", "test/ece"]
    for name in rates:
        assert 0 <= metrics[name] <= 1, name
        assert 0 <= metrics[f"reference/{name}"] <= 1, name
    assert -1 <= metrics["control/warned_over_single"] <= 1
    assert metrics["reference/multi_item/reason_multi_item"] == 0  # the rule has no such reason
    assert metrics["reference/test/threshold"] == 0.8
    assert metrics["reference/test/temperature"] == 1


def test_report_leaves_the_test_metrics_as_they_are(reported, trained):
    assert of_test(reported[2]) == same_as_trained(trained)


def test_report_writes_figures_a_table_and_tensorboard_events(reported):
    ended, folder, _ = reported
    for name in FIGURES:
        with Image.open(folder / f"{name}.png") as image:
            image.verify()
            assert image.format == "PNG"
        assert f"{name}.png" in ended.out
    assert f"written: {folder}/warnings.md" in ended.out
    board = EventAccumulator(str(folder / "tensorboard")).Reload()
    for name in FIGURES:
        [event] = board.Images(f"report/{name}")
        assert event.encoded_image_string == (folder / f"{name}.png").read_bytes()
    hidden = [path.name for path in folder.rglob(".*") if path.name != ".hydra"]
    assert hidden == []  # no temporary file


def test_table_of_warnings_has_a_row_per_set_and_both_rules(reported):
    _, folder, metrics = reported
    lines = (folder / "warnings.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["evaluation set", "images", "warned", *REASONS, "reference"]
    rows = {row[0]: row[1:] for row in cells[2:]}
    assert len(rows) == 1 + 2 * len(LAYOUTS) + len(OUT_OF_DISTRIBUTION)
    assert rows["test images"][0] == "60"
    for title, name in (
        ("multi-item composites: crossed", "multi_item/crossed"),
        ("controls: stacked", "control/stacked"),
        ("out-of-distribution: noise", "out_of_distribution/noise"),
    ):
        images, warned, *reasons, reference = rows[title]
        assert images == "4"
        assert float(warned) == pytest.approx(100 * metrics[f"{name}/warned"])
        assert float(warned) == pytest.approx(sum(map(float, reasons)))
        assert float(reference) == pytest.approx(100 * metrics[f"reference/{name}/warned"])


def test_table_of_warnings_has_the_sets_of_a_group_together(reported):
    _, folder, _ = reported
    titles = [line.split("|")[1].strip() for line in (folder / "warnings.md").open()][3:]
    groups = [title.partition(":")[0] for title in titles]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index)


def test_report_prints_each_rate_of_a_set_once(reported):
    out = reported[0].out
    assert "multi_item/trained/warned" in out
    assert "multi_item/crossed/warned" not in out
    assert "reference/control/crossed/warned" not in out


def test_ood_sets_have_a_table_of_their_own(reported):
    ended, folder, metrics = reported
    assert "FPR95" in ended.out
    assert "out_of_distribution/noise/auroc " not in ended.out
    lines = (folder / "out_of_distribution.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[0] for row in cells[2:]] == ["noise", "digits", "textures", "shuffled patches"]
    assert len(cells[0]) == 8  # with those of the reference rule
    assert cells[2][2] == f"{metrics['out_of_distribution/noise/auroc']:.4f}"


def test_mnist_is_evaluated_where_its_file_is_and_otherwise_named_once(
    run, settings, trained, tmp_path, write_idx, monkeypatch
):
    monkeypatch.setattr(command, "write_report", lambda *_: None)  # takes longer than all else
    few = (f"ckpt_path={trained.best}", "images_per_set=2")
    folder = tmp_path / "mnist"
    out = run("evaluate.py", *settings(tmp_path / "a", *few, f"mnist={folder}")).succeeded().out
    assert out.count(f"without MNIST, which is not in {folder}") == 1
    assert "out_of_distribution/mnist/auroc" not in read_metrics(
        only_run(tmp_path / "a", "evaluate")
    )
    folder.mkdir()
    digits = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    write_idx(folder / mnist.FILE, digits)
    message = run("evaluate.py", *settings(tmp_path / "b", *few, f"mnist={folder}")).mistake()
    assert "t10k-images-idx3-ubyte is not the official file" in message
    md5 = hashlib.md5((folder / mnist.FILE).read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(mnist, "MD5", md5)
    run("evaluate.py", *settings(tmp_path / "c", *few, f"mnist={folder}")).succeeded()
    metrics = read_metrics(only_run(tmp_path / "c", "evaluate"))
    assert 0 <= metrics["out_of_distribution/mnist/auroc"] <= 1
    assert {"warned", "fpr95", "auroc_by_confidence"} <= {
        name.rpartition("/")[2] for name in metrics if "mnist" in name
    }


def test_evaluation_without_a_reference_has_no_metrics_of_it(run, settings, trained, tmp_path):
    more = (f"ckpt_path={trained.best}", "images_per_set=1", "store=false")
    run("evaluate.py", *settings(tmp_path, *more)).succeeded()
    metrics = read_metrics(only_run(tmp_path, "evaluate"))
    assert "multi_item/crossed/warned" in metrics
    assert not any(name.startswith("reference/") for name in metrics)
    [table] = tmp_path.rglob("warnings.md")
    assert all(line.endswith("| – |") for line in table.read_text().splitlines()[2:])


def test_evaluation_of_the_test_images_alone_has_no_report(run, settings, trained, tmp_path):
    run("evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}")).succeeded()
    metrics = read_metrics(only_run(tmp_path, "evaluate"))
    assert not any(name.startswith(GROUPS) for name in metrics)
    assert not [*tmp_path.rglob("*.png"), *tmp_path.rglob("warnings.md")]
    assert not list(tmp_path.rglob("tensorboard"))


def test_warnings_follow_the_given_threshold(run, settings, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "write_report", lambda *_: None)  # takes longer than all else
    for threshold in (0, 1):
        logs = tmp_path / str(threshold)
        more = (f"ckpt_path={trained.best}", f"policy.threshold={threshold}", "images_per_set=1")
        run("evaluate.py", *settings(logs, *more)).succeeded()
        metrics = read_metrics(only_run(logs, "evaluate"))
        assert metrics["test/threshold"] == threshold
        rates = {value for name, value in metrics.items() if name.endswith("warned")}
        assert rates == {threshold}  # 0: no warning at all, 1: all images
        assert metrics["test/accuracy"] == pytest.approx(trained.metrics["test/accuracy"])


def test_automatic_threshold_warns_about_the_wanted_fraction(run, settings, trained, tmp_path):
    target = ("policy.threshold=auto", "policy.threshold_target.warned=0.2")
    run("evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}", *target)).succeeded()
    validation = torch.load(trained.best, weights_only=True)["classifier"]["validation"]
    threshold = read_metrics(only_run(tmp_path, "evaluate"))["test/threshold"]
    below = validation["confidence"] < threshold - 1e-6
    assert below.double().mean() == pytest.approx(0.2)


def test_ctrl_c_prints_one_line(run, settings, trained, tmp_path, monkeypatch):
    def interrupting(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "evaluate_set", interrupting)
    ended = run("evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}"))
    assert ended.status == 130
    assert ended.err == "interrupted\n"


# ---- mistakes


def test_evaluation_without_a_run_is_a_mistake_that_names_train(run, settings, tmp_path):
    assert "train.py" in run("evaluate.py", *settings(tmp_path)).mistake()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ckpt_path=nowhere.ckpt", "nowhere.ckpt: no such file"),
        ("reference=nowhere.ckpt", "nowhere.ckpt: no such file"),
        ("model.backbone.weights=nowhere.pth", "{best} was trained on the weights nowhere.pth"),
        ("model.backbone.precision=float8", "model.backbone.precision must be "),
        ("+model.backbone.pool=[layer4]", "there is no key model.backbone.pool"),
        ("+model.head=mlp", "there is no key model.head"),
        ("data.batch_size=0", "data.batch_size must be a whole number from 1, got 0"),
        ("data.image_size=64", "data.image_size must be from_checkpoint in an evaluation, got 64"),
        ("device=abacus", "device must be auto, cpu, cuda or mps, got 'abacus'"),
        ("device=cuda:99", "device=cuda:99 is not available on this machine"),
        ("images_per_set=-1", "images_per_set must be a whole number from 0 to 100000, got -1"),
        (
            "images_per_set=many",
            "images_per_set must be a whole number from 0 to 100000, got 'many'",
        ),
        (
            "images_per_set=100001",
            "images_per_set must be a whole number from 0 to 100000, got 100001",
        ),
        ("policy.threshold=1.5", THRESHOLD + "1.5"),
        ("policy.threshold=high", THRESHOLD + "'high'"),
        (
            "policy.threshold=auto policy.threshold_target.warned=many",
            "policy.threshold_target.warned must be a number from 0 to 1, or null, got 'many'",
        ),
        (
            "policy.threshold=auto policy.threshold_target.selective_accuracy=null",
            "policy.threshold_target.selective_accuracy must be a number from 0 to 1, got None",
        ),
        ("kinds=0", "kinds is now images_per_set"),
        ("trainer.accelerator=cpu", "trainer.accelerator is now device"),
        ("policy.auto.warned=0.1", "policy.auto.warned is now policy.threshold_target.warned"),
    ],
)
def test_mistake_is_one_line_with_its_key(run, settings, trained, tmp_path, override, message):
    arguments = settings(tmp_path, f"ckpt_path={trained.best}", *override.split(" "))
    mistake = run("evaluate.py", *arguments).mistake()
    assert mistake.startswith(message.format(best=trained.best))
    assert "train again" not in mistake  # the checkpoint is not what is wrong
    assert not list(tmp_path.rglob("metrics.json"))


def test_unknown_key_is_a_mistake_that_names_it(run, settings, trained, tmp_path):
    arguments = settings(tmp_path, f"ckpt_path={trained.best}", "no_such_key=1")
    assert "no_such_key" in run("evaluate.py", *arguments).mistake()


def test_reference_of_another_backbone_is_refused(run, settings, trained, train, tmp_path):
    given = ("model.backbone.pool=[layer4]", "data.synthetic=null", "test=false")
    other = train(tmp_path / "other", *given, "trainer.max_epochs=1", "store=false")
    more = (f"ckpt_path={trained.best}", f"reference={other.best}", "images_per_set=1")
    message = run("evaluate.py", *settings(tmp_path / "logs", *more)).mistake()
    assert str(other.best) in message
    assert "another backbone" in message


def test_reference_that_was_trained_on_composites_is_refused(run, settings, trained, tmp_path):
    more = (f"ckpt_path={trained.best}", f"reference={trained.best}")
    message = run("evaluate.py", *settings(tmp_path, *more)).mistake()
    assert "was trained on composites" in message
    assert "data.synthetic=null" in message


def test_data_set_with_other_classes_is_refused(run, settings, trained, tmp_path, monkeypatch):
    names = ("cup", "plate", "bowl")
    monkeypatch.setattr("fashion_transfer.data.fashion_mnist.CLASS_NAMES", names)
    message = run("evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}")).mistake()
    assert "data=fashion_mnist has 3 classes (cup, plate, bowl)" in message
    assert message.endswith("by data=NAME")


def test_other_weights_than_the_checkpoints_are_refused(run, settings, trained, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "other.pth")
    weights = f"model.backbone.weights={tmp_path / 'other.pth'}"
    message = run(
        "evaluate.py", *settings(tmp_path, f"ckpt_path={trained.best}", weights)
    ).mistake()
    assert "another backbone" in message
    assert message.endswith("(model.backbone.weights=PATH)")


def test_file_that_is_no_checkpoint_is_refused(run, settings, tmp_path):
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    message = run("evaluate.py", *settings(tmp_path, f"ckpt_path={tmp_path / 'notes.txt'}"))
    assert "notes.txt" in message.mistake()
