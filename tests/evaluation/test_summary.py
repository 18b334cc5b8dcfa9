"""What warnings are worth, counted by hand from predictions written by hand."""

import pytest
import torch

from fashion_transfer.data import FashionMNISTDataModule
from fashion_transfer.evaluation import (
    evaluate_set,
    evaluation_sets,
    summarise,
    warning_metrics,
)
from fashion_transfer.evaluation.summary import ood_metrics
from fashion_transfer.models import single_item_metrics
from fashion_transfer.models.outputs import METRICS
from fashion_transfer.synthetic import (
    FAMILIES,
    HELD_OUT_LAYOUTS,
    LAYOUTS,
    OUT_OF_DISTRIBUTION,
    TRAINED_LAYOUTS,
)


@pytest.fixture
def evaluated(make_evaluated):
    """Every set: warned of all composites of trained layouts, of half of the others."""
    sets = {"test": make_evaluated(*["confident"] * 3, "ambiguous", labels=[0, 0, 1, 0])}
    for name in LAYOUTS:
        second = "multi_item" if name in TRAINED_LAYOUTS else "confident"
        sets[f"multi_item/{name}"] = make_evaluated("multi_item", second, labels=[-1, -1])
        sets[f"control/{name}"] = make_evaluated("confident", "ambiguous", labels=[0, 2])
    sets["out_of_distribution/noise"] = make_evaluated("confident", "ambiguous")
    sets["out_of_distribution/digits"] = make_evaluated("ambiguous", "ambiguous")
    return sets


def test_warning_metrics_are_as_counted_by_hand(evaluated):
    summary = warning_metrics(evaluated)
    for name in LAYOUTS:
        assert summary[f"multi_item/{name}/warned"] == (1 if name in TRAINED_LAYOUTS else 0.5)
        assert summary[f"control/{name}/warned"] == 0.5
    assert summary["multi_item/trained/warned"] == 1
    assert summary["multi_item/held_out/warned"] == 0.5
    assert summary["multi_item/worn_held_out/reason_multi_item"] == 0.5
    share = len(TRAINED_LAYOUTS) / len(LAYOUTS)
    assert summary["multi_item/reason_multi_item"] == pytest.approx(share + 0.5 * (1 - share))
    assert summary["control/warned"] == summary["control/trained/warned"] == 0.5
    assert summary["control/held_out/warned"] == 0.5
    assert summary["control/accuracy"] == 0.5
    assert summary["control/warned_over_single"] == 0.25
    assert summary["out_of_distribution/noise/warned"] == 0.5
    assert summary["out_of_distribution/warned"] == 0.75
    # A composite of 0.2 is under both controls, one of 0.9 ties with one of them.
    low = (1 + share) / 2
    assert summary["multi_item/auroc"] == pytest.approx(low + (1 - low) * 0.25)
    # Of the test images three have 0.9 and one 0.5.
    assert summary["out_of_distribution/noise/auroc_by_confidence"] == pytest.approx(
        (0.5 * (3 * 0.5) + 0.5 * (3 + 0.5)) / 4
    )
    assert summary["out_of_distribution/digits/auroc_by_confidence"] == pytest.approx(3.5 / 4)
    # Where 95 % of the test images pass, those of 0.5 do, and so do all others of 0.5.
    assert summary["out_of_distribution/digits/fpr95_by_confidence"] == 1
    assert all(isinstance(value, float | int) for value in summary.values())


def test_mean_over_ood_sets_leaves_out_the_one_that_not_every_machine_has(
    evaluated, make_evaluated
):
    more = {"out_of_distribution/mnist": make_evaluated("confident", "confident")}
    summary = warning_metrics(evaluated | more)
    assert summary["out_of_distribution/mnist/warned"] == 0
    assert summary["out_of_distribution/warned"] == 0.75


def test_ood_metrics_are_of_every_ood_set_against_the_test_images():
    scores = {
        "test": torch.arange(1, 21),
        "control/stacked": torch.zeros(3),
        "out_of_distribution/noise": torch.tensor([100, 50]),
        "out_of_distribution/digits": torch.tensor([0.5, 10.5, 100, 100]),
    }
    assert ood_metrics(scores) == {
        "out_of_distribution/noise/auroc": 1,
        "out_of_distribution/noise/fpr95": 0,
        "out_of_distribution/digits/auroc": pytest.approx((0 + 0.5 + 1 + 1) / 4),
        "out_of_distribution/digits/fpr95": 0.5,
    }


def test_summary_measures_ood_sets_by_the_score_that_the_warning_compares(summarised):
    _, evaluated, summary = summarised
    score = evaluated["out_of_distribution/noise"].outputs.ood_score
    within = evaluated["test"].outputs.ood_score
    higher = (score[:, None] > within[None]).double().mean()
    assert summary["out_of_distribution/noise/auroc"] == pytest.approx(float(higher))


def test_each_layout_has_the_same_weight(evaluated, make_evaluated):
    many = make_evaluated(*["confident"] * 30)
    before = warning_metrics(evaluated)["multi_item/trained/warned"]
    after = warning_metrics(evaluated | {"multi_item/stacked": many})["multi_item/trained/warned"]
    assert before - after == pytest.approx(1 / len(TRAINED_LAYOUTS))


