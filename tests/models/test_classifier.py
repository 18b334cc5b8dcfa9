from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from fashion_transfer.confidence import Prediction, fit_temperature, fit_threshold, metrics
from fashion_transfer.confidence.calibrator import CAREFUL, FAMILIAR
from fashion_transfer.data import CLASSES, FashionMNISTDataModule
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.models import load_classifier, slug

RATE = partial(torch.optim.AdamW, lr=0.1)

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
    classifier = make_classifier(threshold=1.0).eval()
    found = classifier.predict_step({"images": images}, 0)
    probabilities = classifier(images).softmax(dim=1)
    assert all(isinstance(prediction, Prediction) for prediction in found)
    assert [p.label for p in found] == [CLASSES[i] for i in probabilities.argmax(dim=1)]
    assert [p.confidence for p in found] == pytest.approx(probabilities.amax(dim=1).tolist())
    assert all(prediction.warning for prediction in found)


def test_predictions_follow_the_policys_threshold(make_classifier, images):
    found = make_classifier(threshold=0.0).eval().predict_step({"images": images}, 0)
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


def test_a_training_step_mixes_features_and_labels_alike(make_classifier):
    classifier = make_classifier(standardise=False, mixup=0.7).eval()
    features = torch.randn(6, classifier.backbone.feature_dim)
    batch = {"features": features, "labels": torch.arange(6)}
    torch.manual_seed(3)
    loss = classifier.training_step(batch, 0)
    torch.manual_seed(3)
    share = float(torch.distributions.Beta(0.7, 0.7).sample())
    share, order = max(share, 1 - share), torch.randperm(6)
    logits = classifier.head(share * features + (1 - share) * features[order])
    wanted = share * torch.eye(10)[:6] + (1 - share) * torch.eye(10)[:6][order]
    assert 0.5 <= share < 1
    assert loss.item() == pytest.approx(F.cross_entropy(logits, wanted).item(), rel=1e-5)


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_mixup_out_of_range_is_refused(make_classifier, value):
    with pytest.raises(FashionTransferError, match=r"model\.mixup"):
        make_classifier(mixup=value)


def test_mixing_depends_on_seed_and_epoch_alone(
    make_classifier, make_trainer, datamodule, tmp_path
):
    heads = []
    for seed in (0, 0, 1):
        classifier = make_classifier(mixup=1.0, seed=seed)
        make_trainer(tmp_path).fit(classifier, datamodule=datamodule())
        heads.append(state_of(classifier.head))
    assert same(heads[0], heads[1])
    assert not same(heads[0], heads[2])


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


@pytest.mark.parametrize(("given", "expected"), [({}, 15), ({"T_max": 4}, 4)])
def test_a_cosine_gets_the_number_of_steps_unless_it_has_one(
    make_classifier, make_trainer, datamodule, tmp_path, given, expected
):
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR
    classifier = make_classifier(scheduler=partial(schedule, **given))
    trainer = make_trainer(tmp_path, max_epochs=3)
    trainer.fit(classifier, datamodule=datamodule())
    [config] = trainer.lr_scheduler_configs
    assert isinstance(config.scheduler, schedule)
    assert config.scheduler.T_max == expected
    assert config.scheduler.last_epoch == 3 * 5


@pytest.mark.parametrize(
    ("given", "steps", "peak"),
    [
        ({}, 10, 0.1),
        ({"total_steps": 12, "max_lr": 0.3}, 12, 0.3),
    ],
)
def test_one_cycle_gets_steps_and_peak_unless_it_has_them(
    make_classifier, make_trainer, datamodule, tmp_path, given, steps, peak
):
    scheduler = partial(torch.optim.lr_scheduler.OneCycleLR, **given)
    classifier = make_classifier(optimizer=RATE, scheduler=scheduler)
    trainer = make_trainer(tmp_path)
    trainer.fit(classifier, datamodule=datamodule())
    [config] = trainer.lr_scheduler_configs
    assert config.scheduler.total_steps == steps
    assert trainer.optimizers[0].param_groups[0]["max_lr"] == peak


