from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from fashion_transfer.data import Batch, FashionMNISTDataModule
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import EvaluationTask, Outputs, load_classifier, single_item_metrics
from fashion_transfer.synthetic import Exposure

NO_LEARNING = partial(torch.optim.SGD, lr=0.0)


def silent(task):
    """The task with a `log` that does nothing: there is no trainer to log to."""
    task.log = lambda *args, **kwargs: None
    return task


# ---- what is trained


def test_optimizer_has_the_parameters_of_the_head_alone(make_task):
    task = make_task()
    optimizer = task.configure_optimizers()
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert given == {id(p) for p in task.classifier.head.parameters()}


def test_training_changes_the_head_and_not_the_backbone(
    make_task, make_trainer, datamodule, tmp_path, state_of, same
):
    task = make_task()
    backbone, head = task.classifier.backbone, task.classifier.head
    frozen, before = state_of(backbone), state_of(head)
    make_trainer(tmp_path).fit(task, datamodule=datamodule())
    assert same(frozen, backbone.state_dict())
    assert not same(before, head.state_dict())
    assert all(p.grad is None for p in backbone.parameters())


# ---- the training step


def test_loss_has_label_smoothing(make_task, make_features):
    task = silent(make_task(standardise=False, label_smoothing=0.2))
    batch = make_features(range(6))
    logits = task.classifier.outputs(batch)[0]
    expected = F.cross_entropy(logits, batch.labels, label_smoothing=0.2)
    torch.testing.assert_close(task.training_step(batch, 0), expected)
    assert expected != F.cross_entropy(logits, batch.labels)


def test_loss_is_of_standardised_features(make_task, make_features):
    task = silent(make_task())
    batch = make_features(range(6))
    task.classifier.fit_standardise([batch])
    logits = task.classifier.head(task.classifier.standardise(batch.features))
    torch.testing.assert_close(task.training_step(batch, 0), F.cross_entropy(logits, batch.labels))


def test_mixup_mixes_features_and_labels_alike(make_task, make_features):
    task, batch = silent(make_task(standardise=False, mixup=0.7)), make_features(range(6))
    torch.manual_seed(3)
    loss = task.training_step(batch, 0)
    torch.manual_seed(3)
    share = torch.distributions.Beta(0.7, 0.7).sample((6, 1))
    share, order = torch.maximum(share, 1 - share), torch.randperm(6)
    features = share * batch.features + (1 - share) * batch.features[order]
    wanted = share * torch.eye(10)[:6] + (1 - share) * torch.eye(10)[:6][order]
    expected = F.cross_entropy(task.classifier.head(features), wanted)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"label_smoothing": -0.01}, "label_smoothing must be 0 to under 1, got -0.01"),
        ({"label_smoothing": 1.0}, "label_smoothing must be 0 to under 1, got 1.0"),
        ({"label_smoothing": float("nan")}, "label_smoothing must be 0 to under 1, got nan"),
        ({"label_smoothing": "some"}, "label_smoothing must be a number, got 'some'"),
        ({"mixup": -0.1}, "mixup must not be negative, got -0.1"),
        ({"mixup": float("nan")}, "mixup must not be negative, got nan"),
        ({"mixup": True}, "mixup must be a number, got True"),
        ({"trainable_stage_lr": -0.1}, "trainable_stage_lr must not be negative, got -0.1"),
        ({"trainable_stage_lr": "low"}, "trainable_stage_lr must be a number, got 'low'"),
        ({"threshold": -0.1}, "threshold must be a number from 0 to 1, got -0.1"),
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1, got 1.5"),
        ({"threshold": "high"}, "threshold must be a number from 0 to 1, got 'high'"),
        ({"threshold": None}, "threshold must be a number from 0 to 1, got None"),
        (
            {"threshold": "auto", "threshold_target": {"warned": 2}},
            "threshold_target.warned must be",
        ),
        (
            {"threshold": "auto", "threshold_target": {"coverage": 0.5}},
            "threshold_target has an unknown option",
        ),
    ],
)
def test_task_rejects_an_impossible_argument_at_once(make_task, overrides, message):
    with pytest.raises(ArgumentError) as caught:
        make_task(**overrides)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", [0, 0.0, 0.1, 0.999])
def test_label_smoothing_may_be_from_0_to_under_1(make_task, value):
    assert make_task(label_smoothing=value).label_smoothing == value


# ---- metrics of training


def test_training_loss_is_of_all_images_and_accuracy_of_those_of_one_item(
    make_task, make_trainer, make_features, tmp_path
):
    task = make_task(multi_item=True, standardise=False, optimizer=NO_LEARNING)
    whole = make_features([0, 10, 3, 10, 1, 10, 10])
    batches = [
        Batch(labels=whole.labels[rows], features=whole.features[rows])
        for rows in (slice(0, 4), slice(4, 6), slice(6, 7))  # the last: of composites alone
    ]
    trainer = make_trainer(tmp_path)
    trainer.fit(task, DataLoader(batches, batch_size=None))
    logits = task.classifier.outputs(whole)[0].detach()
    single = whole.labels < 10
    correct = (logits[:, :10].argmax(dim=1) == whole.labels)[single].float().mean()
    logged = trainer.callback_metrics
    assert float(logged["train/loss"]) == pytest.approx(
        float(F.cross_entropy(logits, whole.labels))
    )
    assert float(logged["train/accuracy"]) == pytest.approx(float(correct))


