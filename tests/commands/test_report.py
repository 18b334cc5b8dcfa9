"""What warnings are worth: counted by hand from answers made by hand, and beside the plain rule."""

import pytest
import torch

from fashion_transfer.commands import report
from fashion_transfer.commands.report import SINGLE, Answers
from fashion_transfer.confidence import Prediction, ThresholdPolicy
from fashion_transfer.data import CLASSES, HELD_OUT_LAYOUTS, LAYOUTS, TRAINED_LAYOUTS

SURE = [0.9, 0.1, 0.0]  # of three classes
DOUBTFUL = [0.5, 0.5, 0.0]
SEVERAL = [0.2, 0.1, 0.0]


def answered(*rows: list[float], labels: list[int] | None = None) -> Answers:
    probabilities = torch.tensor(rows, dtype=torch.float64)
    predictions = ThresholdPolicy(CLASSES[:3])(probabilities)
    told = torch.tensor(labels or [0] * len(rows))
    return Answers(probabilities, probabilities, predictions, told)


@pytest.fixture
def found() -> dict[str, Answers]:
    """Answers of every kind: layouts that were trained on are all told, the others half of them."""
    kinds = {SINGLE: answered(SURE, SURE, SURE, DOUBTFUL, labels=[0, 0, 1, 0])}
    for name in LAYOUTS:
        second = SEVERAL if name in TRAINED_LAYOUTS else SURE
        kinds[f"multi/{name}"] = answered(SEVERAL, second, labels=[2, 2])
        kinds[f"control/{name}"] = answered(SURE, DOUBTFUL, labels=[0, 2])
    kinds["unfamiliar/noise"] = answered(SURE, DOUBTFUL)
    kinds["unfamiliar/digits"] = answered(DOUBTFUL, DOUBTFUL)
    return kinds


def test_fractions_with_a_warning_and_with_one_for_a_reason():
    kind = answered(SURE, SEVERAL, DOUBTFUL, SEVERAL)
    assert kind.warned() == 0.75
    assert kind.warned("several items") == 0.5
    assert kind.warned("ambiguous") == 0.25
    assert kind.warned("unfamiliar") == 0
    assert kind.confidence.tolist() == pytest.approx([0.9, 0.2, 0.5, 0.2])


def test_numbers_are_as_counted_by_hand(found):
    told = report.numbers(found)
    for name in LAYOUTS:
        assert told[f"multi/{name}/warned"] == (1 if name in TRAINED_LAYOUTS else 0.5)
        assert told[f"control/{name}/warned"] == 0.5
    assert told["multi/trained/warned"] == 1
    assert told["multi/held_out/warned"] == 0.5
    share = len(TRAINED_LAYOUTS) / len(LAYOUTS)
    assert told["multi/several_items"] == pytest.approx(share + 0.5 * (1 - share))
    assert told["control/warned"] == told["control/trained/warned"] == 0.5
    assert told["control/held_out/warned"] == 0.5
    assert told["control/accuracy"] == 0.5
    assert told["single/warned"] == 0.25
    assert told["control/warned_over_single"] == 0.25
    assert told["single/selective_accuracy"] == pytest.approx(2 / 3)
    assert told["unfamiliar/noise/warned"] == 0.5
    assert told["unfamiliar/warned"] == 0.75
    # A multi-item image of 0.2 is under both controls, one of 0.9 ties with one of them.
    low = (1 + share) / 2
    assert told["multi/auroc"] == pytest.approx(low + (1 - low) * 0.25)
    assert all(isinstance(value, float | int) for value in told.values())


def test_each_layout_counts_as_much_as_another(found):
    few = found["multi/stacked"]
    many = answered(*[SURE] * 30, labels=[2] * 30)
    before = report.numbers(found)["multi/trained/warned"]
    after = report.numbers(found | {"multi/stacked": many})["multi/trained/warned"]
    assert len(few.predictions) == 2
    assert before - after == pytest.approx(1 / len(TRAINED_LAYOUTS))


def test_where_every_single_image_is_warned_of_there_is_no_selective_accuracy(found):
    told = report.numbers(found | {SINGLE: answered(DOUBTFUL, DOUBTFUL)})
    assert told["single/warned"] == 1
    assert "single/selective_accuracy" not in told


def test_the_reference_rule_is_80_per_cent_of_probabilities_as_they_come():
    raw = torch.tensor([[0.85, 0.1, 0.05], [0.75, 0.2, 0.05], [0.8, 0.15, 0.05]])
    silent = [Prediction("a", 1.0, (("a", 1.0),), warning=False)] * 3
    given = Answers(raw, torch.full((3, 3), 1 / 3), silent, torch.zeros(3, dtype=torch.long))
    plain = report.plain_rule({"kind": given})["kind"]
    assert [p.warning for p in plain.predictions] == [False, True, raw[2, 0].item() < 0.8]
    assert {p.reason for p in plain.predictions} <= {"", "ambiguous"}
    assert torch.equal(plain.calibrated, raw)
    assert torch.equal(plain.labels, given.labels)


def test_kinds_are_the_trained_and_the_held_out_layouts(found):
    assert not set(TRAINED_LAYOUTS) & set(HELD_OUT_LAYOUTS)
    assert {f"multi/{n}" for n in (*TRAINED_LAYOUTS, *HELD_OUT_LAYOUTS)} < set(found)