def test_a_schedule_that_takes_no_length_gets_none(
    make_classifier, make_trainer, datamodule, tmp_path
):
    classifier = make_classifier(
        optimizer=partial(torch.optim.SGD, lr=1.0),
        scheduler=partial(torch.optim.lr_scheduler.ConstantLR, factor=0.5, total_iters=7),
    )
    trainer = make_trainer(tmp_path, max_epochs=-1, max_steps=6)  # nor does it ask for the end
    trainer.fit(classifier, datamodule=datamodule())
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5


def test_an_argument_that_a_schedule_does_not_take_is_a_mistake(
    make_classifier, make_trainer, datamodule, tmp_path
):
    scheduler = partial(torch.optim.lr_scheduler.CosineAnnealingLR, warmth=2)
    with pytest.raises(FashionTransferError, match=r"model\.scheduler.*warmth"):
        make_trainer(tmp_path).fit(make_classifier(scheduler=scheduler), datamodule=datamodule())


@pytest.fixture
def stopped_at(make_classifier, make_trainer, datamodule, tmp_path):
    """`stopped_at(scheduler)`: the last checkpoint of a run of two epochs of five steps."""

    def fit(scheduler):
        trainer = make_trainer(tmp_path)
        classifier = make_classifier(optimizer=RATE, scheduler=scheduler)
        trainer.fit(classifier, datamodule=datamodule())
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return tmp_path / "last.ckpt"

    return fit


@pytest.mark.parametrize(
    "scheduler",
    [
        partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1),
        torch.optim.lr_scheduler.CosineAnnealingLR,
    ],
    ids=["one cycle", "cosine"],
)
def test_going_on_beyond_the_end_of_the_schedule_is_refused(
    make_classifier, make_trainer, datamodule, tmp_path, stopped_at, scheduler
):
    path = stopped_at(scheduler)
    trainer = make_trainer(tmp_path, max_epochs=4)
    classifier = make_classifier(optimizer=RATE, scheduler=scheduler)
    with pytest.raises(FashionTransferError, match="made for 10 steps and this run takes 20"):
        trainer.fit(classifier, datamodule=datamodule(), ckpt_path=path)


def test_a_cosine_of_a_chosen_period_may_go_on(
    make_classifier, make_trainer, datamodule, tmp_path, stopped_at
):
    scheduler = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=3)
    path = stopped_at(scheduler)
    trainer = make_trainer(tmp_path, max_epochs=3)
    classifier = make_classifier(optimizer=RATE, scheduler=scheduler)
    trainer.fit(classifier, datamodule=datamodule(), ckpt_path=path)
    assert trainer.global_step == 15


def test_going_on_without_a_schedule_is_at_the_rate_that_is_set(
    make_classifier, make_trainer, datamodule, tmp_path, stopped_at
):
    path = stopped_at(partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.1))
    [group] = torch.load(path)["optimizer_states"][0]["param_groups"]
    assert group["lr"] < 0.01  # where the schedule ended
    trainer = make_trainer(tmp_path, max_epochs=4)
    trainer.fit(make_classifier(optimizer=RATE), datamodule=datamodule(), ckpt_path=path)
    assert trainer.global_step == 20
    [group] = trainer.optimizers[0].param_groups
    assert group["lr"] == 0.1
    assert tuple(group["betas"]) == (0.9, 0.999)


# ---- an unfrozen last stage


@pytest.fixture(scope="module")
def unfrozen(make_backbone):
    """A ResNet18 whose last stage learns in every classifier's own copy."""
    return make_backbone(pool=["layer2", "layer4"], unfreeze_last=True)


def state_of(part: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in part.state_dict().items()}


