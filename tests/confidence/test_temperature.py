"""The temperature: the one that made the logits, the minimum of the NLL, and refusals."""

import math

import pytest
import torch

from fashion_transfer.confidence.temperature import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    fit_temperature,
)
from fashion_transfer.errors import ArgumentError


def nll(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> float:
    return float(torch.nn.functional.cross_entropy(logits.double() / temperature, labels))


def draw(count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of ten classes, and labels drawn with the probabilities they stand for."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 10, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def bisected(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The temperature as v0.1.0 fitted it: 60 halvings of the range of log T."""
    scores = logits.double() - logits.double().gather(1, labels[:, None])
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    for _ in range(60):
        middle = (low + high) / 2
        slope = ((scores / math.exp(middle)).softmax(1) * scores).sum(1).mean()
        low, high = (middle, high) if slope > 0 else (low, middle)
    return math.exp((low + high) / 2)


def test_fit_temperature_makes_the_confidence_of_two_classes_their_accuracy():
    # Four of five correct: softmax((s, 0) / T) = 0.8 at s / T = log 4.
    logits = torch.tensor([[3.0, 0.0]]).repeat(5, 1)
    labels = torch.tensor([0, 0, 1, 0, 0])
    assert fit_temperature(logits, labels) == pytest.approx(3 / math.log(4), rel=1e-9)


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_fit_temperature_recovers_the_scale_of_the_logits(scale):
    logits, labels = draw()
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale, rel=0.03)


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0, 1e3])
def test_fit_temperature_equals_bisection(scale):
    logits, labels = draw(300)
    expected = bisected(scale * logits, labels)
    assert fit_temperature(scale * logits, labels) == pytest.approx(expected, rel=1e-9)


def test_fit_temperature_minimises_the_nll():
    logits, labels = draw(300)
    temperature = fit_temperature(3 * logits, labels)
    lowest = nll(3 * logits, labels, temperature)
    assert lowest < nll(3 * logits, labels, 1)
    others = [nll(3 * logits, labels, temperature * by) for by in (0.5, 0.99, 1.01, 2)]
    assert all(lowest < other for other in others)


def test_fit_temperature_ignores_a_constant_added_to_a_row():
    logits, labels = draw(200)
    shift = torch.linspace(-50, 50, 200, dtype=torch.float64)[:, None]
    expected = fit_temperature(logits.double(), labels)
    assert fit_temperature(logits.double() + shift, labels) == pytest.approx(expected)


@pytest.mark.parametrize(("label", "expected"), [(0, MIN_TEMPERATURE), (1, MAX_TEMPERATURE)])
def test_fit_temperature_ends_at_its_range_where_all_or_none_are_correct(label, expected):
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    temperature = fit_temperature(logits, torch.full((2,), label))
    assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE
    assert temperature == pytest.approx(expected)


@pytest.mark.parametrize("classes", [1, 3])
def test_fit_temperature_is_1_where_no_temperature_changes_anything(classes):
    assert fit_temperature(torch.full((4, classes), 7.0), torch.zeros(4, dtype=torch.long)) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_fit_temperature_takes_any_precision_and_huge_logits(dtype):
    logits, labels = draw(2000)
    assert fit_temperature(logits.to(dtype), labels.int()) == pytest.approx(1, rel=0.1)
    huge = torch.tensor([[3e4, -3e4], [3e4, -3e4]], dtype=dtype)
    assert fit_temperature(huge, torch.tensor([0, 1])) == pytest.approx(MAX_TEMPERATURE)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_standard_errors_raise_the_temperature_less_with_more_images(scale):
    logits, labels = draw(10_000)
    shifts = []
    for count in (100, 10_000):
        best, one, two = (
            fit_temperature(scale * logits[:count], labels[:count], standard_errors=errors)
            for errors in (0, 1, 2)
        )
        assert best < one < two
        # They are of 1 / T.
        assert 1 / best - 1 / two == pytest.approx(2 * (1 / best - 1 / one))
        shifts.append(1 / best - 1 / one)
    assert shifts[0] / shifts[1] == pytest.approx(10, rel=0.3)


def test_standard_errors_are_the_spread_of_fits_to_other_images():
    logits, labels = draw()
    logits = 2 * logits
    parts = list(zip(logits.split(200), labels.split(200), strict=True))
    inverses = torch.tensor([1 / fit_temperature(*part) for part in parts])
    errors = [1 / fit_temperature(*part) - 1 / fit_temperature(*part, 1) for part in parts]
    assert torch.tensor(errors).mean() == pytest.approx(float(inverses.std()), rel=0.15)


def test_standard_errors_leave_the_temperature_in_its_range():
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    for label in (0, 1):
        temperature = fit_temperature(logits, torch.full((2,), label), standard_errors=5)
        assert MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE


def test_fit_temperature_leaves_no_gradient_on_the_logits():
    logits = torch.randn(5, 3, requires_grad=True)
    assert isinstance(fit_temperature(logits, torch.tensor([0, 1, 2, 0, 1])), float)
    assert logits.grad is None


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), r"^logits must .*\(0, 3\)"),
        (torch.zeros(2, 0), torch.zeros(2, dtype=torch.long), r"^logits must .*\(2, 0\)"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.long), r"^logits must .*\(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), r"^logits must .*\(3,\)"),
        (torch.zeros(2, 3), torch.zeros(2), "^labels must .*float32"),
        (torch.zeros(2, 3), torch.tensor([True, False]), "^labels must .*bool"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "^labels must .*0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "^labels must .*-1 to 0"),
        (torch.tensor([[0, math.nan], [0, 1]]), torch.tensor([0, 1]), "^logits must .*1 of 2"),
        (
            torch.tensor([[0, math.inf], [0, -math.inf]]),
            torch.tensor([0, 1]),
            "^logits must .*2 of 2",
        ),
    ],
)
def test_fit_temperature_rejects_what_it_cannot_fit(logits, labels, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        fit_temperature(logits, labels)
    assert "\n" not in str(caught.value)
