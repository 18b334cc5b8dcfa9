"""The classifier: backbone, standardisation and head as a LightningModule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from fashion_transfer.confidence import Prediction, ThresholdPolicy
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Backbone
from fashion_transfer.models.heads import Standardise, build_head

Batch = Mapping[str, Any]


class Classifier(L.LightningModule):
    """A frozen backbone with a head on top; only the head learns.

    A batch is a dictionary that says what it holds: `images` (B, 1 or 3, H, W) float in [0, 1],
    or `features` (B, D) float that were kept earlier; with `labels` (B,) int64 wherever there
    is something to learn or to measure. Every step serves both.

    Args:
        backbone: images in, features out.
        classes: names of the classes, by label.
        head: its name in `models.heads.HEADS` and its options.
        standardise: whether to standardise features by the statistics of the subset, which the
            datamodule's `clean_dataloader` gives when training starts.
        optimizer: takes parameters, gives an optimizer.
        scheduler: takes an optimizer and `total_steps`, gives a schedule stepped every batch;
            None: a constant rate.
        label_smoothing: of the training loss, 0 to 1.
        policy: turns probabilities into predictions; None: warns under 80 %.
        seed: with the epoch, all that the randomness of training (dropout) depends on.
        image_size: of the images the head is trained for, pixels; kept in the checkpoint.

    Raises:
        FashionTransferError: a value is not possible.
    """

    def __init__(
        self,
        backbone: Backbone,
        classes: Sequence[str],
        head: Mapping[str, Any],
        standardise: bool = True,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler] | None = None,
        label_smoothing: float = 0.0,
        policy: ThresholdPolicy | None = None,
        seed: int = 0,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise FashionTransferError(
                f"model.label_smoothing is {label_smoothing}: it must be from 0 to under 1"
            )
        self.backbone = backbone
        self.classes = tuple(classes)
        self.head_options = dict(head)
        self.head = build_head(
            in_features=backbone.feature_dim, num_classes=len(self.classes), **self.head_options
        )
        self.standardise = Standardise(backbone.feature_dim) if standardise else None
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.label_smoothing = label_smoothing
        self.policy = policy or ThresholdPolicy(self.classes)
        self.seed = seed
        self.image_size = image_size

        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(self.classes), average="micro"),
                "macro_accuracy": MulticlassAccuracy(len(self.classes), average="macro"),
            }
        )
        self.train_accuracy = MulticlassAccuracy(len(self.classes), average="micro")
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = metrics.clone(prefix="test/")
        self.test_class_accuracy = MulticlassAccuracy(len(self.classes), average=None)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) for images (B, 1 or 3, H, W) in [0, 1]."""
        return self.logits({"images": images})

    def logits(self, batch: Batch) -> Tensor:
        """Logits (B, C) for a batch, whatever it holds."""
        features = self.features(batch)
        if self.standardise is not None:
            features = self.standardise(features)
        return self.head(features)

    def features(self, batch: Batch) -> Tensor:
        """Features (B, D) for a batch: those it holds, or the backbone's for its images."""
        if "features" in batch:
            return batch["features"]
        with torch.no_grad():
            return self.backbone(batch["images"])

    def configure_optimizers(self) -> Any:
        """The optimizer over the head's parameters, and the schedule if there is one."""
        try:
            optimizer = self.optimizer(self.head.parameters())
        except (TypeError, ValueError) as error:
            raise FashionTransferError(f"model.optimizer: {error}") from error
        if self.scheduler is None:
            return optimizer
        try:
            steps = self.trainer.estimated_stepping_batches
        except TypeError as error:
            raise FashionTransferError(
                f"trainer.max_epochs is {self.trainer.max_epochs!r}: it must be a whole number"
            ) from error
        if steps == float("inf"):
            raise FashionTransferError(
                "model.scheduler needs to know where training ends: give trainer.max_epochs, or "
                "model.scheduler=null for a constant rate"
            )
        try:
            schedule = self.scheduler(optimizer, total_steps=max(1, int(steps)))
        except (TypeError, ValueError) as error:
            raise FashionTransferError(
                f"model.scheduler, which is called with total_steps: {error}"
            ) from error
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def setup(self, stage: str) -> None:
        """Brings the backbone into the precision that suits the device."""
        self.backbone.settle(self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Takes the subset's statistics, unless a resumed run brought them along."""
        if self.standardise is None or self.standardise.fitted:
            return
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is None:
            raise FashionTransferError(
                "standardising needs the subset's features: give trainer.fit a datamodule, or "
                "build the classifier with standardise=False"
            )
        seen = []
        for batch in datamodule.clean_dataloader():
            batch = datamodule.on_after_batch_transfer(
                {name: part.to(self.device) for name, part in batch.items()}, 0
            )
            seen.append(self.features(batch))
        self.standardise.fit(torch.cat(seen))

    def on_train_epoch_start(self) -> None:
        """Seeds by (seed, epoch) alone.

        Lightning restores no generator, and a resumed run must equal one that never stopped.
        """
        torch.manual_seed((self.seed << 20) + self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch."""
        logits, labels = self.logits(batch), batch["labels"]
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        self.train_accuracy(logits, labels)
        self.log("train/loss", loss, on_epoch=True, on_step=False, batch_size=len(labels))
        self.log("train/accuracy", self.train_accuracy, on_epoch=True, on_step=False, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss, top-1 and macro accuracy on validation images."""
        logits, labels = self.logits(batch), batch["labels"]
        self.val_metrics(logits, labels)
        loss = F.cross_entropy(logits, labels)
        self.log("val/loss", loss, batch_size=len(labels))
        self.log_dict(self.val_metrics, prog_bar=True)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss, top-1, macro and per-class accuracy on test images."""
        logits, labels = self.logits(batch), batch["labels"]
        self.test_metrics(logits, labels)
        self.test_class_accuracy(logits, labels)
        self.log("test/loss", F.cross_entropy(logits, labels), batch_size=len(labels))
        self.log_dict(self.test_metrics)

    def on_test_epoch_end(self) -> None:
        """Logs `test/accuracy/<class>` for every class."""
        for name, value in zip(self.classes, self.test_class_accuracy.compute(), strict=True):
            self.log(f"test/accuracy/{slug(name)}", value)
        self.test_class_accuracy.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """One `Prediction` for each image of the batch."""
        return self.policy(self.logits(batch).softmax(dim=1))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was learned and what rebuilding needs: plain data, no backbone, no code."""
        checkpoint["state_dict"] = {
            name: tensor
            for name, tensor in checkpoint["state_dict"].items()
            if not name.startswith("backbone.")
        }
        checkpoint["classifier"] = {
            "backbone": self.backbone.identity | {"source": self.backbone.source},
            "classes": list(self.classes),
            "head": self.head_options,
            "standardise": self.standardise is not None,
            "image_size": self.image_size,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses what was learned on another backbone, then adds the frozen one back."""
        learned_on, mine = checkpoint["classifier"]["backbone"], self.backbone.identity
        different = [key for key in mine if learned_on.get(key) != mine[key]]
        if set(different) - {"weights"}:  # the same file under another name is the same
            told = "; ".join(f"{key} {learned_on.get(key)}, here {mine[key]}" for key in different)
            raise FashionTransferError(
                f"the checkpoint was learned on another backbone ({told}): load it with the same "
                "model.backbone settings and weights"
            )
        here = {"head": self.head_options, "standardise": self.standardise is not None}
        for name, value in here.items():
            if checkpoint["classifier"][name] != value:
                raise FashionTransferError(
                    f"the checkpoint was learned with model.{name} "
                    f"{checkpoint['classifier'][name]}, here it is {value}: load it with the same"
                )
        own = {f"backbone.{name}": part for name, part in self.backbone.state_dict().items()}
        checkpoint["state_dict"] = checkpoint["state_dict"] | own


def slug(name: str) -> str:
    """A class name for keys and file names: `T-shirt/top` becomes `t_shirt_top`."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())
