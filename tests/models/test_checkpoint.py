import os
import pickle
from pathlib import Path

import pytest
import torch
import torchvision
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import load_classifier, read_checkpoint

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


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
def learn(make_classifier, make_trainer, tmp_path_factory):
    """`learn(backbone)`: the checkpoint of a head on that backbone, by way of the Trainer."""

    def checkpoint(backbone) -> Path:
        folder = tmp_path_factory.mktemp("learned")
        classifier = make_classifier(backbone=backbone, standardise=False)
        batch = {"features": torch.ones(2, backbone.feature_dim), "labels": torch.tensor([0, 1])}
        trainer = make_trainer(folder, max_epochs=1, enable_checkpointing=True)
        trainer.fit(classifier, train_dataloaders=DataLoader([batch], batch_size=None))
        trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
        return folder / "best.ckpt"

    return checkpoint


@pytest.fixture
def altered(fitted, tmp_path):
    """`altered(change)`: the path of a checkpoint after `change(its content)`."""

    def save(change) -> Path:
        content = torch.load(fitted.best, weights_only=True)
        change(content)
        path = tmp_path / "altered.ckpt"
        torch.save(content, path)
        return path

    return save


@pytest.fixture
def ready_backbone(backbone, monkeypatch):
    """Saves building one where a checkpoint is refused for something else."""
    monkeypatch.setattr("fashion_transfer.models.checkpoint.Backbone", lambda **_: backbone)


# ---- what a checkpoint holds


def test_the_best_checkpoint_holds_what_was_learned_and_little_else(fitted):
    content = torch.load(fitted.best, weights_only=True)
    learned = {**fitted.classifier.head.state_dict(prefix="head.")}
    learned |= fitted.classifier.standardise.state_dict(prefix="standardise.")
    learned |= fitted.classifier.calibrator.state_dict(prefix="calibrator.")
    assert content["state_dict"].keys() == learned.keys()
    assert "optimizer_states" not in content
    size = sum(tensor.nbytes for tensor in learned.values())
    assert fitted.best.stat().st_size < size + MEGABYTE


def test_the_last_checkpoint_holds_the_optimizer_and_no_backbone(fitted):
    content = torch.load(fitted.last, weights_only=True)
    assert not any(name.startswith("backbone") for name in content["state_dict"])
    [optimizer] = content["optimizer_states"]
    assert len(optimizer["state"]) == len(list(fitted.classifier.head.parameters()))
    assert content["epoch"] == 1


def test_saving_leaves_the_classifier_whole(fitted):
    assert any(name.startswith("backbone.") for name in fitted.classifier.state_dict())


def test_a_checkpoint_says_what_it_was_learned_on(fitted):
    told = read_checkpoint(fitted.best)["classifier"]
    assert told["backbone"]["fingerprint"] == fitted.classifier.backbone.fingerprint
    assert told["head"] == {"name": "mlp", "hidden": 16}
    assert told["image_size"] == 32
    assert len(told["classes"]) == 10
    assert told["precision"] == "float32"
    assert told["compiled"] is False
    assert told["several"] is False
    assert told["threshold"] == 0.8
    assert told["validation"].keys() == {"confidence", "right"}
    assert len(told["validation"]["confidence"]) == len(told["validation"]["right"]) == 40


def test_a_checkpoint_keeps_the_validation_metrics_of_its_epoch(
    fitted, make_trainer, datamodule, tmp_path
):
    for path in (fitted.best, fitted.last):
        classifier = load_classifier(path, precision="float32")
        trainer = make_trainer(tmp_path)
        [measured] = trainer.validate(classifier, datamodule=datamodule(), verbose=False)
        kept = read_checkpoint(path)["metrics"]
        assert kept.keys() == {"val/loss", "val/accuracy", "val/macro_accuracy"}
        assert kept == pytest.approx(measured, rel=1e-4)


# ---- loading


@pytest.mark.parametrize("name", ["resnet18", "timm/efficientnet_lite0"])
def test_a_pool_with_grids_is_that_of_the_checkpoint(learn, make_backbone, images, name):
    if name.startswith("timm/"):
        pytest.importorskip("timm")
    pool = ["layer3@2", "layer4"] if name == "resnet18" else ["blocks.4@2", "pooled"]
    backbone = make_backbone(name=name, pool=pool)
    loaded = load_classifier(learn(backbone), precision="float32")
    assert loaded.backbone.identity == backbone.identity
    assert torch.equal(loaded.backbone(images), backbone(images))


def test_a_loaded_classifier_answers_as_the_one_that_was_saved(fitted, images):
    loaded = load_classifier(fitted.last, precision="float32")
    assert not loaded.training
    assert loaded.image_size == 32
    assert loaded.classes == fitted.classifier.classes
    with torch.no_grad():
        assert torch.equal(loaded(images), fitted.classifier(images))


