"""`load_from_checkpoint`, as every user of Lightning calls it."""

import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import ClassificationTask, EvaluationTask, load_classifier


@pytest.mark.parametrize("task", [ClassificationTask, EvaluationTask])
def test_a_task_is_loaded_from_its_checkpoint_alone(exposed, task):
    loaded = task.load_from_checkpoint(exposed.last)
    assert isinstance(loaded, task)
    assert not loaded.training
    expected = load_classifier(exposed.last)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), expected(images))
    assert loaded.classifier.threshold == expected.threshold != 0.8


def test_a_loaded_task_takes_arguments_of_its_class_and_of_lightning(exposed):
    path = str(exposed.last)
    loaded = ClassificationTask.load_from_checkpoint(path, map_location="cpu", threshold=0.3)
    assert loaded.classifier.threshold == 0.3
    classifier = load_classifier(path)
    again = ClassificationTask.load_from_checkpoint(path, classifier=classifier, mixup=0.0)
    assert again.classifier is classifier
    assert again.mixup == 0


def test_a_loaded_task_is_tested_and_trained(exposed, make_trainer, datamodule, tmp_path):
    loaded = ClassificationTask.load_from_checkpoint(exposed.last)
    data = datamodule()
    [metrics] = make_trainer(tmp_path).test(loaded, datamodule=data, verbose=False)
    assert "test/accuracy" in metrics
    modes = []
    loaded.on_train_batch_start = lambda *_: modes.append(loaded.classifier.head.training)
    head = {name: tensor.clone() for name, tensor in loaded.classifier.head.state_dict().items()}
    make_trainer(tmp_path / "fit", max_epochs=1).fit(loaded, datamodule=data)
    assert set(modes) == {True}  # dropout works
    assert any(not torch.equal(t, head[n]) for n, t in loaded.classifier.head.state_dict().items())


def test_a_file_that_is_no_checkpoint_cannot_be_loaded(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(FashionTransferError, match="is not a checkpoint of this project"):
        ClassificationTask.load_from_checkpoint(tmp_path / "other.ckpt")
