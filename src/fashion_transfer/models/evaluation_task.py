"""What a classifier is tested and used with, as a LightningModule."""

from typing import Any, Self

import lightning as L
from torch import Tensor

from fashion_transfer.confidence import Prediction
from fashion_transfer.data.batch import Batch
from fashion_transfer.models import checkpoint as checkpoints
from fashion_transfer.models.classifier import Classifier
from fashion_transfer.models.outputs import OutputCollector, single_item_metrics


class EvaluationTask(L.LightningModule):
    """Tests a classifier and predicts with it, and writes and reads its checkpoints.

    Every step takes a `Batch` in any of its forms.

    Args:
        classifier: as it was trained.
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.outputs = OutputCollector()
        self._validated_step: int | None = None

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **arguments: Any) -> Self:
        """Builds the task of a checkpoint, in eval mode; `load_classifier` gives its classifier.

        Args:
            checkpoint_path: path of the checkpoint, such as `best.ckpt` of a run folder.
            *args: of Lightning's method.
            **arguments: likewise, or of this class. A checkpoint holds the classifier and its
                threshold; every other argument has its default unless it is given.

        Raises:
            FashionTransferError: the file is not a checkpoint, or its weights are not there.
        """
        if "classifier" not in arguments:
            arguments["classifier"] = checkpoints.load_classifier(checkpoint_path)
        threshold = arguments["classifier"].threshold
        arguments = {"weights_only": True, **arguments}
        task = super().load_from_checkpoint(checkpoint_path, *args, **arguments)
        if "threshold" not in arguments:
            task.classifier.threshold = threshold
        return task.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images, as `Classifier.forward`."""
        logits: Tensor = self.classifier(images)
        return logits

    def setup(self, stage: str) -> None:
        """Brings the backbone into the precision that suits the device."""
        self.classifier.backbone.to_device(self.trainer.strategy.root_device)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Collects the outputs of test images."""
        assert batch.labels is not None
        self.outputs.update(*self.classifier.outputs(batch), batch.labels)

    def on_test_epoch_end(self) -> None:
        """Logs `test/…`: every metric of `single_item_metrics`."""
        classifier = self.classifier
        metrics = single_item_metrics(
            self.outputs.take(),
            classifier.class_names,
            classifier.calibrator,
            classifier.threshold,
        )
        # Every rank has the outputs of all: a mean over ranks changes nothing.
        self.log_dict({f"test/{n}": value for n, value in metrics.items()}, sync_dist=True)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """One `Prediction` per image of the batch."""
        return self.classifier.decide(*self.classifier.outputs(batch))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what rebuilding the classifier needs, and leaves out the frozen backbone."""
        validated = self.trainer.global_step == self._validated_step  # and not before these steps
        metrics = self.trainer.callback_metrics if validated else {}
        checkpoints.describe(checkpoint, self.classifier, metrics)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another classifier, then adds the frozen backbone back."""
        checkpoints.restore(checkpoint, self.classifier)
