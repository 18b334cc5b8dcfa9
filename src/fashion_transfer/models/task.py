"""The training task: loops, optimizer and metrics of a classifier, as a LightningModule."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from fashion_transfer import ranks
from fashion_transfer.confidence import check_fraction
from fashion_transfer.data.batch import Batch
from fashion_transfer.data.samplers import share_of
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models.classifier import Classifier, check_threshold_target
from fashion_transfer.models.evaluation_task import EvaluationTask
from fashion_transfer.models.left_out import warn_left_out, warn_unreached
from fashion_transfer.models.losses import balanced_weights, cross_entropy
from fashion_transfer.models.mixup import mixed_logits
from fashion_transfer.models.optimization import (
    build_optimizer,
    build_schedule,
    check_finder,
    check_length,
    check_whole_epoch,
    hyperparameters,
    schedule_options,
    set_hyperparameters,
)
from fashion_transfer.models.outputs import validation_metrics

log = logging.getLogger(__name__)

ADAMW = partial(torch.optim.AdamW, lr=0.003, weight_decay=3.0)
ONE_CYCLE = partial(torch.optim.lr_scheduler.OneCycleLR, pct_start=0.3)


class ClassificationTask(EvaluationTask):
    """Trains the head of a classifier, and the trainable stages of its backbone if it has any.

    After each validation in training, temperature, out-of-distribution limit and, if asked for,
    the threshold are fitted, if the validation images are enough (see `models.left_out`).

    Args:
        classifier: what is trained. Its backbone stays frozen.
        optimizer: takes parameters, gives an optimizer (Loshchilov & Hutter 2019, "Decoupled weight
            decay regularization").
        scheduler: see `models.optimization.build_schedule`; None: a constant rate.
        label_smoothing: of the training loss, 0 to under 1.
        mixup: alpha of the mixup of features (see `models.mixup.mix`); 0: none.
        class_weights: "balanced": each class has the same weight in the training loss, however
            many images it has (see `models.losses.balanced_weights`); None: each image has.
        trainable_stage_lr: learning rate of the trainable stages; None: a tenth of the head's.
        monitor: name of the metric that a schedule watches which waits for a plateau.
        threshold: confidence under which predictions carry a warning, or "auto": after each
            validation, what `fit_threshold` gives; that of the classifier until then.
        threshold_target: options of `fit_threshold`.
        seed: with the epoch, determines the randomness of training (dropout, mixup).

    Raises:
        ArgumentError: a value is not possible.
    """

    def __init__(
        self,
        classifier: Classifier,
        optimizer: Callable[..., torch.optim.Optimizer] = ADAMW,
        scheduler: Callable[..., torch.optim.lr_scheduler.LRScheduler] | None = ONE_CYCLE,
        label_smoothing: float = 0.0,
        mixup: float = 0.4,
        class_weights: Literal["balanced"] | None = None,
        trainable_stage_lr: float | None = None,
        monitor: str = "val/loss",
        threshold: float | Literal["auto"] = 0.8,
        threshold_target: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(classifier)
        if not 0 <= _number("label_smoothing", label_smoothing) < 1:
            raise ArgumentError("label_smoothing", f"must be 0 to under 1, got {label_smoothing}")
        for name, value in (("mixup", mixup), ("trainable_stage_lr", trainable_stage_lr)):
            if value is not None and not _number(name, value) >= 0:
                raise ArgumentError(name, f"must not be negative, got {value}")
        if class_weights not in (None, "balanced"):
            raise ArgumentError(
                "class_weights", f"must be 'balanced', or None for none, got {class_weights!r}"
            )
        self.optimizer = optimizer
        self.lr: float | None = None  # instead of the optimizer's: set by a LearningRateFinder
        self.scheduler = scheduler
        self.label_smoothing = label_smoothing
        self.mixup = mixup
        self.class_weights = class_weights
        self.label_weights: Tensor | None = None
        self._warned = False
        self.trainable_stage_lr = trainable_stage_lr
        self.monitor = monitor
        self.auto_threshold = threshold == "auto"
        self.threshold_target = dict(threshold_target or {})
        if threshold == "auto":
            check_threshold_target(self.threshold_target)
        else:
            check_fraction("threshold", threshold)
            classifier.threshold = threshold
        self.seed = seed

        classes = len(classifier.class_names)
        self.train_loss = MeanMetric(nan_strategy=float("nan"))  # by default it leaves NaN out
        self.train_accuracy = MulticlassAccuracy(
            classes, average="micro", ignore_index=classes, validate_args=False
        )  # the multi-item label is one more than the last class
        self._trained: list[tuple[Tensor, int, Tensor, Tensor]] = []  # of each step of this epoch

    def configure_optimizers(self) -> Any:
        """The optimizer of all that is trained, and the schedule if there is one."""
        classifier = self.classifier
        make = self.optimizer if self.lr is None else partial(self.optimizer, lr=self.lr)
        optimizer = build_optimizer(
            make, classifier.head, classifier.stages, self.trainable_stage_lr, self.mixup
        )
        self._built_lr = self.lr
        self._hyperparameters = hyperparameters(optimizer)
        if self.scheduler is None:
            return optimizer
        schedule = build_schedule(self.scheduler, optimizer, self.trainer)
        options = schedule_options(schedule, self.monitor, self.trainer)
        return {"optimizer": optimizer, "lr_scheduler": options}

    def on_fit_start(self) -> None:
        """Fits what training needs first; takes the rate that a LearningRateFinder has set."""
        self.train()  # a loaded task predicts until now
        check_finder(self.trainer)
        if self.lr != self._built_lr:
            log.info("learning rate %g, as a LearningRateFinder found", self.lr)
            self.trainer.strategy.setup_optimizers(self.trainer)  # the schedule, too
        _fit_statistics(self)

    def on_train_start(self) -> None:
        """Checks that what a checkpoint restored fits this run's schedule and rates."""
        check_whole_epoch(self.trainer)
        _fit_statistics(self)  # a LearningRateFinder trains before `on_fit_start`
        if self.scheduler is None:
            # A schedule of the checkpoint's run leaves rate and betas where it ended.
            set_hyperparameters(self.trainer.optimizers[0], self._hyperparameters)
            return
        check_length(self.lr_schedulers(), self.scheduler, self.trainer.estimated_stepping_batches)

    def on_train_epoch_start(self) -> None:
        """Seeds by nothing but (seed, epoch, rank).

        Lightning restores no generator, and a resumed run must equal one that never stopped.
        """
        torch.manual_seed(ranks.own_seed((self.seed << 20) + self.current_epoch))
        self._trained = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch.

        `train/accuracy` is of images of one item; where features are mixed, an image's label is
        that of its larger part.
        """
        features, labels = self.classifier.standardised(batch), batch.labels
        assert labels is not None
        if self.mixup:
            logits, other, share = mixed_logits(self.classifier.head, features, self.mixup)
            first, second = self._loss(logits, labels), self._loss(logits, labels[other])
            loss = (share * first + (1 - share) * second).mean()
        else:
            logits = self.classifier.head(features)
            loss = self._loss(logits, labels).mean()
        loader = self.trainer.train_dataloader if ranks.world_size() > 1 else None
        count, total = share_of(loader, len(batch), batch_idx)
        if count:
            predicted = self.classifier.class_logits(logits.detach()).argmax(dim=1)
            self._trained.append((loss.detach(), count, predicted, labels))
        weight = count * ranks.world_size() / total  # the mean over ranks is that of all images
        return loss if weight == 1 else loss * weight

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's `train/loss` and `train/accuracy`."""
        # Once per epoch: metrics of every step would take as long as the step.
        if self._trained:
            losses, counts, predicted, labels = zip(*self._trained, strict=True)
            self.train_loss.update(torch.stack(losses), torch.tensor(counts, device=self.device))
            self.train_accuracy.update(torch.cat(predicted), torch.cat(labels))
        self.log("train/loss", self.train_loss.compute(), sync_dist=True)
        accuracy = self.train_accuracy.compute()
        self.log("train/accuracy", accuracy, prog_bar=True, sync_dist=True)
        self.train_loss.reset()
        self.train_accuracy.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collects the outputs of validation images."""
        assert batch.labels is not None
        self.outputs.update(*self.classifier.outputs(batch), batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Logs loss, top-1 and macro accuracy; while training, fits calibrator and threshold."""
        outputs, classifier = self.outputs.take(), self.classifier
        metrics = validation_metrics(outputs, len(classifier.class_names))
        # Every rank has the outputs of all: a mean over ranks changes nothing.
        self.log("val/loss", metrics.pop("loss"), sync_dist=True)
        of_classes = {f"val/{name}": value for name, value in metrics.items()}
        self.log_dict(of_classes, prog_bar=True, sync_dist=True)
        if self.trainer.state.fn != TrainerFn.FITTING or self.trainer.sanity_checking:
            return
        self._validated_step = self.trainer.global_step
        classifier.calibrator.fit(outputs.logits, outputs.labels, outputs.ood_score)
        self._warned = self._warned or warn_left_out(classifier, self.auto_threshold)
        if self.auto_threshold and classifier.calibrator.validation:
            try:
                classifier.fit_threshold(self.threshold_target)
            except FashionTransferError:
                classifier.threshold = 1.0  # no prediction of this epoch is accurate enough yet

    def on_train_end(self) -> None:
        """Says what could not be fitted: nothing without a validation, or the threshold alone."""
        self._warned = self._warned or warn_left_out(self.classifier, self.auto_threshold)
        if self.auto_threshold:
            warn_unreached(self.classifier, self.threshold_target, self.trainer.checkpoint_callback)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of an `EvaluationTask`; and the learning rate of a LearningRateFinder."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["lr"] = self.lr

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """As of an `EvaluationTask`; that rate and a fitted threshold are restored, too."""
        super().on_load_checkpoint(checkpoint)
        self.lr = checkpoint.get("lr")
        if self.auto_threshold:
            self.classifier.threshold = checkpoint["classifier"]["threshold"]

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(logits, labels, self.label_smoothing, self.label_weights)


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArgumentError(name, f"must be a number, got {value!r}")
    return value


def _fit_statistics(task: ClassificationTask) -> None:
    """Weighs the classes, and standardises unless a resumed run brought the statistics."""
    classifier = task.classifier
    if task.class_weights is not None:
        datamodule = _datamodule(
            task,
            "class_weights needs the labels of the training images",
            "leave class_weights out",
        )
        weights = balanced_weights(datamodule.class_counts) + [1.0] * classifier.multi_item
        task.label_weights = torch.tensor(weights, device=task.device)
    if classifier.standardise is not None and not classifier.standardise.fitted:
        datamodule = _datamodule(
            task,
            "standardising needs the features of the training images",
            "build the classifier with standardise=False",
        )
        loader = datamodule.clean_dataloader()
        classifier.fit_standardise(batch.to(task.device) for batch in loader)


def _datamodule(task: ClassificationTask, need: str, remedy: str) -> Any:
    datamodule = getattr(task.trainer, "datamodule", None)
    if datamodule is None:
        raise FashionTransferError(f"{need}: give trainer.fit a datamodule, or {remedy}")
    return datamodule
