"""The calibrator: what it learns from validation images, and the probabilities it gives."""

import math

import pytest
import torch

from fashion_transfer.confidence import MIN_IMAGES, Calibrator, fit_temperature, metrics
from fashion_transfer.confidence.calibrator import OOD_QUANTILE, STANDARD_ERRORS


def draw(count: int = 400, classes: int = 4, multi_item: bool = False):
    """Logits that are twice too large, their labels, and OOD scores from 0 up to 1."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes + multi_item, generator=generator)
    if multi_item:
        logits[:, classes] -= 2
    labels = torch.multinomial(logits[:, :classes].softmax(1), 1, generator=generator)[:, 0]
    return 2 * logits, labels, torch.linspace(0, 1, count)


def fitted(**options) -> Calibrator:
    calibrator = Calibrator(4)
    calibrator.fit(*draw(**options))
    return calibrator


def test_calibrator_changes_nothing_before_fit():
    calibrator, (logits, _, _) = Calibrator(4), draw()
    torch.testing.assert_close(calibrator(logits), logits.softmax(dim=1))
    assert calibrator.temperature == 1
    assert calibrator.ood_limit == math.inf
    assert calibrator.validation == {}


@pytest.mark.parametrize("multi_item", [False, True])
def test_fit_learns_temperature_and_ood_limit_and_stores_validation(multi_item):
    logits, labels, _ = draw(multi_item=multi_item)
    calibrator = fitted(multi_item=multi_item)
    expected = fit_temperature(logits, labels, standard_errors=STANDARD_ERRORS)
    assert float(calibrator.temperature) == pytest.approx(expected)
    assert expected > 1.5
    assert float(calibrator.ood_limit) == pytest.approx(OOD_QUANTILE)
    probabilities = (logits / calibrator.temperature).softmax(dim=1)[:, :4]
    validation = calibrator.validation
    assert validation.keys() == {"confidence", "correct"}
    assert torch.allclose(validation["confidence"].float(), probabilities.amax(dim=1))
    assert torch.equal(validation["correct"], probabilities.argmax(dim=1) == labels)


def test_fit_leaves_one_in_a_hundred_validation_images_over_the_ood_limit():
    calibrator = Calibrator(4)
    logits, labels, _ = draw(1000)
    calibrator.fit(logits, labels, torch.arange(1000.0))
    assert int((torch.arange(1000.0) > calibrator.ood_limit).sum()) == 10


def test_fit_leaves_the_ood_limit_where_no_score_is_known():
    calibrator, (logits, labels, _) = Calibrator(4), draw()
    calibrator.fit(logits, labels, torch.zeros(len(logits)))
    assert calibrator.ood_limit == math.inf
    assert calibrator.temperature > 1.5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_fit_learns_nothing_from_logits_that_are_not_finite(value):
    calibrator = fitted()
    before = {name: part.clone() for name, part in calibrator.state_dict().items()}
    validation = calibrator.validation
    logits, labels, ood_score = draw()
    logits[3, 1] = value
    calibrator.fit(logits, labels, ood_score)
    assert all(torch.equal(before[name], part) for name, part in calibrator.state_dict().items())
    assert calibrator.validation is validation


def test_fit_on_too_few_images_is_as_before_any():
    logits, labels, ood_score = draw(MIN_IMAGES)
    calibrator = fitted()
    assert calibrator.num_images == 400
    calibrator.fit(logits[1:], labels[1:], ood_score[1:])
    assert calibrator.temperature == 1
    assert calibrator.ood_limit == math.inf
    assert calibrator.validation == {}
    assert calibrator.num_images == MIN_IMAGES - 1
    calibrator.fit(logits, labels, ood_score)
    assert calibrator.temperature != 1
    assert calibrator.ood_limit < math.inf
    assert len(calibrator.validation["correct"]) == calibrator.num_images == MIN_IMAGES


def test_class_probabilities_leave_out_the_multi_item_one():
    calibrator, (logits, _, _) = fitted(multi_item=True), draw(multi_item=True)
    probabilities, class_logits = calibrator(logits), calibrator.class_probabilities(logits)
    assert probabilities.shape == (400, 5)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(400))
    assert torch.equal(class_logits, probabilities[:, :4])


def test_state_is_the_temperature_and_the_ood_limit():
    calibrator, other = fitted(), Calibrator(4)
    other.load_state_dict(calibrator.state_dict())
    assert calibrator.state_dict().keys() == {"temperature", "ood_limit"}
    logits, _, _ = draw()
    assert torch.equal(other(logits), calibrator(logits))


@pytest.mark.parametrize("metric", [metrics.ece, metrics.adaptive_ece, metrics.nll, metrics.brier])
def test_calibrated_probabilities_are_better_than_uncalibrated_ones(metric):
    logits, labels, _ = draw()
    calibrated = fitted().class_probabilities(logits)
    assert metric(calibrated, labels) < metric(logits.softmax(dim=1), labels)
