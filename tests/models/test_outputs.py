import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics.classification import MulticlassAccuracy

from fashion_transfer.confidence import Calibrator, decide, metrics
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.models import OutputCollector, Outputs, single_item_metrics, slug
from fashion_transfer.models.outputs import METRICS, class_keys, validation_metrics

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


def draw_outputs(count: int, logits: int = 10, seed: int = 0) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (count,), generator=generator)
    values = 2 * torch.randn(count, logits, generator=generator)
    values[torch.arange(count), labels] += 2  # correct more often than not
    return Outputs(values, torch.rand(count, generator=generator), labels)


def equal(first: Outputs, second: Outputs) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def calibrator() -> Calibrator:
    """As fitted: temperature 1.7, and a tenth of the images over the OOD limit."""
    calibrator = Calibrator(10)
    calibrator.temperature.fill_(1.7)
    calibrator.ood_limit.fill_(0.9)
    return calibrator


# ---- collecting


def test_collector_joins_batches_in_order():
    outputs = draw_outputs(10)
    collector = OutputCollector()
    for rows in (slice(0, 7), slice(7, 10)):
        collector.update(*(part[rows] for part in outputs))
    assert equal(collector.take(), outputs)


def test_collector_begins_anew_after_take():
    first, second = draw_outputs(4), draw_outputs(6, seed=1)
    collector = OutputCollector()
    for outputs in (first, second):
        collector.update(*outputs)
        assert equal(collector.take(), outputs)


def test_collector_gives_one_image_in_the_shape_of_many():
    outputs = draw_outputs(1)
    collector = OutputCollector()
    collector.update(*outputs)
    assert [part.shape for part in collector.take()] == [(1, 10), (1,), (1,)]


def test_collector_joins_the_outputs_of_processes_and_goes_on():
    mine, theirs = draw_outputs(5), draw_outputs(3, seed=1)
    collector = OutputCollector()
    remaining = iter(())

    def gather(tensor, group=None):  # torchmetrics calls it for one state after the other
        return [tensor, next(remaining)]

    collector.distributed_available_fn = lambda: True
    collector.dist_sync_fn = gather
    expected = Outputs(*(torch.cat(pair) for pair in zip(mine, theirs, strict=True)))
    for _ in range(2):
        remaining = iter(theirs)
        collector.update(*(part[:2] for part in mine))
        collector.update(*(part[2:] for part in mine))
        assert equal(collector.take(), expected)


def test_collector_takes_logits_of_half_precision_as_float32():
    outputs = draw_outputs(3)
    collector = OutputCollector()
    collector.update(outputs.logits.bfloat16(), outputs.ood_score, outputs.labels)
    assert collector.take().logits.dtype == torch.float32


def test_collector_adds_nothing_to_a_state_dict():
    collector = OutputCollector()
    collector.update(*draw_outputs(3))
    assert collector.state_dict() == {}


# ---- metrics


def expected_calibration_error(probabilities: torch.Tensor, correct: np.ndarray) -> float:
    """Over 15 bins of equal width: the mean distance of accuracy from confidence."""
    confidence = probabilities.amax(dim=1).numpy()
    bins = np.ceil(confidence * 15)
    gaps = [abs(np.sum(correct[bins == b]) - np.sum(confidence[bins == b])) for b in range(1, 16)]
    return np.sum(gaps) / len(correct)


def _coverage(confidence, correct, risk) -> float:
    return metrics.coverage_at_risk(confidence, torch.from_numpy(correct), risk)


@pytest.mark.parametrize("logits", [10, 11])
def test_metrics_are_as_computed_by_hand(calibrator, logits):
    outputs = draw_outputs(300, logits)
    results = single_item_metrics(outputs, CLASS_NAMES, calibrator, threshold=0.6)
    labels = outputs.labels
    correct = (outputs.logits[:, :10].argmax(dim=1) == labels).numpy()
    per_class = {
        f"accuracy/{name}": np.mean(correct[labels.numpy() == label])
        for label, name in enumerate(SLUGS)
    }
    probabilities = {
        "": (outputs.logits / 1.7).softmax(dim=1)[:, :10],
        "_uncalibrated": outputs.logits.softmax(dim=1)[:, :10],
    }
    confidence = probabilities[""].amax(dim=1)
    accepted = ((confidence >= 0.6) & (outputs.ood_score <= 0.9)).numpy()
    expected = {
        "loss": F.cross_entropy(outputs.logits, labels).item(),
        "accuracy": correct.mean(),
        "macro_accuracy": np.mean(list(per_class.values())),
        **per_class,
        "aurc": metrics.aurc(confidence, torch.from_numpy(correct)),
        "augrc": metrics.augrc(confidence, torch.from_numpy(correct)),
        "coverage_at_1_percent_risk": _coverage(confidence, correct, 0.01),
        "coverage_at_3_percent_risk": _coverage(confidence, correct, 0.03),
        "warned": 1 - accepted.mean(),
        "selective_accuracy": correct[accepted].mean(),
        "temperature": 1.7,
        "threshold": 0.6,
    }
    for name, values in probabilities.items():
        expected |= {
            f"ece{name}": expected_calibration_error(values, correct),
            f"adaptive_ece{name}": metrics.adaptive_ece(values, labels),
            f"nll{name}": metrics.nll(values, labels),
            f"brier{name}": metrics.brier(values, labels),
        }
    assert results == pytest.approx(expected, abs=1e-5)
    assert all(type(value) is float for value in results.values())
    assert 0 < results["warned"] < 1


