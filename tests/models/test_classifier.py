from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from fashion_transfer.confidence import Prediction, ThresholdPolicy
from fashion_transfer.data import CLASSES
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import slug

SLUGS = (
    "t_shirt_top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle_boot",
)


@pytest.fixture
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def head_of(classifier) -> dict[str, torch.Tensor]:
    return {name: part.clone() for name, part in classifier.head.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def one_batch(batch) -> DataLoader:
    return DataLoader([batch], batch_size=None)


def all_batches(datamodule, loader) -> list[dict[str, torch.Tensor]]:
    return [datamodule.on_after_batch_transfer(batch, 0) for batch in loader]


# ---- forward


@pytest.mark.parametrize("standardise", [True, False])
def test_features_and_images_give_the_same_logits(make_classifier, images, standardise):
    classifier = make_classifier(standardise=standardise).eval()
    if standardise:
        classifier.standardise.fit(classifier.backbone(images))
    features = classifier.backbone(images)
    assert torch.equal(
        classifier.logits({"features": features}), classifier.logits({"images": images})
    )


def test_calling_the_classifier_gives_logits_for_images(make_classifier, images):
    classifier = make_classifier().eval()
    logits = classifier(images)
    assert logits.shape == (5, 10)
    assert torch.equal(logits, classifier.logits({"images": images}))


def test_grey_images_stand_for_three_equal_channels(make_classifier, images):
    classifier, grey = make_classifier().eval(), images[:, :1]
    torch.testing.assert_close(classifier(grey), classifier(grey.expand(-1, 3, -1, -1)))


def test_predict_step_gives_one_prediction_an_image(make_classifier, images):
    policy = ThresholdPolicy(CLASSES, threshold=1.0)
    classifier = make_classifier(policy=policy).eval()
    found = classifier.predict_step({"images": images}, 0)
    probabilities = classifier(images).softmax(dim=1)
    assert all(isinstance(prediction, Prediction) for prediction in found)
    assert [p.label for p in found] == [CLASSES[i] for i in probabilities.argmax(dim=1)]
    assert [p.confidence for p in found] == pytest.approx(probabilities.amax(dim=1).tolist())
    assert all(prediction.warning for prediction in found)


def test_predictions_follow_the_policys_threshold(make_classifier, images):
    policy = ThresholdPolicy(CLASSES, threshold=0.0)
    found = make_classifier(policy=policy).eval().predict_step({"images": images}, 0)
    assert not any(prediction.warning for prediction in found)


# ---- what learns


def test_only_the_heads_parameters_are_in_the_optimizer(make_classifier):
    classifier = make_classifier(standardise=True)
    optimizer = classifier.configure_optimizers()
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert given == {id(p) for p in classifier.head.parameters()}
    learning = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert learning == {f"head.{name}" for name, _ in classifier.head.named_parameters()}


def test_training_mode_reaches_the_head_and_not_the_backbone(make_classifier, images):
    classifier = make_classifier().eval()
    features = classifier.backbone(images)
    classifier.train()
    assert classifier.head.training
    assert not classifier.backbone.training
    assert torch.equal(classifier.backbone(images), features)


def test_training_changes_the_head_and_not_the_backbone(
    make_classifier, make_trainer, datamodule, tmp_path
):
    classifier = make_classifier()
    frozen = {k: v.clone() for k, v in classifier.backbone.state_dict().items()}
    head = head_of(classifier)
    make_trainer(tmp_path).fit(classifier, datamodule=datamodule())
    assert same(frozen, classifier.backbone.state_dict())
    assert not same(head, head_of(classifier))
    assert all(p.grad is None for p in classifier.backbone.parameters())


def test_a_training_step_counts_the_loss_with_label_smoothing(make_classifier):
    classifier = make_classifier(standardise=False, label_smoothing=0.2).eval()
    generator = torch.Generator().manual_seed(0)
    batch = {
        "features": torch.rand(6, classifier.backbone.feature_dim, generator=generator),
        "labels": torch.arange(6),
    }
    classifier.log = lambda *args, **kwargs: None  # there is no trainer to log to
    expected = F.cross_entropy(classifier.logits(batch), batch["labels"], label_smoothing=0.2)
    torch.testing.assert_close(classifier.training_step(batch, 0), expected)
    assert expected != F.cross_entropy(classifier.logits(batch), batch["labels"])


@pytest.mark.parametrize("value", [0.0, 0.1, 0.999])
def test_label_smoothing_may_be_from_0_to_under_1(make_classifier, value):
    assert make_classifier(label_smoothing=value).label_smoothing == value


@pytest.mark.parametrize("value", [-0.01, 1.0, 2, float("nan")])
def test_label_smoothing_out_of_range_is_refused(make_classifier, value):
    with pytest.raises(FashionTransferError, match=r"model\.label_smoothing"):
        make_classifier(label_smoothing=value)


def test_an_unknown_head_is_refused(make_classifier):
    with pytest.raises(FashionTransferError, match=r"model\.head\.name"):
        make_classifier(head={"name": "transformer"})


# ---- optimizer and schedule


def test_without_a_scheduler_the_rate_is_constant(
    make_classifier, make_trainer, datamodule, tmp_path
):
    classifier = make_classifier(optimizer=partial(torch.optim.SGD, lr=0.05))
    trainer = make_trainer(tmp_path)
    trainer.fit(classifier, datamodule=datamodule())
    [optimizer] = trainer.optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_the_schedule_ends_with_training(make_classifier, make_trainer, datamodule, tmp_path):
    schedule = partial(torch.optim.lr_scheduler.LinearLR, start_factor=1.0, end_factor=0.5)
    given = []

    def scheduler(optimizer, total_steps):
        given.append(total_steps)
        return schedule(optimizer, total_iters=total_steps)

    classifier = make_classifier(
        optimizer=partial(torch.optim.SGD, lr=1.0), scheduler=scheduler, standardise=True
    )
    trainer = make_trainer(tmp_path, max_epochs=3)
    trainer.fit(classifier, datamodule=datamodule())
    assert given == [3 * 5]  # 80 images in batches of 16
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5)