@pytest.fixture(scope="module")
def tuned(make_classifier, make_trainer, unfrozen, idx_dir, tmp_path_factory):
    """A classifier whose last stage has learned, and its checkpoint; do not change them."""
    folder = tmp_path_factory.mktemp("tuned")
    datamodule = FashionMNISTDataModule(
        str(idx_dir), images_per_class=8, val_per_class=4, image_size=32, check_md5=False
    )
    classifier = make_classifier(backbone=unfrozen, optimizer=RATE)
    trainer = make_trainer(folder, max_epochs=1)
    trainer.fit(classifier, datamodule=datamodule)
    trainer.save_checkpoint(folder / "last.ckpt")
    return classifier.eval(), folder / "last.ckpt"


def test_training_changes_tail_and_head_and_not_the_backbone(
    make_backbone, make_classifier, unfrozen, tuned
):
    classifier, _ = tuned
    before = make_classifier(backbone=unfrozen)
    fresh = make_backbone(pool=unfrozen.pool, unfreeze_last=True)
    assert same(state_of(fresh), unfrozen.state_dict())
    tail = state_of(before.tail)
    assert not any(torch.equal(tail[k], v) for k, v in classifier.tail.state_dict().items())
    assert not same(head_of(before), head_of(classifier))
    assert all(p.grad is None for p in unfrozen.parameters())


def test_before_training_a_tail_answers_as_the_frozen_backbone(
    make_classifier, make_backbone, unfrozen, images
):
    frozen = make_classifier(backbone=make_backbone(pool=unfrozen.pool)).eval()
    classifier = make_classifier(backbone=unfrozen).eval()
    torch.testing.assert_close(classifier(images), frozen(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 0.01), ({"tail_lr": 0.03}, 0.03), ({"tail_lr": 0}, 0)]
)
def test_a_tail_learns_at_a_tenth_of_the_heads_rate_unless_it_has_its_own(
    make_classifier, unfrozen, given, expected
):
    classifier = make_classifier(backbone=unfrozen, optimizer=RATE, **given)
    head, tail = classifier.configure_optimizers().param_groups
    assert {id(p) for p in head["params"]} == {id(p) for p in classifier.head.parameters()}
    assert {id(p) for p in tail["params"]} == {id(p) for p in classifier.tail.parameters()}
    assert (head["lr"], tail["lr"]) == (0.1, pytest.approx(expected))
    assert (head["weight_decay"], tail["weight_decay"]) == (0.01, 0)


def test_an_optimizer_that_knows_no_decay_is_given_none(make_classifier, unfrozen):
    classifier = make_classifier(backbone=unfrozen, optimizer=partial(torch.optim.Rprop, lr=0.1))
    assert len(classifier.configure_optimizers().param_groups) == 2


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_an_impossible_rate_of_the_tail_is_refused(make_classifier, unfrozen, value):
    with pytest.raises(FashionTransferError, match=rf"model\.tail_lr is {value}"):
        make_classifier(backbone=unfrozen, tail_lr=value)


def test_one_cycle_peaks_at_the_rates_of_head_and_tail(
    make_classifier, make_trainer, datamodule, tmp_path, unfrozen
):
    scheduler = torch.optim.lr_scheduler.OneCycleLR
    classifier = make_classifier(backbone=unfrozen, optimizer=RATE, scheduler=scheduler)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(classifier, datamodule=datamodule())
    peaks = [group["max_lr"] for group in trainer.optimizers[0].param_groups]
    assert peaks == pytest.approx([0.1, 0.01])


def test_a_tail_learns_the_same_from_kept_maps_as_from_images(
    make_classifier, make_trainer, datamodule, tmp_path, unfrozen
):
    learned = []
    for extractor in (None, Extractor(unfrozen, FeatureStore(tmp_path / "cache"))):
        optimizer = partial(torch.optim.SGD, lr=0.01)
        classifier = make_classifier(backbone=unfrozen, optimizer=optimizer, standardise=False)
        before = classifier.tail.stage.state_dict()["1.conv2.weight"].clone()
        data = datamodule(extractor=extractor)
        make_trainer(tmp_path, max_epochs=1).fit(classifier, datamodule=data)
        kinds = set(next(iter(data.train_dataloader())))
        assert kinds & {"pixels", "maps"} == ({"pixels"} if extractor is None else {"maps"})
        learned.append(classifier.tail.stage.state_dict()["1.conv2.weight"] - before)
    first, second = learned
    assert torch.cosine_similarity(first.flatten(), second.flatten(), dim=0) > 0.99