def test_accuracy_is_over_the_classes_alone(calibrator):
    outputs = draw_outputs(100)
    certain = torch.full((100, 1), 50.0)  # of several items
    more = outputs._replace(logits=torch.cat([outputs.logits, certain], dim=1))
    without, with_more = (
        single_item_metrics(o, CLASS_NAMES, calibrator, 0.6) for o in (outputs, more)
    )
    names = [name for name in without if "accuracy" in name and "selective" not in name]
    assert len(names) == 12
    assert {name: with_more[name] for name in names} == {name: without[name] for name in names}


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_warned_is_the_rate_of_the_decisions(calibrator, threshold):
    outputs = draw_outputs(200, 11)
    predictions = decide(
        calibrator(outputs.logits), outputs.ood_score, CLASS_NAMES, threshold, calibrator.ood_limit
    )
    results = single_item_metrics(outputs, CLASS_NAMES, calibrator, threshold)
    assert results["warned"] == pytest.approx(np.mean([p.warning for p in predictions]))


def test_without_an_accepted_image_there_is_no_selective_accuracy(calibrator):
    results = single_item_metrics(draw_outputs(20), CLASS_NAMES, calibrator, threshold=1.0)
    assert results["warned"] == 1
    assert "selective_accuracy" not in results


def test_metrics_of_one_image(calibrator):
    results = single_item_metrics(draw_outputs(1), CLASS_NAMES, calibrator, threshold=0.5)
    assert results["accuracy"] in (0, 1)
    assert results["warned"] in (0, 1)


def test_class_without_images_counts_in_no_accuracy(calibrator):
    outputs = draw_outputs(200)
    rows = outputs.labels != 3
    outputs = Outputs(*(part[rows] for part in outputs))
    assert (outputs.logits.argmax(dim=1) == 3).any()  # torchmetrics alone would count it as 0
    results = single_item_metrics(outputs, CLASS_NAMES, calibrator, threshold=0.5)
    per_class = [value for name, value in results.items() if name.startswith("accuracy/")]
    assert len(per_class) == 9
    assert "accuracy/dress" not in results
    assert results["macro_accuracy"] == pytest.approx(np.mean(per_class))
    validated = validation_metrics(outputs, 10)
    assert float(validated["macro_accuracy"]) == pytest.approx(results["macro_accuracy"])


def test_macro_accuracy_of_all_classes_is_that_of_torchmetrics():
    outputs = draw_outputs(200)
    expected = MulticlassAccuracy(10, average="macro")(outputs.logits, outputs.labels)
    assert validation_metrics(outputs, 10)["macro_accuracy"] == expected


def test_classes_whose_names_differ_in_signs_alone_have_their_own_accuracy(calibrator):
    names = ("T-Shirt", "t shirt", *CLASS_NAMES[2:])
    outputs = draw_outputs(200)
    results = single_item_metrics(outputs, names, calibrator, threshold=0.5)
    correct = outputs.logits.argmax(dim=1) == outputs.labels
    for label, key in enumerate(("t_shirt", "t_shirt_2")):
        expected = correct[outputs.labels == label].double().mean()
        assert results[f"accuracy/{key}"] == pytest.approx(float(expected))


def test_a_new_metric_is_one_entry(monkeypatch, calibrator):
    monkeypatch.setitem(METRICS, "images", lambda measured: len(measured.labels))
    results = single_item_metrics(draw_outputs(17), CLASS_NAMES, calibrator, 0.5)
    assert results["images"] == 17.0
    assert type(results["images"]) is float


# ---- names


@pytest.mark.parametrize(("name", "expected"), list(zip(CLASS_NAMES, SLUGS, strict=True)))
def test_slug_is_fit_for_keys_and_file_names(name, expected):
    assert slug(name) == expected


def test_class_keys_are_the_slugs_where_these_differ():
    assert class_keys(CLASS_NAMES) == list(SLUGS)


def test_class_keys_are_distinct():
    names = ("a b", "A-B", "a b 2", "a_b", "a.b 2")
    assert class_keys(names) == ["a_b", "a_b_2", "a_b_2_2", "a_b_3", "a_b_2_3"]
    assert len(set(class_keys(names))) == len(names)
