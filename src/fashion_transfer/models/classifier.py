"""The classifier: backbone, standardisation and head as a LightningModule."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from fashion_transfer.confidence import Calibrator, Prediction, ThresholdPolicy, fit_threshold
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Backbone
from fashion_transfer.models.heads import Standardise, build_head
from fashion_transfer.models.schedules import build_schedule, check_length

Batch = Mapping[str, Any]


class Classifier(L.LightningModule):
    """A frozen backbone with a head on top; only the head learns.

    A batch is a dictionary that says what it holds: `images` (B, 1 or 3, H, W) float in [0, 1],
    `features` (B, D) float that were kept earlier, or `maps` (B, D') float, what was kept of
    images for a backbone whose last stage learns; with `labels` (B,) int64 wherever there
    is something to learn or to measure. Every step serves all.

    After every validation in training, its calibrator is fitted.

    Args:
        backbone: images in, features out.
        classes: names of the classes, by label.
        head: its name in `models.heads.HEADS` and its options.
        several: whether there is a further logit, of images that show several items. Trained on
            composites (outlier exposure: Hendrycks et al. 2019), it takes from the classes what
            probability they would wrongly have.
        standardise: whether to standardise features by the statistics of the subset, which the
            datamodule's `clean_dataloader` gives when training starts.
        optimizer: takes parameters, gives an optimizer.
        scheduler: see `models.schedules.build_schedule`; None: a constant rate.
        label_smoothing: of the training loss, 0 to 1.
        mixup: a of Beta(a, a), from which a training batch draws how its features and labels are
            mixed with those of another order of it (Zhang et al. 2018, "mixup: beyond empirical
            risk minimization", section 2; Verma et al. 2019 mix features). 0: they are not.
        tail_lr: learning rate of a backbone's unfrozen last stage; None: a tenth of the head's.
        threshold: confidence under which predictions carry a warning, or "auto": after each
            validation, the one of `fit_threshold`.
        auto: options of `fit_threshold`.
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
        several: bool = False,
        standardise: bool = True,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler] | None = None,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        tail_lr: float | None = None,
        threshold: float | Literal["auto"] = 0.8,
        auto: Mapping[str, Any] | None = None,
        seed: int = 0,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise FashionTransferError(
                f"model.label_smoothing is {label_smoothing}: it must be from 0 to under 1"
            )
        if not mixup >= 0:
            raise FashionTransferError(f"model.mixup is {mixup}: it must not be negative")
        if tail_lr is not None and not tail_lr >= 0:
            raise FashionTransferError(f"model.tail_lr is {tail_lr}: it must not be negative")
        self.backbone = backbone
        self.classes = tuple(classes)
        self.head_options = dict(head)
        self.several = several
        self.head = build_head(
            in_features=backbone.feature_dim,
            num_classes=len(self.classes) + several,
            **self.head_options,
        )
        self.tail = backbone.make_tail()
        self.tail_lr = tail_lr
        self.standardise = Standardise(backbone.feature_dim) if standardise else None
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.auto: dict[str, Any] | None = dict(auto or {}) if threshold == "auto" else None
        self.policy = ThresholdPolicy(self.classes, 0.8 if threshold == "auto" else threshold)
        self.seed = seed
        self.image_size = image_size

        self.calibrator = Calibrator(len(self.classes))
        self._trained = torch.zeros(4)  # loss and images, right answers of images of one item
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

        accuracies = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(len(self.classes), average="micro"),
                "macro_accuracy": MulticlassAccuracy(len(self.classes), average="macro"),
            }
        )
        self.val_metrics = accuracies.clone(prefix="val/")
        self.test_metrics = accuracies.clone(prefix="test/")
        self.test_class_accuracy = MulticlassAccuracy(len(self.classes), average=None)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C), or (B, C + 1) with that of several items last.

        Args:
            images: (B, 1 or 3, H, W) in [0, 1].
        """
        return self.logits({"images": images})

    def logits(self, batch: Batch) -> Tensor:
        """Logits as of `forward` for a batch, whatever it holds, before the temperature."""
        return self.head(self._standardised(batch))

    def examine(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits, and how far each image is from the subset, (B,): 1 is usual; 0 if unknown.

        The distance is the mean square of the standardised features: a Mahalanobis distance (Lee
        et al. 2018, section 2.1) with a diagonal covariance, divided by D.
        """
        features = self._standardised(batch)
        distance = features.detach().square().mean(dim=1)
        if self.standardise is None:
            distance = torch.zeros_like(distance)
        return self.head(features), distance

    def _standardised(self, batch: Batch) -> Tensor:
        features = self.features(batch)
        return features if self.standardise is None else self.standardise(features)

    def features(self, batch: Batch) -> Tensor:
        """Features (B, D) for a batch, of whatever it holds."""
        if "features" in batch:
            return batch["features"]
        if "maps" in batch:
            kept = batch["maps"]
        else:
            with torch.no_grad():
                kept = self.backbone(batch["images"])
        return kept if self.tail is None else self.tail(kept)

    def configure_optimizers(self) -> Any:
        """The optimizer over the head's parameters, and the schedule if there is one."""
        try:
            optimizer = self.optimizer(self.head.parameters())
            if self.tail is not None:
                tenth = optimizer.defaults["lr"] / 10
                rate = tenth if self.tail_lr is None else self.tail_lr
                group = {"params": self.tail.parameters(), "lr": rate}
                if "weight_decay" in optimizer.defaults:
                    group["weight_decay"] = 0.0  # it would take back what was pretrained
                optimizer.add_param_group(group)
        except (TypeError, ValueError) as error:
            raise FashionTransferError(f"model.optimizer: {error}") from error
        self._set = [
            {name: value for name, value in group.items() if name != "params"}
            for group in optimizer.param_groups
        ]
        if self.scheduler is None:
            return optimizer
        schedule = build_schedule(self.scheduler, optimizer, self.trainer)
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
            with torch.no_grad():
                seen.append(self.features(batch))
        self.standardise.fit(torch.cat(seen))

    def on_train_start(self) -> None:
        """Sees to it that what a checkpoint brought along fits this run's learning rates."""
        if self.scheduler is None:
            # A schedule of the checkpoint's run leaves rate and betas where it ended.
            groups = self.trainer.optimizers[0].param_groups
            for group, values in zip(groups, self._set, strict=True):
                group.update(values)
            return
        steps = self.trainer.estimated_stepping_batches
        check_length(self.lr_schedulers(), self.scheduler, steps)

    def on_train_epoch_start(self) -> None:
        """Seeds by (seed, epoch) alone.

        Lightning restores no generator, and a resumed run must equal one that never stopped.
        """
        torch.manual_seed((self.seed << 20) + self.current_epoch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch; the accuracy is of its images of one item.

        Where features are mixed, an image's label is that of its larger part.
        """
        features, labels = self._standardised(batch), batch["labels"]
        if self.mixup:
            share = torch.distributions.Beta(self.mixup, self.mixup).sample().to(features)
            share = torch.maximum(share, 1 - share)
            other = torch.randperm(len(labels), device=labels.device)
            logits = self.head(share * features + (1 - share) * features[other])
            loss = share * self._loss(logits, labels) + (1 - share) * self._loss(
                logits, labels[other]
            )
        else:
            logits = self.head(features)
            loss = self._loss(logits, labels)
        # By hand: metrics logged every step would take as long as the step.
        single = labels < len(self.classes)
        right = (self._of_classes(logits).argmax(dim=1) == labels).sum()
        sums = [loss.detach() * len(labels), loss.new_tensor(len(labels)), right, single.sum()]
        self._trained = self._trained.to(loss.device) + torch.stack(sums)
        return loss

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's `train/loss` and `train/accuracy`."""
        loss, images, right, single = self._trained.tolist()
        self.log("train/loss", loss / max(images, 1))
        self.log("train/accuracy", right / max(single, 1), prog_bar=True)
        self._trained = torch.zeros(4)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss, top-1 and macro accuracy on validation images."""
        (logits, distance), labels = self.examine(batch), batch["labels"]
        self.val_metrics(self._of_classes(logits), labels)
        loss = F.cross_entropy(logits, labels)
        self.log("val/loss", loss, batch_size=len(labels))
        self.log_dict(self.val_metrics, prog_bar=True)
        self._seen.append((logits, labels, distance))

    def on_validation_epoch_end(self) -> None:
        """While training: fits the temperature, the familiar distance and the threshold."""
        seen = self._collected()
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        self.calibrator.fit(*seen)
        if self.auto is not None and self.calibrator.validation:
            try:
                threshold = fit_threshold(**self.calibrator.validation, **self.auto)
            except FashionTransferError:
                if self.current_epoch + 1 == self.trainer.max_epochs:
                    raise
                threshold = 1.0  # nothing is sure enough yet
            self.policy = ThresholdPolicy(self.classes, threshold)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss, top-1, macro and per-class accuracy on test images."""
        (logits, distance), labels = self.examine(batch), batch["labels"]
        self.test_metrics(self._of_classes(logits), labels)
        self.test_class_accuracy(self._of_classes(logits), labels)
        self.log("test/loss", F.cross_entropy(logits, labels), batch_size=len(labels))
        self.log_dict(self.test_metrics)
        self._seen.append((logits, labels, distance))

    def on_test_epoch_end(self) -> None:
        """Logs `test/accuracy/<class>` for every class, and what confidence is worth."""
        for name, value in zip(self.classes, self.test_class_accuracy.compute(), strict=True):
            self.log(f"test/accuracy/{slug(name)}", value)
        self.test_class_accuracy.reset()
        measured = self.calibrator.measure(*self._collected(), self.policy.threshold)
        for name, value in measured.items():
            self.log(f"test/{name}", value)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """One `Prediction` for each image of the batch."""
        return self.decide(*self.examine(batch))

    def decide(self, logits: Tensor, distance: Tensor) -> list[Prediction]:
        """What the policy makes of what `examine` gives."""
        return self.policy(self.calibrator(logits), distance > self.calibrator.familiar)

    def _of_classes(self, columns: Tensor) -> Tensor:
        return columns[:, : len(self.classes)]

    def _collected(self) -> tuple[Tensor, Tensor, Tensor]:
        logits, labels, distance = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        self._seen.clear()
        return logits.float(), labels, distance

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
            "several": self.several,
            "threshold": self.policy.threshold,
            "validation": self.calibrator.validation,
            "standardise": self.standardise is not None,
            "image_size": self.image_size,
            "precision": str(next(self.backbone.parameters()).dtype).removeprefix("torch."),
            "compiled": self.backbone.compiles(self.image_size),
        }
        checkpoint["metrics"] = {
            name: float(value)
            for name, value in self.trainer.callback_metrics.items()
            if name.startswith("val/")
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
        here = {
            "head": self.head_options,
            "several": self.several,
            "standardise": self.standardise is not None,
        }
        for name, value in here.items():
            if checkpoint["classifier"][name] != value:
                raise FashionTransferError(
                    f"the checkpoint was learned with model.{name} "
                    f"{checkpoint['classifier'][name]}, here it is {value}: load it with the same"
                )
        if self.auto is not None:
            self.policy = ThresholdPolicy(self.classes, checkpoint["classifier"]["threshold"])
        own = {f"backbone.{name}": part for name, part in self.backbone.state_dict().items()}
        checkpoint["state_dict"] = checkpoint["state_dict"] | own


def slug(name: str) -> str:
    """A class name for keys and file names: `T-shirt/top` becomes `t_shirt_top`."""
    return "".join(c if c.isalnum() else "_" for c in name.lower())