def test_loading_takes_the_threshold_it_is_given(fitted, images):
    sure = load_classifier(fitted.best, threshold=0.0).predict_step({"images": images}, 0)
    doubting = load_classifier(fitted.best, threshold=1.0).predict_step({"images": images}, 0)
    assert not any(prediction.warning for prediction in sure)
    assert all(prediction.warning for prediction in doubting)


@pytest.mark.usefixtures("ready_backbone")
def test_a_threshold_out_of_range_is_refused(fitted):
    with pytest.raises(FashionTransferError, match="threshold"):
        load_classifier(fitted.best, threshold=1.5)


def test_pooled_stages_and_preprocessing_travel_with_the_checkpoint(learn, make_backbone):
    backbone = make_backbone(pool=["layer2", "layer4"], mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4])
    loaded = load_classifier(learn(backbone)).backbone
    assert loaded.identity == backbone.identity


def test_weights_from_a_file_are_found_from_any_folder(
    learn, make_backbone, weights_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(weights_file.parent)
    path = learn(make_backbone(weights=weights_file.name))
    monkeypatch.chdir(tmp_path)
    assert load_classifier(path).backbone.weights_name == "other.pth"


def test_the_same_weights_under_another_name_will_do(learn, make_backbone, weights_file, tmp_path):
    path = learn(make_backbone(weights=str(weights_file)))
    moved = tmp_path / "moved.pth"
    moved.write_bytes(weights_file.read_bytes())
    assert load_classifier(path, weights=str(moved)).backbone.weights_name == "moved.pth"


def test_missing_weights_are_asked_for_by_the_setting_that_names_them(
    learn, make_backbone, weights_file, tmp_path
):
    gone = tmp_path / "gone.pth"
    gone.write_bytes(weights_file.read_bytes())
    path = learn(make_backbone(weights=str(gone)))
    gone.unlink()
    with pytest.raises(FashionTransferError, match=r"model\.backbone\.weights=PATH") as caught:
        load_classifier(path)
    assert str(gone) in str(caught.value)


def test_other_weights_are_refused(fitted, weights_file):
    with pytest.raises(FashionTransferError, match="another backbone") as caught:
        load_classifier(fitted.best, weights=str(weights_file))
    assert "fingerprint" in str(caught.value)


def test_weights_that_do_not_fit_are_refused(fitted, tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "stub.pth")
    with pytest.raises(FashionTransferError, match=r"stub\.pth"):
        load_classifier(fitted.best, weights=str(tmp_path / "stub.pth"))


def test_training_does_not_go_on_with_other_weights(
    fitted, make_classifier, make_backbone, make_trainer, datamodule, weights_file, tmp_path
):
    classifier = make_classifier(
        backbone=make_backbone(weights=str(weights_file)), head={"name": "mlp", "hidden": 16}
    )
    trainer = make_trainer(tmp_path, max_epochs=3)
    with pytest.raises(FashionTransferError, match="another backbone"):
        trainer.fit(classifier, datamodule=datamodule(), ckpt_path=fitted.last, weights_only=True)


def test_training_goes_on_where_it_stopped(
    fitted, make_classifier, make_trainer, datamodule, tmp_path
):
    # The statistics come from the checkpoint, so they must not be taken again.
    classifier = make_classifier(head={"name": "mlp", "hidden": 16})
    saved = read_checkpoint(fitted.last)["state_dict"]["standardise.mean"]
    checkpoint = ModelCheckpoint(tmp_path, "last")
    trainer = make_trainer(
        tmp_path, max_epochs=3, callbacks=[checkpoint], enable_checkpointing=True
    )
    trainer.fit(
        classifier,
        datamodule=datamodule(images_per_class=4),
        ckpt_path=fitted.last,
        weights_only=True,
    )
    assert torch.equal(classifier.standardise.mean, saved)
    assert read_checkpoint(tmp_path / "last.ckpt")["epoch"] == 2


# ---- a stranger's checkpoint


class Stranger:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize(
    "save", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))]
)
def test_code_in_a_checkpoint_is_refused_and_not_run(fitted, tmp_path, save):
    trace, path = tmp_path / "trace", tmp_path / "stranger.ckpt"
    content = torch.load(fitted.best, weights_only=True)
    save(content | {"callbacks": {"x": Stranger(trace)}}, path)
    for read in (read_checkpoint, load_classifier):
        with pytest.raises(FashionTransferError, match=r"stranger\.ckpt"):
            read(path)
    assert not trace.exists()