def test_a_checkpoint_brings_the_tail_back(tuned, images):
    classifier, path = tuned
    loaded = load_classifier(path, precision="float32")
    assert same(state_of(classifier.tail), loaded.tail.state_dict())
    torch.testing.assert_close(loaded(images), classifier(images))
    saved = torch.load(path, weights_only=True)["state_dict"]
    assert not any(name.startswith("backbone.") for name in saved)


def test_a_tail_is_not_put_on_a_frozen_backbone(
    make_classifier, make_backbone, make_trainer, datamodule, tmp_path, unfrozen, tuned
):
    _, path = tuned
    frozen = make_classifier(backbone=make_backbone(pool=unfrozen.pool))
    with pytest.raises(FashionTransferError, match="unfreeze_last True, here False"):
        make_trainer(tmp_path).fit(frozen, datamodule=datamodule(), ckpt_path=path)


# ---- several items


@pytest.fixture(scope="module")
def wary(make_classifier, make_trainer, idx_dir, tmp_path_factory):
    """A classifier that learned from composites too, and its checkpoint; do not change them."""
    folder = tmp_path_factory.mktemp("wary")
    datamodule = FashionMNISTDataModule(
        str(idx_dir),
        images_per_class=8,
        val_per_class=4,
        composites=40,
        controls=16,
        image_size=32,
        check_md5=False,
    )
    classifier = make_classifier(several=True, threshold="auto", auto={"warned": 0.25})
    trainer = make_trainer(folder, max_epochs=3)
    trainer.fit(classifier, datamodule=datamodule)
    trainer.save_checkpoint(folder / "last.ckpt")
    return classifier.eval(), folder / "last.ckpt"


def examined(classifier, data, loader) -> tuple[torch.Tensor, ...]:
    """Logits, distances and labels of all images of a loader."""
    with torch.no_grad():
        parts = [
            (*classifier.examine(batch), batch["labels"]) for batch in all_batches(data, loader)
        ]
    return tuple(map(torch.cat, zip(*parts, strict=True)))


@pytest.mark.parametrize(("several", "logits"), [(False, 10), (True, 11)])
def test_several_items_are_one_more_logit(make_classifier, images, several, logits):
    assert make_classifier(several=several).eval()(images).shape == (5, logits)


def test_a_prediction_names_classes_alone_however_probable_several_items_are(
    make_classifier, images
):
    classifier = make_classifier(several=True).eval()
    with torch.no_grad():
        classifier.head[-1].bias[10] = 50
    for found in classifier.predict_step({"images": images}, 0):
        assert {name for name, _ in found.top} <= set(CLASSES)
        assert found.confidence < 1e-6
        assert found.reason == "several items"


def test_accuracy_is_over_the_classes_alone(make_classifier, make_trainer, datamodule, tmp_path):
    classifier, plain = make_classifier(several=True), make_classifier(several=False)
    plain.head[-1].load_state_dict(
        {name: part[:10] for name, part in classifier.head[-1].state_dict().items()}
    )
    with torch.no_grad():
        classifier.head[-1].bias[10] = 50  # every image shows several items, it would say
    for kind in ("validate", "test"):
        [mine], [theirs] = (
            getattr(make_trainer(tmp_path), kind)(c, datamodule=datamodule(), verbose=False)
            for c in (classifier, plain)
        )
        accuracies = [name for name in theirs if "accuracy" in name and "selective" not in name]
        assert len(accuracies) >= 2
        assert all(mine[name] == theirs[name] for name in accuracies)