def test_worn_outfits_are_averaged_by_themselves(evaluated, make_evaluated):
    worn = [name for name in HELD_OUT_LAYOUTS if name.startswith("worn_")]
    missed = {f"multi_item/{name}": make_evaluated("ambiguous", "confident") for name in worn}
    summary = warning_metrics(evaluated | missed)
    assert summary["multi_item/worn_held_out/warned"] == 0.5
    assert summary["multi_item/worn_held_out/reason_multi_item"] == 0
    assert summary["control/worn_held_out/warned"] == 0.5


def test_means_are_over_the_layouts_that_a_data_set_has(evaluated, make_evaluated):
    collages = {name: of_set for name, of_set in evaluated.items() if "item/" not in name}
    collages = {name: of_set for name, of_set in collages.items() if "control/" not in name}
    for name in ("two_columns", "two_rows", "inset"):
        second = "multi_item" if name == "two_rows" else "confident"
        collages[f"multi_item/{name}"] = make_evaluated("multi_item", second, labels=[-1, -1])
        collages[f"control/{name}"] = make_evaluated("confident", labels=[0])
    summary = warning_metrics(collages)
    assert summary["multi_item/trained/warned"] == 0.75
    assert summary["multi_item/held_out/warned"] == 0.5
    assert summary["control/trained/warned"] == summary["control/held_out/warned"] == 0
    assert summary.keys() - warning_metrics(evaluated).keys() == {
        f"{prefix}/{name}/warned"
        for prefix in ("multi_item", "control")
        for name in ("two_columns", "two_rows", "inset")
    }
    assert set(FAMILIES["photo"].trained) > {"two_columns", "two_rows"}
    del collages["multi_item/inset"], collages["control/inset"]
    assert "multi_item/held_out/warned" not in warning_metrics(collages)


def test_without_synthetic_sets_there_are_no_warning_metrics(evaluated):
    assert warning_metrics({"test": evaluated["test"]}) == {}


@pytest.fixture(scope="module")
def summarised(make_classifier, idx_dir):
    """A classifier, what it gives for every evaluation set, and the summary."""
    test_data = FashionMNISTDataModule(str(idx_dir), image_size=32, check_md5=False)
    test_data.setup("test")
    classifier = make_classifier()
    classifier.calibrator.temperature.fill_(0.5)
    confidence = evaluate_set(classifier, test_data.test_dataloader()).confidence
    classifier.threshold = float(confidence.median())
    evaluated = {
        name: evaluate_set(classifier, test_data.dataloader(dataset))
        for name, dataset in evaluation_sets(test_data, 2).items()
    }
    return classifier, evaluated, summarise(classifier, evaluated)


def test_summary_has_every_name_once(summarised):
    _, evaluated, summary = summarised
    test = {*METRICS, "loss", "temperature", "threshold"}
    test |= {f"accuracy/{name}" for name in ("t_shirt_top", "trouser", "pullover", "dress")}
    test |= {f"accuracy/{name}" for name in ("coat", "sandal", "shirt", "sneaker", "bag")}
    expected = {f"test/{name}" for name in test} | {"test/accuracy/ankle_boot"}
    expected |= {f"{name}/warned" for name in evaluated}
    expected |= {
        f"{prefix}/{group}/warned"
        for prefix in ("multi_item", "control")
        for group in ("trained", "held_out", "worn_held_out")
    }
    expected |= {
        "multi_item/reason_multi_item",
        "multi_item/worn_held_out/reason_multi_item",
        "multi_item/auroc",
        "control/warned",
        "control/warned_over_single",
        "control/accuracy",
        "out_of_distribution/warned",
    }
    expected |= {
        f"out_of_distribution/{name}/{metric}{score}"
        for name in OUT_OF_DISTRIBUTION
        for metric in ("auroc", "fpr95")
        for score in ("", "_by_confidence")
    }
    assert summary.keys() - {"test/selective_accuracy"} == expected


def test_test_metrics_are_those_that_training_reports(summarised):
    classifier, evaluated, summary = summarised
    expected = single_item_metrics(
        evaluated["test"].outputs,
        classifier.class_names,
        classifier.calibrator,
        classifier.threshold,
    )
    assert {f"test/{name}": value for name, value in expected.items()}.items() <= summary.items()
    assert summary["test/warned"] == pytest.approx(evaluated["test"].warned())
    assert summary["test/warned"] + summary["control/warned_over_single"] == pytest.approx(
        summary["control/warned"]
    )


def test_selective_accuracy_is_of_the_predictions_without_a_warning(summarised):
    _, evaluated, summary = summarised
    test = evaluated["test"]
    accepted = torch.tensor([not p.warning for p in test.predictions])
    assert 0 < accepted.sum() < len(accepted)
    correct = test.probabilities.argmax(dim=1) == test.labels
    assert summary["test/selective_accuracy"] == pytest.approx(
        correct[accepted].double().mean().item()
    )


def test_a_new_metric_of_the_test_images_is_one_entry(summarised, monkeypatch):
    classifier, evaluated, _ = summarised
    monkeypatch.setitem(METRICS, "images", lambda measured: len(measured.labels))
    assert summarise(classifier, evaluated)["test/images"] == 60


def test_layouts_are_named_as_trained_or_held_out(evaluated):
    names = {f"multi_item/{n}" for n in (*TRAINED_LAYOUTS, *HELD_OUT_LAYOUTS)}
    assert names == {name for name in evaluated if name.startswith("multi_item/")}