@pytest.mark.usefixtures("ready_backbone")
def test_a_target_in_the_head_builds_nothing(altered, tmp_path):
    trace = tmp_path / "trace"
    head = {"_target_": "os.mkdir", "_args_": [str(trace)]}
    for name in ({}, {"name": "linear"}, {"name": "mlp"}):
        path = altered(lambda content, name=name: content["classifier"].update(head=head | name))
        with pytest.raises(FashionTransferError):
            load_classifier(path)
    assert not trace.exists()


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize("name", ["torch.nn.Linear", "os.system", ["linear"], None, 3])
def test_an_unknown_head_is_not_built(altered, name):
    path = altered(lambda content: content["classifier"]["head"].update(name=name))
    with pytest.raises(FashionTransferError):
        load_classifier(path)


def test_an_unknown_backbone_is_not_built(altered):
    path = altered(lambda content: content["classifier"]["backbone"].update(name="os.system"))
    with pytest.raises(FashionTransferError, match=r"model\.backbone\.name"):
        load_classifier(path)


def test_a_checkpoint_does_not_replace_the_frozen_backbone(altered, backbone):
    # Its weights are those of the fingerprint; tensors in the file must not pass for them.
    name = next(iter(backbone.state_dict()))
    zeros = torch.zeros_like(backbone.state_dict()[name])
    path = altered(lambda content: content["state_dict"].update({f"backbone.{name}": zeros}))
    try:
        loaded = load_classifier(path, precision="float32")
    except FashionTransferError:
        return
    assert torch.equal(loaded.backbone.state_dict()[name], backbone.state_dict()[name])


# ---- damaged


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04 but no zip file", b"\x80\x04."]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "broken.ckpt"
    path.write_bytes(content)
    with pytest.raises(FashionTransferError, match=r"broken\.ckpt"):
        load_classifier(path)


def test_a_truncated_checkpoint_is_refused(fitted, tmp_path):
    path = tmp_path / "short.ckpt"
    path.write_bytes(fitted.best.read_bytes()[:-1000])
    with pytest.raises(FashionTransferError, match=r"short\.ckpt"):
        load_classifier(path)


@pytest.mark.parametrize("name", ["nowhere.ckpt", "."])
def test_a_missing_checkpoint_or_a_folder_is_refused(tmp_path, name):
    with pytest.raises(FashionTransferError, match="no such file"):
        load_classifier(tmp_path / name)


def test_plain_weights_are_not_a_checkpoint(weights_file):
    with pytest.raises(FashionTransferError, match="not a checkpoint of this project"):
        load_classifier(weights_file)


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize(
    "key",
    [
        "backbone",
        "classes",
        "head",
        "several",
        "threshold",
        "validation",
        "standardise",
        "image_size",
    ],
)
def test_a_checkpoint_without_part_of_its_description_is_refused(altered, key):
    path = altered(lambda content: content["classifier"].pop(key))
    with pytest.raises(FashionTransferError, match=r"altered\.ckpt.*(damaged|another version)"):
        load_classifier(path)


@pytest.mark.parametrize("key", ["name", "weights", "fingerprint", "pool", "mean", "std", "source"])
def test_a_checkpoint_without_part_of_its_backbone_is_refused(altered, key):
    path = altered(lambda content: content["classifier"]["backbone"].pop(key))
    if key == "weights":  # a name alone; the fingerprint is what counts
        assert load_classifier(path)
        return
    with pytest.raises(FashionTransferError):
        load_classifier(path)


@pytest.mark.usefixtures("ready_backbone")
@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", 3), ("classes", []), ("head", "linear"), ("head", None), ("backbone", [])],
)
def test_a_description_of_the_wrong_kind_is_refused(altered, key, value):
    path = altered(lambda content: content["classifier"].update({key: value}))
    with pytest.raises(FashionTransferError):
        load_classifier(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("name", 5), ("pool", 4), ("pool", ["layer9"]), ("mean", ["a"] * 3), ("std", "abc")],
)
def test_a_backbone_of_the_wrong_kind_is_refused(altered, key, value):
    path = altered(lambda content: content["classifier"]["backbone"].update({key: value}))
    with pytest.raises(FashionTransferError):
        load_classifier(path)


@pytest.mark.usefixtures("ready_backbone")
def test_tensors_that_do_not_fit_the_head_are_refused(altered):
    path = altered(lambda content: content["state_dict"].update({"head.0.weight": torch.ones(2)}))
    with pytest.raises(FashionTransferError, match=r"altered\.ckpt"):
        load_classifier(path)


@pytest.mark.usefixtures("ready_backbone")
def test_a_missing_tensor_is_noticed(altered):
    path = altered(lambda content: content["state_dict"].pop("standardise.mean"))
    with pytest.raises(FashionTransferError, match=r"altered\.ckpt"):
        load_classifier(path)
