"""Decisions: what is accepted, the reason of a warning, and how a reason is added."""

import math

import pytest
import torch

from fashion_transfer.confidence import REASONS, Prediction, accepted, decide, decision
from fashion_transfer.confidence.decision import (
    AMBIGUOUS,
    MULTI_ITEM,
    OOD,
    PHOTO_ADVICE,
    WARNING_REASONS,
    Evidence,
    WarningReason,
    warn,
)
from fashion_transfer.errors import ArgumentError

CLASS_NAMES = ("bag", "coat", "dress", "shirt")


def decide_one(
    probabilities: list[float], threshold: float = 0.8, ood: bool = False, limit: float = 1.0
) -> Prediction:
    ood_score = torch.tensor([2.0 if ood else 0.5])
    [prediction] = decide(torch.tensor([probabilities]), ood_score, CLASS_NAMES, threshold, limit)
    return prediction


def draw(count: int, columns: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(count, columns, generator=generator)
    return logits.softmax(dim=1), 2 * torch.rand(count, generator=generator)


# The rule


@pytest.mark.parametrize("threshold", [-0.1, 1.0001, 80, math.nan, math.inf, "auto", None, True])
def test_threshold_out_of_range_is_rejected_with_its_value(threshold):
    for call in (
        lambda: decide_one([1.0, 0.0, 0.0, 0.0], threshold),
        lambda: accepted(torch.ones(1), torch.zeros(1), threshold, 1.0),
        lambda: decide(torch.zeros(0, 4), torch.zeros(0), CLASS_NAMES, threshold, 1.0),
    ):
        with pytest.raises(ArgumentError, match="^threshold must be a number") as caught:
            call()
        assert str(caught.value).endswith(f"got {threshold!r}")


@pytest.mark.parametrize(
    ("confidence", "ood_score", "expected"),
    [
        (0.9, 0.5, True),
        (0.75, 1.0, True),  # both at their limits
        (0.7499, 0.5, False),
        (0.9, 1.0001, False),
        (0.5, 2.0, False),
        (math.nan, 0.5, False),
    ],
)
def test_accepted_takes_confidence_at_the_threshold_and_score_at_the_limit(
    confidence, ood_score, expected
):
    mask = accepted(torch.tensor([confidence]), torch.tensor([ood_score]), 0.75, 1.0)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [expected]


def test_accepted_compares_in_float64():
    # float32 has no 0.9: the nearest number is smaller.
    confidence, ood_score = torch.tensor([0.9]), torch.tensor([0.9])
    assert accepted(confidence, ood_score, 0.9, math.inf).tolist() == [False]
    assert accepted(confidence.double(), ood_score, 0.9, math.inf).tolist() == [False]
    assert accepted(torch.ones(1), ood_score, 0.9, 0.9).tolist() == [True]
    assert accepted(torch.ones(1), ood_score, 0.9, torch.tensor(0.9)).tolist() == [True]


def test_accepted_takes_any_score_where_the_limit_is_infinite():
    scores = torch.tensor([0.0, 1e30, math.inf])
    assert accepted(torch.ones(3), scores, 0.8, torch.tensor(math.inf)).all()


@pytest.mark.parametrize("threshold", [0, 0.0])
def test_threshold_0_accepts_everything(threshold):
    confidence = torch.tensor([0.0, 0.1, math.nan])
    assert accepted(confidence, torch.full((3,), 9.0), threshold, 1.0).tolist() == [True] * 3
    assert accepted(torch.zeros(0), torch.zeros(0), threshold, 1.0).tolist() == []


def test_accepted_rejects_scores_of_another_shape():
    for shape in ((), (1,), (3,), (2, 1)):
        with pytest.raises(ArgumentError, match="^ood_score must be"):
            accepted(torch.ones(2), torch.zeros(shape), 0.8, 1.0)


@pytest.mark.parametrize("threshold", [0, 0.3, 0.8, 1])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_decide_warns_exactly_where_accepted_is_false(threshold, dtype):
    probabilities, ood_score = draw(300)
    probabilities = probabilities.to(dtype)
    predictions = decide(probabilities, ood_score, CLASS_NAMES, threshold, torch.tensor(1.5))
    confidence = probabilities[:, :4].amax(dim=1)
    mask = accepted(confidence, ood_score, threshold, torch.tensor(1.5))
    assert [not prediction.warning for prediction in predictions] == mask.tolist()


# Predictions


def test_accepted_prediction_has_no_reason_and_no_message():
    prediction = decide_one([0.01, 0.9, 0.04, 0.05])
    assert prediction.label == "coat"
    assert prediction.confidence == pytest.approx(0.9)
    assert (prediction.warning, prediction.reason, prediction.message) == (False, "", "")


def test_confidence_under_the_threshold_gives_a_warning_with_its_reason():
    prediction = decide_one([0.1, 0.2, 0.4, 0.3])
    assert prediction.label == "dress"
    assert prediction.warning
    assert prediction.reason == "ambiguous"


def test_threshold_1_warns_unless_the_confidence_is_1():
    assert decide_one([0.9999, 0.0001, 0.0, 0.0], threshold=1).warning
    assert not decide_one([1.0, 0.0, 0.0, 0.0], threshold=1).warning


@pytest.mark.parametrize("ood", [False, True])
@pytest.mark.parametrize("probabilities", [[0.25] * 4, [0.01, 0.0, 0.0, 0.0, 0.99]])
def test_threshold_0_never_warns(probabilities, ood):
    prediction = decide_one(probabilities, threshold=0, ood=ood)
    assert (prediction.warning, prediction.reason, prediction.message) == (False, "", "")


def test_top_is_the_three_most_probable_classes_in_order():
    prediction = decide_one([0.1, 0.2, 0.4, 0.3])
    assert [label for label, _ in prediction.top] == ["dress", "shirt", "coat"]
    assert [value for _, value in prediction.top] == pytest.approx([0.4, 0.3, 0.2])
    assert prediction.top[0] == (prediction.label, prediction.confidence)


def test_top_of_two_classes_has_two():
    probabilities = torch.tensor([[0.3, 0.7]])
    [prediction] = decide(probabilities, torch.zeros(1), ["bag", "coat"], 0.8, math.inf)
    assert [label for label, _ in prediction.top] == ["coat", "bag"]


def test_decide_follows_the_order_of_the_batch():
    predictions = decide(torch.eye(4), torch.zeros(4), CLASS_NAMES, 0.8, math.inf)
    assert [prediction.label for prediction in predictions] == list(CLASS_NAMES)


def test_decide_takes_an_empty_batch():
    assert decide(torch.zeros(0, 4), torch.zeros(0), CLASS_NAMES, 0.8, math.inf) == []


def test_prediction_has_plain_values_and_is_immutable():
    prediction = decide_one([0.1, 0.2, 0.4, 0.3])
    assert type(prediction.confidence) is float
    assert type(prediction.warning) is bool
    with pytest.raises(AttributeError):
        prediction.label = "bag"


@pytest.mark.parametrize("columns", [4, 5])
def test_prediction_has_all_probabilities_by_label(columns):
    probabilities, ood_score = draw(3, columns)
    predictions = decide(probabilities, ood_score, CLASS_NAMES, 0.8, 1.0)
    for prediction, row in zip(predictions, probabilities.tolist(), strict=True):
        assert prediction.probabilities == tuple(row)
        assert len(prediction.probabilities) == columns
        label = CLASS_NAMES.index(prediction.label)
        assert prediction.probabilities[label] == prediction.confidence


def test_prediction_is_of_an_image_as_it_is_unless_someone_says_otherwise():
    prediction = decide_one([0.1, 0.2, 0.4, 0.3])
    assert prediction.prepared == "as it is"
    assert Prediction("bag", 1.0, (("bag", 1.0),), False).probabilities == ()


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 6)])
def test_decide_rejects_probabilities_that_do_not_match_the_class_names(shape):
    message = r"^probabilities must be \(B, 4\) or \(B, 5\) for 4 class names, got "
    with pytest.raises(ArgumentError, match=message):
        decide(torch.zeros(shape), torch.zeros(shape[0]), CLASS_NAMES, 0.8, 1.0)


