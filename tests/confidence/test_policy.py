import pytest
import torch

from fashion_transfer.confidence import Prediction, ThresholdPolicy
from fashion_transfer.errors import FashionTransferError

CLASSES = ("bag", "coat", "dress", "shirt")


def decide(
    probabilities: list[float], threshold: float = 0.8, unfamiliar: bool = False
) -> Prediction:
    policy = ThresholdPolicy(CLASSES, threshold)
    [found] = policy(torch.tensor([probabilities]), torch.tensor([unfamiliar]))
    return found


@pytest.mark.parametrize("threshold", [-0.1, 1.0001, 80, float("nan"), float("inf")])
def test_a_threshold_out_of_range_is_refused_with_its_value(threshold):
    with pytest.raises(FashionTransferError, match=r"policy\.threshold") as caught:
        ThresholdPolicy(CLASSES, threshold)
    assert str(threshold) in str(caught.value)


@pytest.mark.parametrize("threshold", [0, 0.0, 0.5, 1, 1.0])
def test_a_threshold_from_0_to_1_is_taken(threshold):
    assert ThresholdPolicy(CLASSES, threshold).threshold == threshold


def test_the_threshold_is_the_reference_notebooks_unless_told_otherwise():
    assert ThresholdPolicy(CLASSES).threshold == 0.8


def test_a_sure_answer_carries_no_warning():
    found = decide([0.01, 0.9, 0.04, 0.05])
    assert (found.label, found.warning, found.reason, found.message) == ("coat", False, "", "")
    assert found.confidence == pytest.approx(0.9)


def test_a_doubtful_answer_carries_a_warning_with_its_reason():
    found = decide([0.1, 0.2, 0.4, 0.3])
    assert found.label == "dress"
    assert found.warning
    assert found.reason == "ambiguous"


def test_the_message_names_the_label_and_says_what_may_be_wrong_with_the_image():
    message = decide([0.1, 0.2, 0.4, 0.3]).message
    assert "40%" in message
    assert "dress" in message
    assert "ambiguous" in message
    assert "multiple items" in message


def test_confidence_equal_to_the_threshold_is_enough():
    # 0.75 is the same number in float32 and in Python's float.
    assert not decide([0.75, 0.25, 0.0, 0.0], threshold=0.75).warning
    assert decide([0.7499, 0.2501, 0.0, 0.0], threshold=0.75).warning


def test_threshold_0_never_warns():
    assert not decide([0.25, 0.25, 0.25, 0.25], threshold=0).warning


def test_threshold_1_warns_unless_the_classifier_is_certain():
    assert decide([0.9999, 0.0001, 0.0, 0.0], threshold=1).warning
    assert not decide([1.0, 0.0, 0.0, 0.0], threshold=1).warning


def test_the_three_most_probable_classes_come_in_order():
    found = decide([0.1, 0.2, 0.4, 0.3])
    assert [label for label, _ in found.top] == ["dress", "shirt", "coat"]
    assert [value for _, value in found.top] == pytest.approx([0.4, 0.3, 0.2])
    assert found.top[0] == (found.label, found.confidence)


def test_two_classes_give_two_answers():
    [found] = ThresholdPolicy(("bag", "coat"))(torch.tensor([[0.3, 0.7]]))
    assert [label for label, _ in found.top] == ["coat", "bag"]


def test_a_batch_keeps_its_order():
    found = ThresholdPolicy(CLASSES)(torch.eye(4))
    assert [prediction.label for prediction in found] == list(CLASSES)


def test_an_empty_batch_gives_no_answers():
    assert ThresholdPolicy(CLASSES)(torch.zeros(0, 4)) == []


def test_a_prediction_holds_plain_values_and_does_not_change():
    found = decide([0.1, 0.2, 0.4, 0.3])
    assert type(found.confidence) is float
    assert type(found.warning) is bool
    with pytest.raises(AttributeError):
        found.label = "bag"


# Reasons