def test_a_schedule_without_an_end_of_training_is_refused(
    make_classifier, make_trainer, datamodule, tmp_path
):
    scheduler = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1)
    trainer = make_trainer(tmp_path, max_epochs=-1)
    with pytest.raises(FashionTransferError, match="max_epochs"):
        trainer.fit(make_classifier(scheduler=scheduler), datamodule=datamodule())


# ---- standardising


@pytest.mark.parametrize(("views", "kept"), [(2, True), (None, True), (None, False)])
def test_statistics_are_those_of_the_subsets_clean_images_alone(
    make_classifier, make_trainer, datamodule, tmp_path, views, kept
):
    classifier, data = make_classifier(), datamodule(views=views)
    if kept:
        data.extractor = Extractor(classifier.backbone, FeatureStore(tmp_path / "cache"))
    make_trainer(tmp_path, max_epochs=1).fit(classifier, datamodule=data)

    plain = datamodule()  # no extractor: straight from the pixels
    plain.setup("fit")
    batches = all_batches(plain, plain.clean_dataloader())
    features = torch.cat([classifier.backbone(batch["images"]) for batch in batches]).double()
    assert len(features) == 80
    # Kept features are rounded to float16.
    precision = {"rtol": 2e-3, "atol": 2e-3} if kept else {"rtol": 1e-4, "atol": 1e-5}
    std = features.std(dim=0, correction=0)
    varied = std > 1e-3  # so that rounding cannot make a deviation of next to nothing another
    torch.testing.assert_close(
        classifier.standardise.mean.double(), features.mean(dim=0), **precision
    )
    torch.testing.assert_close(
        classifier.standardise.std.double()[varied], std[varied], **precision
    )