def test_decide_needs_no_gradient():
    probabilities = torch.eye(4, requires_grad=True)
    assert len(decide(probabilities, probabilities[0], CLASS_NAMES, 0.8, 1.0)) == 4


# Reasons


@pytest.mark.parametrize(
    ("probabilities", "ood", "reason"),
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
def test_multi_item_precedes_ood_and_ood_precedes_ambiguous(probabilities, ood, reason):
    prediction = decide_one(probabilities, ood=ood)
    assert prediction.reason == reason
    assert prediction.warning == bool(reason)
    assert bool(prediction.message) == bool(reason)


def test_multi_item_does_not_warn_of_an_accepted_prediction():
    assert not decide_one([0.3, 0.1, 0.0, 0.0, 0.6], threshold=0.25).warning


def test_multi_item_probability_is_what_the_classes_lack_to_1():
    with_it, without = decide_one([0.1, 0.2, 0.1, 0.0, 0.6]), decide_one([0.1, 0.2, 0.1, 0.0])
    assert without == with_it._replace(probabilities=without.probabilities)
    assert without.reason == "several items"


def test_multi_item_probability_is_not_negative_where_rows_round_to_over_1():
    prediction = decide_one([0.5, 0.3005, 0.2, 0.0])
    assert prediction.reason == "ambiguous"
    # A fifth of 1, and not of more, is enough to be named.
    assert "(or coat or dress)" in prediction.message


def test_label_confidence_and_top_are_of_the_classes_alone():
    prediction = decide_one([0.1, 0.2, 0.05, 0.0, 0.65])
    assert (prediction.label, prediction.confidence) == ("coat", pytest.approx(0.2))
    assert [name for name, _ in prediction.top] == ["coat", "bag", "dress"]
    assert [p for _, p in prediction.top] == pytest.approx([0.2, 0.1, 0.05])


def test_reasons_are_the_names_of_the_table_in_order_of_precedence():
    assert REASONS == ("several items", "unfamiliar", "ambiguous") == (MULTI_ITEM, OOD, AMBIGUOUS)
    assert [reason.name for reason in WARNING_REASONS] == list(REASONS)


def test_last_reason_applies_to_every_image():
    ood = torch.tensor([False, True] * 3)
    images = Evidence(torch.tensor([[0.0, 1.0, math.nan]]).T.repeat(2, 1), torch.zeros(6), ood)
    assert WARNING_REASONS[-1].applies(images).tolist() == [True] * 6


@pytest.mark.parametrize(
    ("position", "expected"),
    [(0, ["a tie", "a tie", "a tie"]), (2, ["a tie", "unfamiliar", "several items"])],
)
def test_a_reason_is_added_by_one_entry_at_its_place(monkeypatch, position, expected):
    tie = WarningReason(
        name="a tie",
        applies=lambda images: images.values[:, 0] - images.values[:, 1] < 0.1,
        message=lambda image: f"{' and '.join(image.plausible)} are nearly as probable.",
    )
    reasons = (*WARNING_REASONS[:position], tie, *WARNING_REASONS[position:])
    monkeypatch.setattr(decision, "WARNING_REASONS", reasons)
    probabilities = torch.tensor([[0.5, 0.45, 0, 0], [0.5, 0.45, 0, 0], [0.3, 0.25, 0, 0]])
    ood_score = torch.tensor([0.0, 2.0, 0.0])
    predictions = decide(probabilities, ood_score, CLASS_NAMES, 0.8, 1.0)
    assert [prediction.reason for prediction in predictions] == expected
    assert predictions[0].message == "bag and coat are nearly as probable."
    assert not decide(probabilities[:1], ood_score[:1], CLASS_NAMES, 0.5, 1.0)[0].warning


@pytest.mark.parametrize("threshold", [0, 0.6, 1])
def test_warn_gives_the_position_of_the_reason_that_decide_gives(threshold):
    probabilities, ood_score = draw(300)
    positions = warn(probabilities, ood_score, 4, threshold, 1.0)
    assert positions.dtype == torch.int64
    predictions = decide(probabilities, ood_score, CLASS_NAMES, threshold, 1.0)
    expected = [REASONS.index(p.reason) + 1 if p.warning else 0 for p in predictions]
    assert positions.tolist() == expected
    assert threshold == 0 or set(expected) >= {1, 2, 3}


# Messages


def test_messages_are_these_sentences():
    assert decide_one([0.2, 0.09, 0.07, 0.04, 0.6]).message == (
        "The image may contain multiple items, perhaps bag and coat: show one clear, centred item."
    )
    assert decide_one([0.95, 0.05, 0.0, 0.0], ood=True).message == (
        "This looks like nothing the classifier has learned, so bag is a guess: the image may show "
        "something else, contain multiple items or be ambiguous."
    )
    assert decide_one([0.5, 0.3, 0.1, 0.1]).message == (
        "Only 50% sure that this is bag (or coat): the image may be ambiguous or contain multiple "
        "items. Try one clear, centred item."
    )


@pytest.mark.parametrize(
    ("probabilities", "ood", "advised"),
    [
        ([0.5, 0.3, 0.2, 0.0, 0.0], False, True),  # ambiguous
        ([0.9, 0.1, 0.0, 0.0, 0.0], True, True),  # unfamiliar
        ([0.2, 0.1, 0.1, 0.0, 0.6], False, False),  # several items: its message has its own advice
        ([0.9, 0.1, 0.0, 0.0, 0.0], False, False),  # no warning
    ],
)
def test_message_on_a_photo_says_what_helps(probabilities, ood, advised):
    batch, ood_score = torch.tensor([probabilities] * 2), torch.full((2,), 2.0 * ood)
    photo, other = decide(batch, ood_score, CLASS_NAMES, 0.8, 1.0, photos=[True, False])
    assert (PHOTO_ADVICE in photo.message) is advised
    assert PHOTO_ADVICE not in other.message
    assert photo._replace(message="") == other._replace(message="")
    assert "plain ground" in PHOTO_ADVICE
    assert "trained on photos" in PHOTO_ADVICE


def test_message_on_a_photo_advises_once():
    ood_score = torch.zeros(1)
    [photo] = decide(torch.tensor([[0.5, 0.3, 0.1, 0.1]]), ood_score, CLASS_NAMES, 0.8, 1.0, [True])
    assert photo.message == (
        "Only 50% sure that this is bag (or coat): the image may be ambiguous or contain multiple "
        f"items.{PHOTO_ADVICE}"
    )


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        # A fifth of the classes' total, 0.08, is enough to be named.
        ([0.2, 0.09, 0.07, 0.04, 0.6], "bag and coat"),
        ([0.15, 0.13, 0.12, 0.0, 0.6], "bag and coat and dress"),
        ([0.0, 0.06, 0.0, 0.04, 0.9], "coat and shirt"),
        ([0.38, 0.02, 0.0, 0.0, 0.6], ""),
    ],
)
def test_multi_item_message_names_the_items_if_more_than_one_is_plausible(probabilities, named):
    message = decide_one(probabilities).message
    assert message.startswith("The image may contain multiple items")
    assert message.partition("perhaps ")[2].partition(":")[0] == named
    assert all((name in message) == (name in named) for name in CLASS_NAMES)


@pytest.mark.parametrize(
    ("probabilities", "named"),
    [
        ([0.5, 0.3, 0.2, 0.0], " (or coat or dress)"),
        ([0.5, 0.3, 0.1, 0.1], " (or coat)"),
        ([0.7, 0.1, 0.1, 0.1], ""),
    ],
)
def test_ambiguous_message_names_the_other_plausible_classes(probabilities, named):
    message = decide_one(probabilities).message
    assert f"sure that this is bag{named}: the image may be ambiguous" in message