@pytest.mark.parametrize(
    ("probabilities", "unfamiliar", "reason"),
    [
        ([0.9, 0.1, 0.0, 0.0, 0.0], False, ""),
        ([0.9, 0.1, 0.0, 0.0, 0.0], True, "unfamiliar"),
        ([0.5, 0.4, 0.0, 0.0, 0.1], False, "ambiguous"),
        ([0.5, 0.4, 0.0, 0.0, 0.1], True, "unfamiliar"),
        ([0.25, 0.25, 0.0, 0.0, 0.5], False, "several items"),
        ([0.25, 0.25, 0.0, 0.0, 0.5], True, "several items"),
        ([0.375, 0.25, 0.0, 0.0, 0.375], False, "ambiguous"),  # as probable as the class
        ([0.375, 0.25, 0.0, 0.0, 0.375], True, "unfamiliar"),
        ([0.0, 0.0, 0.0, 0.0, 1.0], False, "several items"),
    ],
)
def test_several_items_come_before_unfamiliar_and_that_before_ambiguous(
    probabilities, unfamiliar, reason
):
    found = decide(probabilities, unfamiliar=unfamiliar)
    assert found.reason == reason
    assert found.warning == bool(reason)
    assert bool(found.message) == bool(reason)


def test_probabilities_that_lack_that_of_several_items_say_it_by_their_sum():
    with_it, without = decide([0.1, 0.2, 0.1, 0.0, 0.6]), decide([0.1, 0.2, 0.1, 0.0])
    assert without == with_it
    assert without.reason == "several items"


def test_rounding_beyond_1_is_not_several_items():
    assert decide([0.5, 0.3, 0.2001, 0.0]).reason == "ambiguous"


def test_label_confidence_and_top_are_of_the_classes_alone():
    found = decide([0.1, 0.2, 0.05, 0.0, 0.65])
    assert (found.label, found.confidence) == ("coat", pytest.approx(0.2))
    assert [name for name, _ in found.top] == ["coat", "bag", "dress"]
    assert [p for _, p in found.top] == pytest.approx([0.2, 0.1, 0.05])


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        # A fifth of what the classes have, 0.08, is enough to be named.
        ([0.2, 0.09, 0.07, 0.04, 0.6], "bag and coat"),
        ([0.15, 0.13, 0.12, 0.0, 0.6], "bag and coat and dress"),
        ([0.0, 0.06, 0.0, 0.04, 0.9], "coat and shirt"),
        ([0.38, 0.02, 0.0, 0.0, 0.6], ""),
    ],
)
def test_the_items_are_named_where_more_than_one_can_be(probabilities, named):
    message = decide(probabilities).message
    assert message.startswith("The image may contain multiple items")
    assert message.partition("perhaps ")[2].partition(":")[0] == named
    assert all((name in message) == (name in named) for name in CLASSES)


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        ([0.5, 0.3, 0.2, 0.0], " (or coat or dress)"),
        ([0.5, 0.3, 0.1, 0.1], " (or coat)"),
        ([0.7, 0.1, 0.1, 0.1], ""),
    ],
)
def test_what_else_it_may_be_is_named_where_it_is_ambiguous(probabilities, named):
    message = decide(probabilities).message
    assert f"sure that this is bag{named}: the image may be ambiguous" in message


def test_of_an_unfamiliar_image_the_label_is_called_a_guess():
    message = decide([0.95, 0.05, 0.0, 0.0], unfamiliar=True).message
    assert "nothing the classifier has learned" in message
    assert "bag is a guess" in message
    assert "multiple items" in message


@pytest.mark.parametrize("unfamiliar", [False, True])
@pytest.mark.parametrize("probabilities", [[0.25] * 4, [0.01, 0.0, 0.0, 0.0, 0.99]])
def test_threshold_0_never_warns_whatever_the_image(probabilities, unfamiliar):
    found = decide(probabilities, threshold=0, unfamiliar=unfamiliar)
    assert (found.warning, found.reason, found.message) == (False, "", "")


def test_unless_told_otherwise_every_image_is_familiar():
    policy, probabilities = ThresholdPolicy(CLASSES), torch.eye(4)
    assert policy(probabilities) == policy(probabilities, torch.zeros(4, dtype=torch.bool))
    reasons = [p.reason for p in policy(probabilities, torch.tensor([False, True, False, True]))]
    assert reasons == ["", "unfamiliar", "", "unfamiliar"]


@pytest.mark.parametrize("threshold", ["auto", "high", None])
def test_a_threshold_that_is_no_number_is_refused(threshold):
    with pytest.raises(FashionTransferError, match=r"policy\.threshold"):
        ThresholdPolicy(CLASSES, threshold)