def test_training_loss_is_of_all_images_and_its_accuracy_of_those_of_one_item(
    make_classifier, make_trainer, tmp_path
):
    classifier = make_classifier(
        several=True, standardise=False, optimizer=partial(torch.optim.SGD, lr=0.0)
    )
    features = torch.rand(7, 512, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 10, 3, 10, 1, 10, 10])
    parts = zip(features.split([4, 2, 1]), labels.split([4, 2, 1]), strict=True)
    batches = [{"features": rows, "labels": told} for rows, told in parts]  # the last: no single
    trainer = make_trainer(tmp_path)
    trainer.fit(classifier, train_dataloaders=DataLoader(batches, batch_size=None))
    logits = classifier.logits({"features": features}).detach()
    right = (logits[:, :10].argmax(dim=1) == labels)[labels < 10].float().mean()
    found = trainer.callback_metrics
    assert float(found["train/loss"]) == pytest.approx(float(F.cross_entropy(logits, labels)))
    assert float(found["train/accuracy"]) == pytest.approx(float(right))


def test_what_composites_teach_is_seen_in_the_further_logit(wary, datamodule):
    classifier, _ = wary
    data = datamodule(composites=40)
    data.setup("fit")
    [made] = data.made_sets
    several = classifier(made.render(np.arange(40), torch.device("cpu"))).softmax(dim=1)[:, 10]
    logits, _, _ = examined(classifier, data, data.clean_dataloader())
    assert several.mean() > 2 * logits.softmax(dim=1)[:, 10].mean()


def test_a_checkpoint_with_a_further_logit_is_not_loaded_without(
    wary, make_classifier, make_trainer, datamodule, tmp_path
):
    _, path = wary
    with pytest.raises(FashionTransferError, match=r"model\.several True, here it is False"):
        make_trainer(tmp_path).fit(make_classifier(), datamodule=datamodule(), ckpt_path=path)


def test_several_items_come_back_from_a_checkpoint(wary, images):
    classifier, path = wary
    loaded = load_classifier(path, precision="float32")
    assert loaded.several
    torch.testing.assert_close(loaded(images), classifier(images))
    mine, theirs = (c.predict_step({"images": images}, 0) for c in (classifier, loaded))
    assert [p.reason for p in theirs] == [p.reason for p in mine]
    assert [p.confidence for p in theirs] == pytest.approx([p.confidence for p in mine])


# ---- calibration


def test_the_calibrator_is_fitted_on_validation(wary, datamodule):
    classifier, _ = wary
    data = datamodule()
    data.setup("fit")
    logits, distance, labels = examined(classifier, data, data.val_dataloader())
    calibrator = classifier.calibrator
    expected = fit_temperature(logits, labels, careful=CAREFUL)
    assert float(calibrator.temperature) == pytest.approx(expected, rel=1e-3)
    assert float(calibrator.temperature) != 1
    assert float(calibrator.familiar) == pytest.approx(float(distance.quantile(FAMILIAR)), rel=1e-4)
    assert len(calibrator.validation["right"]) == 40


@pytest.mark.parametrize("kind", ["validate", "test"])
def test_looking_at_images_outside_of_training_fits_nothing(
    wary, make_trainer, datamodule, tmp_path, kind
):
    loaded = load_classifier(wary[1], precision="float32")
    before = state_of(loaded.calibrator)
    validation, threshold = loaded.calibrator.validation, loaded.policy.threshold
    # Other images than it was fitted on.
    data = datamodule(val_per_class=2)
    getattr(make_trainer(tmp_path), kind)(loaded, datamodule=data, verbose=False)
    assert same(before, loaded.calibrator.state_dict())
    assert loaded.calibrator.validation is validation
    assert loaded.policy.threshold == threshold


def test_the_calibrator_comes_back_from_a_checkpoint(wary):
    classifier, path = wary
    loaded = load_classifier(path, precision="float32")
    assert same(state_of(classifier.calibrator), loaded.calibrator.state_dict())
    for name, values in classifier.calibrator.validation.items():
        assert torch.equal(loaded.calibrator.validation[name], values)


