"""The temperature: the one that made the logits, the best there is, and refusals.

The threshold: by hand.
"""

import math

import pytest
import torch

from fashion_transfer.confidence.calibration import (
    HIGHEST,
    LOWEST,
    fit_temperature,
    fit_threshold,
)
from fashion_transfer.errors import FashionTransferError


def nll(logits: torch.Tensor, labels: torch.Tensor, temperature: float) -> float:
    return float(torch.nn.functional.cross_entropy(logits.double() / temperature, labels))


def drawn(count: int = 20_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of ten classes, and labels drawn with the probabilities they stand for."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, 10, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def test_two_classes_of_one_confidence_end_at_the_accuracy():
    # Four of five right: softmax((s, 0) / T) = 0.8 at s / T = log 4.
    logits = torch.tensor([[3.0, 0.0]]).repeat(5, 1)
    labels = torch.tensor([0, 0, 1, 0, 0])
    assert fit_temperature(logits, labels) == pytest.approx(3 / math.log(4), rel=1e-9)


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_it_finds_the_scale_of_the_logits(scale):
    logits, labels = drawn()
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale, rel=0.03)


def test_no_temperature_beside_it_has_a_lower_nll():
    logits, labels = drawn(300)
    found = fit_temperature(3 * logits, labels)
    best = nll(3 * logits, labels, found)
    assert best < nll(3 * logits, labels, 1)
    assert all(best < nll(3 * logits, labels, found * by) for by in (0.5, 0.99, 1.01, 2))


def test_a_constant_added_to_a_row_changes_nothing():
    logits, labels = drawn(200)
    shift = torch.linspace(-50, 50, 200, dtype=torch.float64)[:, None]
    expected = fit_temperature(logits.double(), labels)
    assert fit_temperature(logits.double() + shift, labels) == pytest.approx(expected)


@pytest.mark.parametrize(("label", "expected"), [(0, LOWEST), (1, HIGHEST)])
def test_where_all_or_none_are_right_it_stays_within_its_range(label, expected):
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    found = fit_temperature(logits, torch.full((2,), label))
    assert LOWEST <= found <= HIGHEST
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("classes", [1, 3])
def test_it_is_1_where_no_temperature_changes_anything(classes):
    assert fit_temperature(torch.full((4, classes), 7.0), torch.zeros(4, dtype=torch.long)) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_precision_will_do_and_huge_logits_do_not_overflow(dtype):
    logits, labels = drawn(2000)
    assert fit_temperature(logits.to(dtype), labels.int()) == pytest.approx(1, rel=0.1)
    huge = torch.tensor([[3e4, -3e4], [3e4, -3e4]], dtype=dtype)
    assert fit_temperature(huge, torch.tensor([0, 1])) == pytest.approx(HIGHEST)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_a_careful_temperature_is_higher_and_the_less_so_the_more_images(scale):
    logits, labels = drawn(10_000)
    over = []
    for count in (100, 10_000):
        plain, careful, more = (
            fit_temperature(scale * logits[:count], labels[:count], careful=c) for c in (0, 1, 2)
        )
        assert plain < careful < more
        # Standard errors are of 1 / T.
        assert 1 / plain - 1 / more == pytest.approx(2 * (1 / plain - 1 / careful))
        over.append(1 / plain - 1 / careful)
    assert over[0] / over[1] == pytest.approx(10, rel=0.3)


def test_a_careful_temperature_stays_within_its_range():
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    for label in (0, 1):
        found = fit_temperature(logits, torch.full((2,), label), careful=5)
        assert LOWEST <= found <= HIGHEST


def test_logits_that_are_trained_get_no_gradient():
    logits = torch.randn(5, 3, requires_grad=True)
    assert isinstance(fit_temperature(logits, torch.tensor([0, 1, 2, 0, 1])), float)
    assert logits.grad is None


