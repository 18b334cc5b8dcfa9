"""The calibrator: what it learns from validation images, and what it makes of others."""

import math

import pytest
import torch

from fashion_transfer.confidence import Calibrator, fit_temperature, metrics
from fashion_transfer.confidence.calibrator import FAMILIAR


def drawn(count: int = 400, classes: int = 4, several: bool = False):
    """Logits that are twice too sure, their labels and distances from 0 up to 1."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes + several, generator=generator)
    if several:
        logits[:, classes] -= 2
    labels = torch.multinomial(logits[:, :classes].softmax(1), 1, generator=generator)[:, 0]
    return 2 * logits, labels, torch.linspace(0, 1, count)


def fitted(**options) -> Calibrator:
    calibrator = Calibrator(4)
    calibrator.fit(*drawn(**options))
    return calibrator


def test_until_it_is_fitted_it_changes_nothing_and_finds_all_familiar():
    calibrator, (logits, _, _) = Calibrator(4), drawn()
    torch.testing.assert_close(calibrator(logits), logits.softmax(dim=1))
    assert calibrator.temperature == 1
    assert calibrator.familiar == math.inf
    assert calibrator.validation == {}


@pytest.mark.parametrize("several", [False, True])
def test_it_learns_temperature_distance_and_what_validation_was_like(several):
    logits, labels, distance = drawn(several=several)
    calibrator = fitted(several=several)
    expected = fit_temperature(logits, labels, careful=1.645)
    assert float(calibrator.temperature) == pytest.approx(expected)
    assert expected > 1.5
    assert float(calibrator.familiar) == pytest.approx(FAMILIAR)
    probabilities = (logits / calibrator.temperature).softmax(dim=1)[:, :4]
    kept = calibrator.validation
    assert torch.allclose(kept["confidence"].float(), probabilities.amax(dim=1))
    assert torch.equal(kept["right"], probabilities.argmax(dim=1) == labels)


def test_one_in_a_hundred_validation_images_is_unfamiliar():
    calibrator = Calibrator(4)
    logits, labels, _ = drawn(1000)
    calibrator.fit(logits, labels, torch.arange(1000.0))
    assert int((torch.arange(1000.0) > calibrator.familiar).sum()) == 10


def test_where_no_distance_is_known_all_stays_familiar():
    calibrator, (logits, labels, _) = Calibrator(4), drawn()
    calibrator.fit(logits, labels, torch.zeros(len(logits)))
    assert calibrator.familiar == math.inf
    assert calibrator.temperature > 1.5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_from_logits_that_are_not_finite_it_learns_nothing(value):
    calibrator = fitted()
    before = {name: part.clone() for name, part in calibrator.state_dict().items()}
    validation = calibrator.validation
    logits, labels, distance = drawn()
    logits[3, 1] = value
    calibrator.fit(logits, labels, distance)
    assert all(torch.equal(before[name], part) for name, part in calibrator.state_dict().items())
    assert calibrator.validation is validation


def test_probabilities_of_classes_leave_out_that_of_several_items():
    calibrator, (logits, _, _) = fitted(several=True), drawn(several=True)
    every, classes = calibrator(logits), calibrator.of_classes(logits)
    assert every.shape == (400, 5)
    assert torch.allclose(every.sum(dim=1), torch.ones(400))
    assert torch.equal(classes, every[:, :4])


def test_its_state_is_a_temperature_and_a_distance():
    calibrator, other = fitted(), Calibrator(4)
    other.load_state_dict(calibrator.state_dict())
    assert calibrator.state_dict().keys() == {"temperature", "familiar"}
    logits, _, _ = drawn()
    assert torch.equal(other(logits), calibrator(logits))


def test_it_measures_by_hand():
    calibrator = Calibrator(2)
    calibrator.temperature.fill_(2.0)
    calibrator.familiar.fill_(5.0)
    # Calibrated: 0.9, 0.75, 0.6, 0.9; the last is too far away, and wrong.
    odds = torch.tensor([9.0, 3.0, 1.5, 9.0])
    logits = torch.stack([2 * odds.log(), torch.zeros(4)], dim=1)
    labels, distance = torch.tensor([0, 0, 1, 1]), torch.tensor([1.0, 5.0, 1.0, 6.0])
    found = calibrator.measure(logits, labels, distance, threshold=0.7)
    assert found["warned"] == pytest.approx(0.5)
    assert found["selective_accuracy"] == 1
    assert (found["temperature"], found["threshold"]) == (2, 0.7)
    expected = -sum(map(math.log, (0.9, 0.75, 0.4, 0.1))) / 4
    assert found["nll"] == pytest.approx(expected, rel=1e-5)
    raw = logits.softmax(dim=1)
    assert found["nll_uncalibrated"] == pytest.approx(metrics.nll(raw, labels))
    assert found["brier"] == pytest.approx(2 * (0.01 + 0.0625 + 0.36 + 0.81) / 4, rel=1e-5)
    # Ranked: a right and a wrong one at 0.9 each count half, then a right and a wrong one.
    assert found["aurc"] == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 2 / 4) / 4, rel=1e-5)


def test_threshold_0_warns_of_nothing_as_the_policy_does():
    calibrator, (logits, labels, distance) = fitted(), drawn()
    found = calibrator.measure(logits, labels, 2 * distance, threshold=0)
    assert found["warned"] == 0
    right = logits.argmax(dim=1) == labels
    assert found["selective_accuracy"] == pytest.approx(right.double().mean().item())


def test_calibrated_numbers_are_better_than_uncalibrated_ones():
    calibrator = fitted()
    found = calibrator.measure(*drawn(), threshold=0.8)
    for name in ("ece", "adaptive_ece", "nll", "brier"):
        assert found[name] < found[f"{name}_uncalibrated"], name


def test_where_all_are_warned_of_there_is_no_selective_accuracy():
    found = fitted().measure(*drawn(), threshold=1)
    assert found["warned"] == 1
    assert "selective_accuracy" not in found