def test_confidence_is_at_the_temperature(wary, images):
    classifier, _ = wary
    expected = (classifier(images) / classifier.calibrator.temperature).softmax(dim=1)[:, :10]
    found = classifier.predict_step({"images": images}, 0)
    assert [p.confidence for p in found] == pytest.approx(expected.amax(dim=1).tolist())


def test_the_subsets_images_are_at_a_distance_of_about_1(wary, datamodule):
    classifier, _ = wary
    data = datamodule()
    data.setup("fit")
    _, distance, _ = examined(classifier, data, data.clean_dataloader())
    # A feature that is the same for all of the subset says nothing of a distance.
    varied = (classifier.standardise.std != 1).double().mean()
    assert distance.mean().item() == pytest.approx(float(varied), rel=1e-3)
    assert varied > 0.8
    with torch.no_grad():
        _, strange = classifier.examine({"images": torch.rand(8, 1, 32, 32).round()})
    assert strange.min() > distance.max()


def test_without_standardising_no_distance_is_known_and_nothing_is_unfamiliar(
    make_classifier, make_trainer, datamodule, tmp_path
):
    classifier = make_classifier(standardise=False)
    make_trainer(tmp_path, max_epochs=1).fit(classifier, datamodule=datamodule())
    assert classifier.calibrator.familiar.isinf()
    _, distance = classifier.examine({"features": torch.full((2, 512), 1e3)})
    assert distance.tolist() == [0, 0]
    found = classifier.predict_step({"features": torch.full((2, 512), 1e3)}, 0)
    assert {p.reason for p in found} <= {"", "ambiguous"}


def test_an_image_farther_than_the_familiar_distance_is_unfamiliar(wary, images):
    classifier, _ = wary
    logits = classifier(images).detach()
    logits[:, 0] = 100  # as sure as can be
    familiar = classifier.calibrator.familiar
    distance = familiar + torch.tensor([0, 1e-3, 0, 1e-3, 0])
    reasons = [prediction.reason for prediction in classifier.decide(logits, distance)]
    assert reasons == ["", "unfamiliar", "", "unfamiliar", ""]


# ---- the threshold


def test_an_automatic_threshold_is_found_in_validation_and_kept(wary):
    classifier, path = wary
    expected = fit_threshold(**classifier.calibrator.validation, warned=0.25)
    assert classifier.policy.threshold == expected
    assert expected != 0.8
    assert torch.load(path, weights_only=True)["classifier"]["threshold"] == expected
    assert load_classifier(path, precision="float32").policy.threshold == expected


def test_an_automatic_threshold_that_no_epoch_reaches_ends_the_run_at_its_last(
    make_classifier, make_trainer, datamodule, tmp_path, monkeypatch
):
    def unreachable(**options):
        raise FashionTransferError("no threshold gives that")

    monkeypatch.setattr("fashion_transfer.models.classifier.fit_threshold", unreachable)
    classifier = make_classifier(threshold="auto")
    seen = []

    class Watch(Callback):
        def on_validation_end(self, trainer, module):
            seen.append(module.policy.threshold)

    with pytest.raises(FashionTransferError, match="no threshold gives that"):
        make_trainer(tmp_path, callbacks=[Watch()]).fit(classifier, datamodule=datamodule())
    assert seen == [1.0]


@pytest.mark.parametrize("threshold", [0.0, 0.35, 1.0])
def test_loading_takes_a_number_instead_of_the_checkpoints_threshold(wary, threshold):
    assert load_classifier(wary[1], threshold=threshold).policy.threshold == threshold


@pytest.mark.parametrize("auto", [{"warned": 0.5}, {"selective_accuracy": 0.5}])
def test_loading_can_find_another_threshold_in_the_checkpoints_validation(wary, auto):
    classifier, path = wary
    expected = fit_threshold(**classifier.calibrator.validation, **auto)
    assert load_classifier(path, threshold="auto", auto=auto).policy.threshold == expected


