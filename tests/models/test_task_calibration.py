"""What a task fits after each validation: temperature, OOD limit and threshold."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from fashion_transfer.confidence import fit_temperature, fit_threshold
from fashion_transfer.confidence.calibrator import OOD_QUANTILE, STANDARD_ERRORS
from fashion_transfer.models import EvaluationTask, load_classifier
from fashion_transfer.models.left_out import left_out, warn_unreached
from fashion_transfer.synthetic import Exposure

NO_LEARNING = partial(torch.optim.SGD, lr=0.0)


class Thresholds(Callback):
    """Lists the threshold after each validation."""

    def __init__(self) -> None:
        self.seen = []

    def on_validation_end(self, trainer, module):
        self.seen.append(module.classifier.threshold)


# ---- the calibrator


def test_calibrator_is_fitted_on_the_validation_images(exposed, datamodule, outputs_of):
    data = datamodule(val_per_class=5)
    data.setup("fit")
    logits, ood_score, labels = outputs_of(exposed.classifier, data.val_dataloader())
    calibrator = exposed.classifier.calibrator
    expected = fit_temperature(logits, labels, standard_errors=STANDARD_ERRORS)
    assert float(calibrator.temperature) == pytest.approx(expected, rel=1e-3)
    assert float(calibrator.temperature) != 1
    assert float(calibrator.ood_limit) == pytest.approx(
        float(ood_score.quantile(OOD_QUANTILE)), rel=1e-4
    )
    correct = logits[:, :10].argmax(dim=1) == labels
    assert torch.equal(calibrator.validation["correct"], correct)


@pytest.mark.parametrize("loop", ["validate", "test"])
def test_nothing_is_fitted_outside_of_training(
    exposed, make_task, make_trainer, datamodule, tmp_path, state_of, same, loop
):
    loaded = load_classifier(exposed.last, precision="float32")
    before, validation = state_of(loaded.calibrator), loaded.calibrator.validation
    task = make_task(loaded, threshold="auto")
    threshold = loaded.threshold
    # Other images than it was fitted on.
    data = datamodule(val_per_class=2)
    getattr(make_trainer(tmp_path), loop)(task, datamodule=data, verbose=False)
    assert same(before, loaded.calibrator.state_dict())
    assert loaded.calibrator.validation is validation
    assert loaded.threshold == threshold


def test_nothing_is_fitted_by_the_sanity_check_before_training(
    make_task, make_trainer, feature_loader, tmp_path
):
    task, thresholds = make_task(standardise=False, threshold="auto"), Thresholds()
    trainer = make_trainer(
        tmp_path, num_sanity_val_steps=2, limit_train_batches=0, callbacks=[thresholds]
    )
    trainer.fit(task, feature_loader(), feature_loader(50, 1))
    assert task.classifier.calibrator.validation == {}
    assert float(task.classifier.calibrator.temperature) == 1


def test_a_diverged_epoch_leaves_the_calibrator_as_it_is(
    make_task, make_trainer, feature_loader, tmp_path
):
    task = make_task(standardise=False, threshold="auto")
    with torch.no_grad():
        task.classifier.head[-1].weight.fill_(float("nan"))
    make_trainer(tmp_path, max_epochs=1).fit(task, feature_loader(), feature_loader(50, 1))
    assert task.classifier.calibrator.validation == {}
    assert task.classifier.threshold == 0.8


@pytest.mark.parametrize("threshold", [0.7, "auto"])
def test_too_few_validation_images_fit_nothing_which_is_logged_once(
    make_task, make_trainer, datamodule, tmp_path, caplog, threshold
):
    task = make_task(threshold=threshold)
    make_trainer(tmp_path).fit(task, datamodule=datamodule(val_per_class=4))
    calibrator = task.classifier.calibrator
    assert (calibrator.temperature, calibrator.ood_limit) == (1, float("inf"))
    assert (calibrator.validation, calibrator.num_images) == ({}, 40)
    assert task.classifier.threshold == (0.8 if threshold == "auto" else 0.7)
    [line] = [r.getMessage() for r in caplog.records if "validation images" in r.getMessage()]
    assert line.startswith("fewer than 50 validation images were seen (40)")
    for name in ("temperature", "OOD limit", f"confidence {task.classifier.threshold}"):
        assert name in line
    assert ("automatic threshold" in line) == (threshold == "auto")


def test_without_standardising_no_limit_is_left_out(make_classifier):
    expected = ["temperature", "automatic threshold"]
    assert left_out(make_classifier(standardise=False), auto_threshold=True) == expected


def test_nothing_is_left_out_of_enough_validation_images(exposed):
    assert exposed.classifier.calibrator.num_images == 50
    assert left_out(exposed.classifier, auto_threshold=True) == []


def test_training_images_have_a_score_of_about_1_and_other_images_a_higher_one(
    exposed, datamodule, outputs_of
):
    classifier, data = exposed.classifier, datamodule()
    data.setup("fit")
    _, score, _ = outputs_of(classifier, data.clean_dataloader())
    # A feature that is the same for all training images adds nothing to a score.
    varied = (classifier.standardise.std != 1).double().mean()
    assert score.mean().item() == pytest.approx(float(varied), rel=1e-3)
    assert varied > 0.8
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(8, 1, 32, 32, generator=generator).round()
    with torch.no_grad():
        other = classifier.standardise(classifier.backbone(noise)).square().mean(dim=1)
    assert other.min() > score.max()


def test_without_standardising_there_is_no_limit(make_task, make_trainer, feature_loader, tmp_path):
    task = make_task(standardise=False)
    make_trainer(tmp_path, max_epochs=1).fit(task, feature_loader(), feature_loader(50, 1))
    assert task.classifier.calibrator.ood_limit.isinf()
    assert float(task.classifier.calibrator.temperature) != 1


def test_composites_raise_the_multi_item_logit(exposed, datamodule, outputs_of):
    data = datamodule(synthetic=Exposure(composites=40, controls=0))
    data.setup("fit")
    [composites] = data.synthetic_sets
    multi_item, single = (
        outputs_of(exposed.classifier, loader)[0].softmax(dim=1)[:, 10].mean()
        for loader in (data.dataloader(composites), data.clean_dataloader())
    )
    assert multi_item > 2 * single


# ---- the threshold


def test_a_task_sets_the_threshold_of_its_classifier(make_task):
    assert make_task(threshold=0.35).classifier.threshold == 0.35
    assert make_task().classifier.threshold == 0.8


def test_an_evaluation_leaves_the_threshold_as_it_is(exposed):
    assert EvaluationTask(exposed.classifier).classifier.threshold != 0.8


def test_threshold_auto_is_what_the_validation_images_give(exposed):
    classifier = exposed.classifier
    expected = fit_threshold(**classifier.calibrator.validation, warned=0.25)
    assert classifier.threshold == expected
    assert expected != 0.8
    saved = torch.load(exposed.last, weights_only=True)["classifier"]["threshold"]
    assert saved == expected
    assert load_classifier(exposed.last, precision="float32").threshold == expected


@pytest.mark.parametrize("ending", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 12}])
def test_threshold_auto_that_no_threshold_reaches_warns_about_all_and_says_so(
    make_task, make_trainer, feature_loader, tmp_path, caplog, ending
):
    target = {"selective_accuracy": 1.0}
    task = make_task(
        standardise=False, optimizer=NO_LEARNING, threshold="auto", threshold_target=target
    )
    make_trainer(tmp_path, **ending).fit(task, feature_loader(), feature_loader(50, 1))
    assert task.classifier.threshold == 1.0
    [line] = [r.getMessage() for r in caplog.records if "threshold=auto" in r.getMessage()]
    assert "so every prediction carries a warning (selective_accuracy must be at most" in line


def test_threshold_auto_is_said_to_fail_where_it_does_in_the_best_epoch_alone(
    exposed, altered, caplog
):
    def all_wrong(checkpoint):
        correct = checkpoint["classifier"]["validation"]["correct"]
        checkpoint["classifier"]["validation"]["correct"] = torch.zeros_like(correct)

    classifier, target = exposed.classifier, {"selective_accuracy": 0.01}
    warn_unreached(classifier, target, None)
    assert caplog.records == []
    warn_unreached(classifier, target, SimpleNamespace(best_model_path=str(altered(all_wrong))))
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("threshold=auto cannot be fitted, so every prediction carries a warning")


def test_a_checkpoint_is_tested_at_its_own_fitted_threshold(
    exposed, make_task, make_trainer, datamodule, tmp_path
):
    # In training, the best epoch's is rarely the last one's.
    other = make_task(multi_item=True, threshold="auto", threshold_target={"warned": 0.25})
    [metrics] = make_trainer(tmp_path).test(
        other, datamodule=datamodule(), ckpt_path=exposed.last, verbose=False, weights_only=True
    )
    assert metrics["test/threshold"] == pytest.approx(exposed.classifier.threshold)


def test_a_given_threshold_wins_over_that_of_a_checkpoint(
    exposed, make_task, make_trainer, datamodule, tmp_path
):
    other = make_task(multi_item=True, threshold=0.35)
    [metrics] = make_trainer(tmp_path).test(
        other, datamodule=datamodule(), ckpt_path=exposed.last, verbose=False, weights_only=True
    )
    assert metrics["test/threshold"] == pytest.approx(0.35)