def test_an_epoch_of_composites_alone_has_accuracy_0(
    make_task, make_trainer, make_features, tmp_path
):
    task = make_task(multi_item=True, standardise=False)
    trainer = make_trainer(tmp_path)
    trainer.fit(task, DataLoader([make_features([10, 10])], batch_size=None))
    assert float(trainer.callback_metrics["train/accuracy"]) == 0


def test_a_diverged_training_shows_in_its_loss(make_task, make_trainer, make_features, tmp_path):
    task, good = make_task(standardise=False, optimizer=NO_LEARNING), make_features(range(4))
    bad = Batch(labels=good.labels, features=good.features * float("inf"))
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(task, DataLoader([good, bad, good], batch_size=None))
    assert trainer.callback_metrics["train/loss"].isnan()


def test_fitting_logs_loss_and_accuracy_of_both_sets(
    make_task, make_trainer, feature_loader, tmp_path
):
    trainer = make_trainer(tmp_path)
    trainer.fit(make_task(standardise=False), feature_loader(), feature_loader(40, 1))
    assert set(trainer.callback_metrics) == {
        "train/loss",
        "train/accuracy",
        "val/loss",
        "val/accuracy",
        "val/macro_accuracy",
    }


def test_validation_metrics_are_of_all_images_and_of_the_classes_alone(
    make_task, make_trainer, feature_loader, tmp_path, outputs_of
):
    task, loader = make_task(multi_item=True, standardise=False), feature_loader(70)
    with torch.no_grad():
        task.classifier.head[-1].bias[10] = 50  # every image shows several items
    [results] = make_trainer(tmp_path).validate(task, loader, verbose=False)
    logits, _, labels = outputs_of(task.classifier, loader)
    correct = logits[:, :10].argmax(dim=1) == labels
    per_class = [correct[labels == label].double().mean().item() for label in range(10)]
    assert results["val/accuracy"] == pytest.approx(correct.double().mean().item())
    assert results["val/macro_accuracy"] == pytest.approx(sum(per_class) / 10)
    assert results["val/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)


# ---- testing and predicting


@pytest.mark.parametrize("name", ["fitted", "exposed"])
def test_test_metrics_are_those_of_all_test_images(
    request, make_trainer, datamodule, tmp_path, outputs_of, name
):
    classifier = request.getfixturevalue(name).classifier
    data = datamodule()  # 60 images in batches of 16: the last one is smaller
    [results] = make_trainer(tmp_path).test(
        EvaluationTask(classifier), datamodule=data, verbose=False
    )
    outputs = outputs_of(classifier.eval(), data.test_dataloader())
    expected = single_item_metrics(
        Outputs(*outputs),
        classifier.class_names,
        classifier.calibrator,
        classifier.threshold,
    )
    expected = {f"test/{name}": value for name, value in expected.items()}
    assert results == pytest.approx(expected, abs=1e-5)
    assert results["test/threshold"] == pytest.approx(classifier.threshold)


def test_testing_twice_gives_the_same_numbers(fitted, make_trainer, datamodule, tmp_path):
    data, task, trainer = datamodule(), EvaluationTask(fitted.classifier), make_trainer(tmp_path)
    first = trainer.test(task, datamodule=data, verbose=False)
    assert trainer.test(task, datamodule=data, verbose=False) == first


def test_a_single_image_can_be_tested(make_task, make_trainer, make_features, tmp_path):
    task = make_task(standardise=False)
    loader = DataLoader([make_features([3])], batch_size=None)
    [results] = make_trainer(tmp_path).test(task, loader, verbose=False)
    assert results["test/accuracy"] in (0, 1)


def test_trainer_predicts_as_the_classifier_decides(
    fitted, make_trainer, datamodule, tmp_path, outputs_of
):
    data = datamodule()
    data.setup("test")
    loader = data.test_dataloader()
    batches = make_trainer(tmp_path).predict(EvaluationTask(fitted.classifier), loader)
    logits, ood_score, _ = outputs_of(fitted.classifier, loader)
    expected = fitted.classifier.decide(logits, ood_score)
    assert [p.label for batch in batches for p in batch] == [p.label for p in expected]
    assert [p.confidence for batch in batches for p in batch] == pytest.approx(
        [p.confidence for p in expected]
    )


def test_calling_a_task_gives_the_logits_of_its_classifier(make_task, images):
    task = make_task().eval()
    assert torch.equal(task(images), task.classifier(images))


# ---- standardising


@pytest.mark.parametrize(("views", "cached"), [(2, True), (None, True), (None, False)])
def test_statistics_are_those_of_the_clean_training_images_alone(
    make_task, make_trainer, datamodule, tmp_path, views, cached
):
    data = datamodule(views=views, synthetic=Exposure(composites=16, controls=16))
    task = make_task(multi_item=True)
    backbone, standardise = task.classifier.backbone, task.classifier.standardise
    if cached:
        data.extractor = Extractor(backbone, FeatureStore(tmp_path / "cache"))
    make_trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)

    plain = datamodule()  # no extractor: straight from the images
    plain.setup("fit")
    features = torch.cat([backbone(batch.images) for batch in plain.clean_dataloader()]).double()
    assert len(features) == 80
    # Cached features are rounded to float16.
    precision = {"rtol": 2e-3, "atol": 2e-3} if cached else {"rtol": 1e-4, "atol": 1e-5}
    std = features.std(dim=0, correction=0)
    varied = std > 1e-3  # so that rounding cannot change a deviation of next to nothing
    torch.testing.assert_close(standardise.mean.double(), features.mean(dim=0), **precision)
    torch.testing.assert_close(standardise.std.double()[varied], std[varied], **precision)


