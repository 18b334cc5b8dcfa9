from pathlib import Path

import pytest
import torch
import torchvision
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fashion_transfer.confidence import fit_threshold
from fashion_transfer.data import Batch
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models import load_classifier, read_checkpoint
from fashion_transfer.models.checkpoint import FORMAT_VERSION

pytestmark = pytest.mark.usefixtures("backbones_drawn_once")

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory) -> Path:
    """A state dict of ResNet18 under another seed than `weights=None` stands for."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        network = torchvision.models.resnet18()
    path = tmp_path_factory.mktemp("weights") / "other.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def train_on(make_task, make_trainer, tmp_path_factory):
    """`train_on(backbone, **options)`: the checkpoint of a head on that backbone."""

    def checkpoint(backbone, **options) -> Path:
        folder = tmp_path_factory.mktemp("trained")
        task = make_task(backbone=backbone, standardise=False, **options)
        batch = Batch(features=torch.ones(2, backbone.feature_dim), labels=torch.tensor([0, 1]))
        trainer = make_trainer(folder, max_epochs=1, enable_checkpointing=True)
        trainer.fit(task, DataLoader([batch], batch_size=None))
        trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
        return folder / "best.ckpt"

    return checkpoint


# ---- what a checkpoint holds


def test_best_checkpoint_holds_what_was_trained_and_little_else(fitted):
    content = torch.load(fitted.best, weights_only=True)
    classifier = fitted.classifier
    trained = {**classifier.head.state_dict(prefix="classifier.head.")}
    trained |= classifier.standardise.state_dict(prefix="classifier.standardise.")
    trained |= classifier.calibrator.state_dict(prefix="classifier.calibrator.")
    assert content["state_dict"].keys() == trained.keys()
    assert "optimizer_states" not in content
    size = sum(tensor.nbytes for tensor in trained.values())
    assert fitted.best.stat().st_size < size + MEGABYTE


def test_last_checkpoint_holds_the_optimizer_and_no_backbone(fitted):
    content = torch.load(fitted.last, weights_only=True)
    assert not any("backbone" in name for name in content["state_dict"])
    [optimizer] = content["optimizer_states"]
    assert len(optimizer["state"]) == len(list(fitted.classifier.head.parameters()))
    assert content["epoch"] == 1


def test_saving_leaves_the_classifier_whole(fitted):
    assert any(name.startswith("backbone.") for name in fitted.classifier.state_dict())


def test_checkpoint_describes_its_classifier(fitted):
    content = read_checkpoint(fitted.best)
    assert content["format_version"] == FORMAT_VERSION == 2
    described = content["classifier"]
    backbone = described["backbone"]
    assert backbone["fingerprint"] == fitted.classifier.backbone.fingerprint
    assert backbone["name"] == "resnet18"
    assert described["class_names"] == list(CLASS_NAMES)
    assert described["head"] == {"name": "mlp", "hidden": 16}
    assert described["image_size"] == 32
    assert described["preparation"] == "fashion_mnist"
    assert described["preparation_version"] == fitted.classifier.preparation.version
    assert described["precision"] == "float32"
    assert described["compiled"] is False
    assert described["multi_item"] is False
    assert described["standardise"] is True
    assert described["threshold"] == 0.8
    assert described["second_opinion"] is False  # random weights have no ImageNet classifier
    validation = described["validation"]
    assert validation.keys() == {"confidence", "correct"}
    assert len(validation["confidence"]) == len(validation["correct"]) == 50


def test_checkpoint_has_the_validation_metrics_of_its_epoch(
    fitted, make_task, make_trainer, datamodule, tmp_path
):
    for path in (fitted.best, fitted.last):
        task = make_task(load_classifier(path, precision="float32"))
        [measured] = make_trainer(tmp_path).validate(
            task, datamodule=datamodule(val_per_class=5), verbose=False
        )
        metrics = read_checkpoint(path)["metrics"]
        assert metrics.keys() == {"val/loss", "val/accuracy", "val/macro_accuracy"}
        assert metrics == pytest.approx(measured, rel=1e-4)


# ---- loading


def test_loaded_classifier_predicts_as_the_one_that_was_saved(fitted, images):
    loaded = load_classifier(fitted.last, precision="float32")
    assert not loaded.training
    assert loaded.image_size == 32
    assert loaded.class_names == fitted.classifier.class_names
    with torch.no_grad():
        batch = Batch(images=images)
        expected, result = (c.outputs(batch) for c in (fitted.classifier, loaded))
    assert torch.equal(result[0], expected[0])
    assert torch.equal(result[1], expected[1])
    assert loaded.decide(*result) == fitted.classifier.decide(*expected)


def test_multi_item_classifier_is_restored(exposed, images):
    loaded = load_classifier(exposed.last, precision="float32")
    assert loaded.multi_item
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), exposed.classifier(images))


def test_calibrator_is_restored(exposed, state_of, same):
    loaded = load_classifier(exposed.last, precision="float32").calibrator
    calibrator = exposed.classifier.calibrator
    assert same(state_of(calibrator), loaded.state_dict())
    assert same(calibrator.validation, loaded.validation)


@pytest.mark.parametrize("name", ["fashion_mnist", "photo"])
def test_preparation_is_that_of_the_checkpoint(train_on, backbone, name):
    loaded = load_classifier(train_on(backbone, preparation=name))
    assert loaded.preparation.name == name


def test_another_version_of_the_preparation_is_reported(altered, caplog):
    load_classifier(altered(lambda content: None))
    assert "preparation" not in caplog.text
    load_classifier(altered(lambda c: c["classifier"].update(preparation_version=1)))
    assert "trained with version 1 of the preparation fashion_mnist" in caplog.text


@pytest.mark.parametrize("name", ["resnet18", "timm/efficientnet_lite0"])
def test_pooled_nodes_with_grids_are_restored(train_on, make_backbone, images, name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    pool = ["layer3@2", "layer4"] if name == "resnet18" else ["blocks.4@2", "pooled"]
    backbone = make_backbone(name=name, pool=pool)
    loaded = load_classifier(train_on(backbone), precision="float32")
    assert loaded.backbone.identity == backbone.identity
    assert torch.equal(loaded.backbone(images), backbone(images))


@pytest.mark.parametrize(
    "options",
    [
        {"pool": ["layer2", "layer4"]},
        {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
        {"mirror": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_of_the_backbone_are_restored(train_on, make_backbone, options):
    backbone = make_backbone(**options)
    assert load_classifier(train_on(backbone)).backbone.identity == backbone.identity


@pytest.mark.parametrize("options", [{"precision": "float8"}, {"compile": "sometimes"}])
def test_load_rejects_an_impossible_backbone_option_by_its_name(fitted, options):
    [name] = options
    with pytest.raises(ArgumentError, match=rf"^{name} must be "):
        load_classifier(fitted.best, **options)


def test_load_rejects_an_unknown_option(fitted):
    with pytest.raises(TypeError, match="prescision"):
        load_classifier(fitted.best, prescision="float32")


# ---- the threshold


@pytest.mark.parametrize("threshold", [0, 0.35, 1.0])
def test_load_takes_a_threshold_instead_of_the_checkpoints(exposed, threshold):
    assert load_classifier(exposed.last, threshold=threshold).threshold == threshold


@pytest.mark.parametrize("threshold", [1.5, -1, "high", None])
def test_load_rejects_an_impossible_threshold(fitted, threshold):
    with pytest.raises(ArgumentError, match="^threshold must be a number from 0 to 1"):
        load_classifier(fitted.best, threshold=threshold)


@pytest.mark.parametrize("target", [{"warned": 0.5}, {"selective_accuracy": 0.5}])
def test_load_fits_a_threshold_to_the_checkpoints_validation_images(exposed, target):
    expected = fit_threshold(**exposed.classifier.calibrator.validation, **target)
    loaded = load_classifier(exposed.last, threshold="auto", threshold_target=target)
    assert loaded.threshold == expected


@pytest.mark.parametrize(
    ("target", "name"),
    [({"coverage": 1}, "threshold_target"), ({"warned": 2}, "threshold_target.warned")],
)
def test_load_rejects_an_impossible_target(exposed, target, name):
    with pytest.raises(ArgumentError) as caught:
        load_classifier(exposed.last, threshold="auto", threshold_target=target)
    assert caught.value.name == name


def test_load_rejects_threshold_auto_without_validation(train_on, backbone):
    path = train_on(backbone)
    assert load_classifier(path).threshold == 0.8
    with pytest.raises(FashionTransferError, match="without validation, so threshold=auto"):
        load_classifier(path, threshold="auto")


def test_load_rejects_threshold_auto_of_too_few_validation_images(
    make_task, make_trainer, datamodule, tmp_path
):
    trainer, path = make_trainer(tmp_path, max_epochs=1), tmp_path / "few.ckpt"
    trainer.fit(make_task(), datamodule=datamodule(val_per_class=2))
    trainer.save_checkpoint(path)
    loaded = load_classifier(path, precision="float32")
    assert loaded.calibrator.num_images == 20
    assert loaded.calibrator.temperature == 1
    assert loaded.calibrator.ood_limit.isinf()
    with pytest.raises(FashionTransferError) as caught:
        load_classifier(path, threshold="auto")
    assert str(caught.value) == (
        f"{path} was trained with 20 validation images, under 50, so threshold=auto cannot be "
        "fitted: give a number, such as 0.8"
    )


def test_load_reads_a_checkpoint_without_the_number_of_validation_images(altered):
    path = altered(lambda content: content["classifier"].pop("validation_images"))
    assert load_classifier(path, threshold="auto", threshold_target={"warned": 0.5}).threshold < 1


# ---- weights


def test_weights_from_a_file_are_read_from_any_folder(
    train_on, make_backbone, weights_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(weights_file.parent)
    path = train_on(make_backbone(weights=weights_file.name))
    monkeypatch.chdir(tmp_path)
    assert load_classifier(path).backbone.weights_name == "other.pth"


def test_the_same_weights_under_another_name_will_do(
    train_on, make_backbone, weights_file, tmp_path
):
    path = train_on(make_backbone(weights=str(weights_file)))
    moved = tmp_path / "moved.pth"
    moved.write_bytes(weights_file.read_bytes())
    assert load_classifier(path, weights=str(moved)).backbone.weights_name == "moved.pth"


def test_missing_weights_are_named(train_on, make_backbone, weights_file, tmp_path):
    gone = tmp_path / "gone.pth"
    gone.write_bytes(weights_file.read_bytes())
    path = train_on(make_backbone(weights=str(gone)))
    gone.unlink()
    with pytest.raises(FashionTransferError, match="give them as backbone weights") as caught:
        load_classifier(path)
    assert str(gone) in str(caught.value)
    assert "SHA-256" in str(caught.value)


def test_load_rejects_other_weights(fitted, weights_file):
    with pytest.raises(FashionTransferError, match="another backbone") as caught:
        load_classifier(fitted.best, weights=str(weights_file))
    assert "fingerprint" in str(caught.value)


def test_load_rejects_weights_that_do_not_fit(fitted, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "stub.pth")
    with pytest.raises(FashionTransferError, match=r"stub\.pth"):
        load_classifier(fitted.best, weights=str(tmp_path / "stub.pth"))


# ---- resuming


@pytest.fixture
def resume(make_task, make_trainer, datamodule, tmp_path):
    """`resume(path, data={}, **task)`: the task, trained one epoch more than the checkpoint."""

    def run(path, data=None, **options):
        task = make_task(**({"head": {"name": "mlp", "hidden": 16}} | options))
        checkpoint = ModelCheckpoint(tmp_path, "last")
        trainer = make_trainer(
            tmp_path, max_epochs=3, callbacks=[checkpoint], enable_checkpointing=True
        )
        trainer.fit(task, datamodule=datamodule(**(data or {})), ckpt_path=path, weights_only=True)
        return task

    return run


def test_training_continues_where_it_stopped(fitted, resume, tmp_path):
    # The statistics come from the checkpoint, so they must not be computed again.
    saved = read_checkpoint(fitted.last)["state_dict"]["classifier.standardise.mean"]
    task = resume(fitted.last, data={"images_per_class": 4})
    assert torch.equal(task.classifier.standardise.mean, saved)
    assert read_checkpoint(tmp_path / "last.ckpt")["epoch"] == 2


def test_resuming_rejects_other_weights(fitted, resume, make_backbone, weights_file):
    with pytest.raises(FashionTransferError, match="another backbone"):
        resume(fitted.last, backbone=make_backbone(weights=str(weights_file)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": {"name": "mlp", "hidden": 8}}, "head .*, here it is "),
        ({"multi_item": True}, "multi_item False, here it is True"),
        ({"standardise": False}, "standardise True, here it is False"),
        ({"preparation": "photo"}, "preparation fashion_mnist, here it is photo"),
        ({"image_size": 64}, "image_size 32, here it is 64"),
        ({"class_names": list("abcdefghij")}, "class_names .*, here it is "),
    ],
)
def test_resuming_rejects_other_options(fitted, resume, options, message):
    with pytest.raises(FashionTransferError, match=f"was trained with {message}"):
        resume(fitted.last, **options)


def test_resuming_rejects_a_checkpoint_of_version_0_1_0(fitted, resume, tmp_path):
    content = torch.load(fitted.last, weights_only=True)
    del content["format_version"]
    torch.save(content, tmp_path / "old.ckpt")
    with pytest.raises(FashionTransferError, match=r"version 0\.1\.0.*train again"):
        resume(tmp_path / "old.ckpt")
