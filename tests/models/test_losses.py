"""The training loss, and what class weights make of it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from fashion_transfer.data import Split
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models.losses import balanced_weights, cross_entropy
from fashion_transfer.synthetic import Exposure


@pytest.fixture
def logits() -> torch.Tensor:
    """Of six images and four classes."""
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


LABELS = torch.tensor([0, 0, 0, 1, 1, 2])


def test_balanced_weights_are_those_of_scikit_learn():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert balanced_weights([3, 2, 1]) == pytest.approx(expected.tolist())


def test_balanced_weights_of_a_class_without_images_are_finite():
    assert balanced_weights([3, 0, 3]) == [pytest.approx(2 / 3), 1.0, pytest.approx(2 / 3)]


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_cross_entropy_weighs_each_image_by_its_label(logits, label_smoothing):
    weights = torch.tensor([0.5, 1.0, 3.0, 7.0])
    losses = cross_entropy(logits, LABELS, label_smoothing, weights)
    each = [
        weights[label] * F.cross_entropy(row[None], label[None], label_smoothing=label_smoothing)
        for row, label in zip(logits, LABELS, strict=True)
    ]
    torch.testing.assert_close(losses, torch.stack(each))


def test_cross_entropy_without_weights_is_that_of_torch(logits):
    expected = F.cross_entropy(logits, LABELS, label_smoothing=0.1, reduction="none")
    assert torch.equal(cross_entropy(logits, LABELS, 0.1), expected)


# ---- of a task


def unbalanced(datamodule):
    """A data module whose training split has 8 images of class 0, and 4 of each other class."""
    data = datamodule(val_per_class=0, synthetic=Exposure(composites=8, controls=0))
    load = data.load_split

    def load_split(name) -> Split | None:
        split = load(name)
        if name != "train":
            return split
        positions = [
            np.flatnonzero(split.labels == label)[: 4 + 4 * (label == 0)] for label in range(10)
        ]
        chosen = np.concatenate(positions)
        return Split(
            split.name, split.images, split.labels[chosen], split.fingerprint, split.rows[chosen]
        )

    data.load_split = load_split
    return data


def test_class_counts_are_of_all_training_images_of_one_item(datamodule):
    data = unbalanced(datamodule)
    data.setup("fit")
    assert data.class_counts == [8] + [4] * 9
    controls = datamodule(synthetic=Exposure(composites=0, controls=20))
    controls.setup("fit")
    assert sum(controls.class_counts) == 80 + 20
    assert min(controls.class_counts) >= 8


@pytest.mark.parametrize("mixup", [0.0, 1.0])
def test_task_weighs_its_classes_and_not_the_multi_item_label(
    make_task, make_trainer, make_features, datamodule, tmp_path, mixup
):
    task = make_task(multi_item=True, class_weights="balanced", mixup=mixup, label_smoothing=0.1)
    make_trainer(tmp_path, max_epochs=1).fit(task, datamodule=unbalanced(datamodule))
    expected = [44 / (10 * 8)] + [44 / (10 * 4)] * 9 + [1.0]
    assert task.label_weights.tolist() == pytest.approx(expected)
    task.log = lambda *args, **kwargs: None
    batch = make_features([0, 3, 10, 10])

    def loss(weights):
        torch.manual_seed(0)
        task.label_weights = weights
        return task.training_step(batch, 0).item()

    # In proportion to the weights, if they are all the same.
    assert loss(torch.full((11,), 3.0)) == pytest.approx(3 * loss(None), rel=1e-5)
    assert loss(torch.tensor(expected)) != pytest.approx(loss(None), rel=1e-3)


def test_class_weights_are_in_no_state_dict(make_task):
    names = make_task(class_weights="balanced").state_dict().keys()
    assert names == make_task().state_dict().keys()


def test_without_class_weights_every_image_counts_the_same(
    make_task, make_trainer, datamodule, tmp_path
):
    task = make_task()
    make_trainer(tmp_path, max_epochs=1).fit(task, datamodule=datamodule())
    assert task.label_weights is None


@pytest.mark.parametrize("value", ["equal", True, [1.0] * len(CLASS_NAMES)])
def test_task_rejects_other_class_weights(make_task, value):
    with pytest.raises(ArgumentError, match="class_weights must be 'balanced', or None for none"):
        make_task(class_weights=value)


def test_class_weights_without_a_datamodule_are_rejected_with_what_to_do(
    make_task, make_trainer, feature_loader, tmp_path
):
    task = make_task(standardise=False, class_weights="balanced")
    with pytest.raises(FashionTransferError, match="class_weights needs the labels.*leave class"):
        make_trainer(tmp_path).fit(task, feature_loader())