def test_standardising_without_a_datamodule_is_rejected_with_what_to_do(
    make_task, make_trainer, feature_loader, tmp_path
):
    with pytest.raises(FashionTransferError, match="standardise=False"):
        make_trainer(tmp_path).fit(make_task(), feature_loader())


def test_without_standardising_a_plain_dataloader_will_do(
    make_task, make_trainer, feature_loader, tmp_path, state_of, same
):
    task = make_task(standardise=False)
    before = state_of(task.classifier.head)
    make_trainer(tmp_path, max_epochs=1).fit(task, feature_loader())
    assert task.classifier.standardise is None
    assert not same(before, task.classifier.head.state_dict())


# ---- trainable stages


@pytest.fixture(scope="module")
def tuned(make_task, make_trainer, unfrozen, idx_dir, tmp_path_factory):
    """A classifier whose last stage was trained, and its checkpoint; do not change them."""
    folder = tmp_path_factory.mktemp("tuned")
    datamodule = FashionMNISTDataModule(
        str(idx_dir), images_per_class=4, val_per_class=4, image_size=32, check_md5=False
    )
    task = make_task(backbone=unfrozen, optimizer=partial(torch.optim.AdamW, lr=0.1))
    trainer = make_trainer(folder, max_epochs=1)
    trainer.fit(task, datamodule=datamodule)
    trainer.save_checkpoint(folder / "last.ckpt")
    return task.classifier.eval(), folder / "last.ckpt"


def test_training_changes_stage_and_head_and_not_the_backbone(
    make_backbone, make_classifier, unfrozen, tuned, state_of, same
):
    classifier, _ = tuned
    before = make_classifier(backbone=unfrozen)
    fresh = make_backbone(pool=unfrozen.pool, unfreeze="layer4")
    assert same(state_of(fresh), unfrozen.state_dict())
    stage = state_of(before.stages)
    assert not any(torch.equal(stage[k], v) for k, v in classifier.stages.state_dict().items())
    assert not same(state_of(before.head), classifier.head.state_dict())
    assert all(p.grad is None for p in unfrozen.parameters())


@pytest.mark.parametrize("unfreeze", ["layer4", "layer3", "layer1"])
def test_stages_are_trained_the_same_from_cached_maps_as_from_images(
    make_task, make_trainer, make_backbone, datamodule, tmp_path, unfreeze
):
    unfrozen = make_backbone(pool=["layer4"], unfreeze=unfreeze)
    changes = []
    for extractor in (None, Extractor(unfrozen, FeatureStore(tmp_path / "cache"))):
        task = make_task(
            backbone=unfrozen, optimizer=partial(torch.optim.SGD, lr=0.01), standardise=False
        )
        name = f"stages.network.{unfreeze}.1.conv2.weight"
        weight = task.classifier.stages.state_dict()[name]
        before = weight.clone()
        data = datamodule(extractor=extractor, images_per_class=4)
        make_trainer(tmp_path, max_epochs=1).fit(task, datamodule=data)
        batch = next(iter(data.train_dataloader()))
        assert (batch.images is None) == (extractor is not None)
        assert (batch.maps is None) == (extractor is None)
        changes.append((weight - before).flatten())
    assert torch.cosine_similarity(*changes, dim=0) > 0.99


def test_checkpoint_restores_the_stage(tuned, images, state_of, same):
    classifier, path = tuned
    loaded = load_classifier(path, precision="float32")
    assert same(state_of(classifier.stages), loaded.stages.state_dict())
    torch.testing.assert_close(loaded(images), classifier(images))
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert not any("backbone" in name for name in saved)


def test_a_trained_stage_is_not_put_on_a_frozen_backbone(
    make_task, make_backbone, make_trainer, datamodule, tmp_path, unfrozen, tuned
):
    frozen = make_task(backbone=make_backbone(pool=unfrozen.pool))
    with pytest.raises(FashionTransferError, match="unfreeze layer4, here None"):
        make_trainer(tmp_path).fit(
            frozen, datamodule=datamodule(), ckpt_path=tuned[1], weights_only=True
        )