@pytest.mark.parametrize(
    ("logits", "labels", "told"),
    [
        (torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), r"\(0, 3\)"),
        (torch.zeros(2, 0), torch.zeros(2, dtype=torch.long), r"\(2, 0\)"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.long), r"\(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), r"\(3,\)"),
        (torch.zeros(2, 3), torch.zeros(2), "float32"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "0 to 3"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "-1 to 0"),
        (torch.tensor([[0, math.nan], [0, 1]]), torch.tensor([0, 1]), "1 of 2"),
        (torch.tensor([[0, math.inf], [0, -math.inf]]), torch.tensor([0, 1]), "2 of 2"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_its_value(logits, labels, told):
    with pytest.raises(FashionTransferError, match=told) as caught:
        fit_temperature(logits, labels)
    assert "\n" not in str(caught.value)


# The threshold


CONFIDENCE = torch.tensor([0.5, 0.9, 0.6, 0.8, 0.7])  # sorted: right, right, wrong, right, wrong
RIGHT = torch.tensor([False, True, True, True, False])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(1.0, 0.8), (0.76, 0.8), (0.75, 0.6), (0.7, 0.6), (0.61, 0.6), (0.6, 0.5), (0.0, 0.5)],
)
def test_the_lowest_threshold_that_reaches_the_accuracy_is_taken(wanted, expected):
    # Accuracy of the most confident one, two … five: 1, 1, 2/3, 3/4, 3/5.
    found = fit_threshold(CONFIDENCE, RIGHT, selective_accuracy=wanted)
    assert found == pytest.approx(expected)
    answered = CONFIDENCE.double() >= found
    assert RIGHT[answered].double().mean() >= wanted


def test_answers_of_one_confidence_are_taken_or_left_together():
    confidence = torch.tensor([0.9, 0.7, 0.7, 0.7, 0.6])
    right = torch.tensor([True, True, True, False, False])
    # Down to 0.7: three of four. The first two of its three would be better, whatever the order.
    for order in ([0, 1, 2, 3, 4], [3, 2, 4, 1, 0]):
        found = [fit_threshold(confidence[order], right[order], want) for want in (0.75, 0.9)]
        assert found == pytest.approx([0.7, 0.9])


@pytest.mark.parametrize(
    ("warned", "expected"), [(0.0, 0.5), (0.2, 0.6), (0.4, 0.7), (0.6, 0.8), (0.8, 0.9)]
)
def test_that_fraction_is_warned_of(warned, expected):
    found = fit_threshold(CONFIDENCE, RIGHT, warned=warned)
    assert found == pytest.approx(expected)
    assert (CONFIDENCE.double() < found).double().mean() == pytest.approx(warned)


@pytest.mark.parametrize("warned", [0.01, 0.03, 0.12, 0.5, 0.997])
def test_that_fraction_of_many_is_warned_of_to_an_image(warned):
    confidence = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    found = fit_threshold(confidence, confidence > 0.5, warned=warned)
    assert int((confidence.double() < found).sum()) == round(1000 * warned)


def test_of_one_confidence_no_more_than_the_fraction_are_warned_of():
    confidence = torch.tensor([0.9, 0.7, 0.7, 0.7])
    found = fit_threshold(confidence, torch.ones(4, dtype=torch.bool), warned=0.5)
    assert found == pytest.approx(0.7)


def test_a_wanted_fraction_goes_before_a_wanted_accuracy():
    given = {"selective_accuracy": 1.0, "warned": 0.2}
    assert fit_threshold(CONFIDENCE, RIGHT, **given) == pytest.approx(0.6)


@pytest.mark.parametrize("count", [1, 3, 30])
def test_an_accuracy_that_no_threshold_reaches_is_an_error_that_says_what_was_found(count):
    confidence = torch.linspace(0.1, 0.9, count)
    told = rf"accuracy of 0\.97 .* the most confident {max(1, count // 10)} reach 0\.000"
    with pytest.raises(FashionTransferError, match=told):
        fit_threshold(confidence, torch.zeros(count, dtype=torch.bool))


@pytest.mark.parametrize("options", [{}, {"warned": 0.3}])
def test_one_image_is_enough_and_none_is_an_error(options):
    found = fit_threshold(torch.tensor([0.7]), torch.tensor([True]), **options)
    assert found == pytest.approx(0.7)
    with pytest.raises(FashionTransferError, match="0 validation images"):
        fit_threshold(torch.zeros(0), torch.zeros(0, dtype=torch.bool), **options)


@pytest.mark.parametrize("name", ["selective_accuracy", "warned"])
@pytest.mark.parametrize("value", [-0.1, 1.1, 97, math.nan])
def test_a_fraction_out_of_range_is_refused_with_its_value(name, value):
    with pytest.raises(FashionTransferError, match=f"asked for {value}"):
        fit_threshold(CONFIDENCE, RIGHT, **{name: value})


@pytest.mark.parametrize("options", [{"selective_accuracy": None}, {"warned": "many"}])
def test_what_is_no_fraction_is_refused(options):
    with pytest.raises(FashionTransferError, match="threshold=auto"):
        fit_threshold(CONFIDENCE, RIGHT, **options)


def test_confidences_that_do_not_fit_their_answers_are_refused():
    with pytest.raises(FashionTransferError, match="threshold=auto"):
        fit_threshold(CONFIDENCE, RIGHT[:3])