def test_an_automatic_threshold_without_validation_is_a_clear_error(
    make_classifier, make_trainer, datamodule, tmp_path
):
    classifier, trainer = make_classifier(), make_trainer(tmp_path, max_epochs=1)
    trainer.fit(classifier, datamodule=datamodule(val_per_class=0))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert load_classifier(tmp_path / "last.ckpt").policy.threshold == 0.8
    with pytest.raises(FashionTransferError, match="without validation, so threshold=auto"):
        load_classifier(tmp_path / "last.ckpt", threshold="auto")


def test_testing_a_checkpoint_is_at_the_checkpoints_own_threshold(
    wary, make_classifier, make_trainer, datamodule, tmp_path
):
    # In training, the best epoch's is seldom the last one's.
    classifier, path = wary
    other = make_classifier(several=True, threshold="auto", auto={"warned": 0.25})
    [metrics] = make_trainer(tmp_path).test(
        other, datamodule=datamodule(), ckpt_path=path, verbose=False, weights_only=True
    )
    assert metrics["test/threshold"] == pytest.approx(classifier.policy.threshold)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, "high", None])
def test_an_impossible_threshold_is_refused_at_once(make_classifier, threshold):
    with pytest.raises(FashionTransferError, match=r"policy\.threshold"):
        make_classifier(threshold=threshold)


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


def expected_calibration_error(probabilities: torch.Tensor, right: np.ndarray) -> float:
    """Over 15 bins of equal width: the mean distance of accuracy from confidence."""
    confidence = probabilities.amax(dim=1).numpy()
    bins = np.ceil(confidence * 15)
    gaps = [abs(np.sum(right[bins == b]) - np.sum(confidence[bins == b])) for b in range(1, 16)]
    return np.sum(gaps) / len(right)


@pytest.mark.parametrize("several", [False, True])
def test_test_metrics_are_those_of_all_test_images(
    fitted, wary, make_trainer, datamodule, tmp_path, several
):
    classifier = wary[0] if several else fitted.classifier
    data = datamodule()  # 60 images in batches of 16: the last one is smaller
    [found] = make_trainer(tmp_path).test(classifier, datamodule=data, verbose=False)
    logits, distance, labels = examined(classifier.eval(), data, data.test_dataloader())
    right = (logits[:, :10].argmax(dim=1) == labels).numpy()
    of_class = {
        f"test/accuracy/{name}": np.mean(right[labels.numpy() == label])
        for label, name in enumerate(SLUGS)
    }
    temperature, threshold = classifier.calibrator.temperature, classifier.policy.threshold
    probabilities = {
        "": (logits / temperature).softmax(dim=1)[:, :10],
        "_uncalibrated": logits.softmax(dim=1)[:, :10],
    }
    confidence = probabilities[""].amax(dim=1)
    sure = ((confidence >= threshold) & (distance <= classifier.calibrator.familiar)).numpy()
    expected = {
        "test/accuracy": right.mean(),
        "test/macro_accuracy": np.mean(list(of_class.values())),
        "test/loss": F.cross_entropy(logits, labels).item(),
        **of_class,
        "test/aurc": metrics.aurc(confidence, torch.from_numpy(right)),
        "test/warned": 1 - sure.mean(),
        "test/selective_accuracy": right[sure].mean() if sure.any() else float("nan"),
        "test/temperature": float(temperature),
        "test/threshold": threshold,
    }
    for name, values in probabilities.items():
        expected |= {
            f"test/ece{name}": expected_calibration_error(values, right),
            f"test/adaptive_ece{name}": metrics.adaptive_ece(values, labels),
            f"test/nll{name}": metrics.nll(values, labels),
            f"test/brier{name}": metrics.brier(values, labels),
        }
    assert found == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert all(type(value) is float for value in found.values())
    assert found["test/warned"] == pytest.approx(
        np.mean([prediction.warning for prediction in classifier.decide(logits, distance)])
    )


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
