import pytest
import torch

from fashion_transfer.confidence import Prediction, ThresholdPolicy
from fashion_transfer.errors import FashionTransferError

CLASSES = ("bag", "coat", "dress", "shirt")


def decide(probabilities: list[float], threshold: float = 0.8) -> Prediction:
    [found] = ThresholdPolicy(CLASSES, threshold)(torch.tensor([probabilities]))
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
    assert found.reason == "low confidence"


def test_the_message_names_the_label_and_says_what_may_be_wrong_with_the_image():
    message = decide([0.1, 0.2, 0.4, 0.3]).message
    assert "40%" in message
    assert "dress" in message
    assert "ambiguous" in message
    assert "several items" in message


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