def test_standardising_without_a_datamodule_says_what_to_do(
    make_classifier, make_trainer, tmp_path
):
    classifier = make_classifier(standardise=True)
    batch = {"features": torch.zeros(2, 512), "labels": torch.tensor([0, 1])}
    with pytest.raises(FashionTransferError, match="standardise=False"):
        make_trainer(tmp_path).fit(classifier, train_dataloaders=one_batch(batch))


def test_without_standardising_a_plain_dataloader_will_do(make_classifier, make_trainer, tmp_path):
    classifier = make_classifier(standardise=False)
    head = head_of(classifier)
    batch = {"features": torch.ones(2, 512), "labels": torch.tensor([0, 1])}
    make_trainer(tmp_path, max_epochs=1).fit(classifier, train_dataloaders=one_batch(batch))
    assert classifier.standardise is None
    assert not same(head, head_of(classifier))


# ---- randomness


def test_the_same_fit_twice_gives_the_same_head(
    make_classifier, make_trainer, datamodule, tmp_path
):
    heads = []
    for noise in (1, 2):
        classifier = make_classifier(head={"name": "mlp", "hidden": 16, "dropout": 0.5})
        torch.manual_seed(noise)  # what happened before training must not matter
        make_trainer(tmp_path).fit(classifier, datamodule=datamodule())
        heads.append(head_of(classifier))
    assert same(*heads)


def test_another_seed_drops_other_units(make_classifier, make_trainer, datamodule, tmp_path):
    heads = []
    for seed in (0, 1):
        classifier = make_classifier(head={"name": "mlp", "dropout": 0.5}, seed=seed)
        make_trainer(tmp_path, max_epochs=1).fit(classifier, datamodule=datamodule())
        heads.append(head_of(classifier))
    assert not same(*heads)


# ---- metrics


@pytest.mark.parametrize(("name", "expected"), list(zip(CLASSES, SLUGS, strict=True)))
def test_slugs_are_fit_for_keys_and_file_names(name, expected):
    assert slug(name) == expected


def test_test_metrics_are_those_of_all_test_images(fitted, make_trainer, datamodule, tmp_path):
    data = datamodule()  # 60 images in batches of 16: the last one is smaller
    [metrics] = make_trainer(tmp_path).test(fitted.classifier, datamodule=data, verbose=False)
    batches = all_batches(data, data.test_dataloader())
    with torch.no_grad():
        logits = torch.cat([fitted.classifier.logits(batch) for batch in batches])
    labels = torch.cat([batch["labels"] for batch in batches])
    right = (logits.argmax(dim=1) == labels).numpy()
    of_class = {
        f"test/accuracy/{name}": np.mean(right[labels.numpy() == label])
        for label, name in enumerate(SLUGS)
    }
    expected = {
        "test/accuracy": right.mean(),
        "test/macro_accuracy": np.mean(list(of_class.values())),
        "test/loss": F.cross_entropy(logits, labels).item(),
        **of_class,
    }
    assert metrics == pytest.approx(expected, abs=1e-5)
    assert all(type(value) is float for value in metrics.values())


def test_testing_twice_gives_the_same_numbers(fitted, make_trainer, datamodule, tmp_path):
    data, trainer = datamodule(), make_trainer(tmp_path)
    first = trainer.test(fitted.classifier, datamodule=data, verbose=False)
    assert trainer.test(fitted.classifier, datamodule=data, verbose=False) == first


def test_fitting_logs_loss_and_accuracy_of_both_sets(
    make_classifier, make_trainer, datamodule, tmp_path
):
    trainer = make_trainer(tmp_path)
    trainer.fit(make_classifier(), datamodule=datamodule())
    assert set(trainer.callback_metrics) == {
        "train/loss",
        "train/accuracy",
        "val/loss",
        "val/accuracy",
        "val/macro_accuracy",
    }
