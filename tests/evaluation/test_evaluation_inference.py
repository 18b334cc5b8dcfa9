import pytest
import torch
from torch.utils.data import DataLoader

from fashion_transfer.confidence import Prediction
from fashion_transfer.data import Batch
from fashion_transfer.evaluation import evaluate_set, evaluation_sets, infer, reference_rule
from fashion_transfer.models import Outputs


class Counting:
    """A loader that counts the images it gives."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader
        self.images = 0

    def __iter__(self):
        for batch in self.loader:
            self.images += len(batch)
            yield batch


# ---- the loop


def test_infer_gives_the_outputs_of_all_images_in_order(make_classifier, test_data):
    classifier = make_classifier()
    outputs = infer(classifier, test_data.test_dataloader())
    batches = list(test_data.test_dataloader())
    assert len(batches) > 1
    with torch.no_grad():
        logits, scores = zip(*(classifier.outputs(batch) for batch in batches), strict=True)
    assert torch.equal(outputs.logits, torch.cat(logits))
    assert torch.equal(outputs.ood_score, torch.cat(scores))
    assert torch.equal(outputs.labels, torch.cat([batch.labels for batch in batches]))
    assert not outputs.logits.requires_grad


def test_each_image_goes_through_the_classifier_once(make_classifier, test_data, monkeypatch):
    classifier, seen = make_classifier(), []
    forward = type(classifier.backbone).forward

    def counted(self, images):
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(type(classifier.backbone), "forward", counted)
    loaders = {
        name: Counting(test_data.dataloader(dataset))
        for name, dataset in evaluation_sets(test_data, 2).items()
    }
    for loader in loaders.values():
        evaluate_set(classifier, loader)
    assert loaders["test"].images == 60
    assert all(loader.images == 2 for name, loader in loaders.items() if name != "test")
    assert sum(seen) == 60 + 2 * (len(loaders) - 1)


def test_infer_takes_any_iterable_of_batches(make_classifier):
    features = torch.randn(5, 512, generator=torch.Generator().manual_seed(0))
    batches = (Batch(features=f[None], labels=torch.tensor([3])) for f in features)
    outputs = infer(make_classifier(), batches)
    assert outputs.logits.shape == (5, 11)
    assert outputs.labels.tolist() == [3] * 5


# ---- an evaluated set


def test_evaluate_set_gives_probabilities_and_decisions(make_classifier, test_data):
    classifier = make_classifier()
    classifier.calibrator.temperature.fill_(2.0)
    result = evaluate_set(classifier, test_data.test_dataloader())
    logits = result.outputs.logits
    assert result.predictions == classifier.decide(logits, result.outputs.ood_score)
    torch.testing.assert_close(result.probabilities, (logits / 2).softmax(dim=1)[:, :10])
    torch.testing.assert_close(result.uncalibrated, logits.softmax(dim=1)[:, :10])
    assert torch.equal(result.confidence, result.probabilities.amax(dim=1))
    assert torch.equal(result.labels, result.outputs.labels)
    assert [p.confidence for p in result.predictions] == pytest.approx(result.confidence.tolist())


def test_warned_is_the_fraction_with_a_warning_or_with_one_for_a_reason(make_evaluated):
    result = make_evaluated("confident", "multi_item", "ambiguous", "multi_item")
    assert result.warned() == 0.75
    assert result.warned("several items") == 0.5
    assert result.warned("ambiguous") == 0.25
    assert result.warned("unfamiliar") == 0
    assert result.confidence.tolist() == pytest.approx([0.9, 0.2, 0.5, 0.2])


# ---- the reference rule


def test_reference_rule_is_80_per_cent_of_uncalibrated_probabilities(make_evaluated):
    uncalibrated = torch.tensor([[0.85, 0.1, 0.05], [0.75, 0.2, 0.05], [0.8, 0.15, 0.05]])
    silent = [Prediction("a", 1.0, (("a", 1.0),), warning=False)] * 3
    given = make_evaluated(*["ambiguous"] * 3)._replace(
        uncalibrated=uncalibrated, predictions=silent
    )
    result = reference_rule(given)
    assert [p.warning for p in result.predictions] == [
        False,
        True,
        uncalibrated[2, 0].item() < 0.8,
    ]
    assert {p.reason for p in result.predictions} <= {"", "ambiguous"}
    assert torch.equal(result.probabilities, uncalibrated)
    assert torch.equal(result.labels, given.labels)
    assert [p.warning for p in reference_rule(given, 0.7).predictions] == [False] * 3


def test_reference_rule_knows_no_multi_item_and_no_limit(make_evaluated):
    given = make_evaluated("multi_item", "multi_item")
    outputs = Outputs(given.outputs.logits, torch.full((2,), 1e6), given.labels)
    # Among the classes alone, 0.2 and 0.1 of three are 2/3 and 1/3.
    result = reference_rule(given._replace(outputs=outputs))
    assert [p.reason for p in result.predictions] == ["ambiguous"] * 2
    assert [p.confidence for p in result.predictions] == pytest.approx([2 / 3] * 2)
    assert [p.warning for p in reference_rule(given, 0.6).predictions] == [False] * 2
