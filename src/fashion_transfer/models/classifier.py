"""The classifier: a frozen backbone and a head, images or features in, logits out."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fashion_transfer.confidence import (
    Calibrator,
    Prediction,
    check_fraction,
    decide,
    fit_threshold,
)
from fashion_transfer.confidence.threshold import check_target
from fashion_transfer.data.batch import Batch
from fashion_transfer.data.datasets import render_images
from fashion_transfer.data.decoding import ImageLike, to_array
from fashion_transfer.data.preparation import CUT_OUT, Prepared, get_preparation
from fashion_transfer.errors import ArgumentError
from fashion_transfer.features import Backbone
from fashion_transfer.models.heads import Standardise, build_head
from fashion_transfer.models.second_opinion import IMAGE_SIZE, SecondOpinion, has_second_opinion

PREDICT_BATCH = 16
"""Images that `Classifier.predict` has in memory at once."""


class Classifier(nn.Module):
    """A frozen backbone with a head on top, and what turns its logits into predictions.

    Args:
        backbone: images in, features out.
        class_names: by label.
        head: its name in `models.heads.HEADS` and its options.
        multi_item: whether there is one more logit, of images that show several items. Trained on
            composites (outlier exposure: Hendrycks et al. 2019, "Deep anomaly detection with
            outlier exposure"), it takes from the classes the probability they would wrongly have.
        standardise: whether features are standardised by the statistics of the training images.
        image_size: of the images the head is trained for, pixels.
        preparation: name of the preparation of these images in `data.PREPARATIONS`.
        threshold: confidence under which predictions carry a warning, 0 (never warn) to 1.
        second_opinion: whether ImageNet's own classes are asked, too, about a picture of one's own,
            where the backbone's weights and the class names allow it (see `models.second_opinion`).

    Attributes:
        opinion: gives the second opinion; None: there is none.
        stages: the trainable stages of the backbone; None if all of it is frozen.
        calibrator: temperature and out-of-distribution limit, fitted on validation images.

    Raises:
        ArgumentError: a value is not possible.
    """

    def __init__(
        self,
        backbone: Backbone,
        class_names: Sequence[str],
        head: Mapping[str, Any] = MappingProxyType({"name": "mlp", "hidden": 128}),
        multi_item: bool = False,
        standardise: bool = True,
        image_size: int = 224,
        preparation: str = "fashion_mnist",
        threshold: float = 0.8,
        second_opinion: bool = True,
    ) -> None:
        super().__init__()
        check_fraction("threshold", threshold)
        if not isinstance(image_size, int) or image_size < 1:
            raise ArgumentError("image_size", f"must be a whole number from 1, got {image_size!r}")
        if len(class_names) < 2:
            raise ArgumentError("class_names", f"must be at least two, got {class_names!r}")
        self.backbone = backbone
        self.class_names = tuple(class_names)
        self.head_options = dict(head)
        self.multi_item = multi_item
        self.image_size = image_size
        self.preparation = get_preparation(preparation)
        self.threshold = threshold
        self.head = build_head(
            in_features=backbone.feature_dim,
            num_classes=len(self.class_names) + multi_item,
            **({"name": None} | self.head_options),
        )
        self.stages = backbone.trainable_stages()
        self.standardise = Standardise(backbone.feature_dim) if standardise else None
        self.calibrator = Calibrator(len(self.class_names))
        has_opinion = second_opinion and has_second_opinion(backbone, self.class_names)
        self.opinion = SecondOpinion(self.class_names) if has_opinion else None

    def features(self, batch: Batch) -> Tensor:
        """Features of a batch in any of its forms, not standardised: float32, (B, D)."""
        if batch.features is not None:
            return batch.features
        if batch.maps is not None:
            inputs = batch.maps
        else:
            assert batch.images is not None
            with torch.no_grad():
                inputs = self.backbone(batch.images)
        return inputs if self.stages is None else self.stages(inputs)

    def standardised(self, batch: Batch) -> Tensor:
        """The head's input for a batch: float32, (B, D)."""
        features = self.features(batch)
        return features if self.standardise is None else self.standardise(features)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, uncalibrated: float32, (B, C), or (B, C + 1) with the multi-item one last.

        Args:
            images: float32, (B, 1 or 3, H, W), in [0, 1], prepared and resized.
        """
        return self.outputs(Batch(images=images))[0]

    def outputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits as of `forward`, and out-of-distribution scores, float32, (B,), of a batch.

        The score is the mean square of the standardised features: a Mahalanobis distance (Lee et
        al. 2018, "A simple unified framework for detecting out-of-distribution samples", section
        2.1) with diagonal covariance, divided by D. 1 is usual. It is 0 without standardisation.
        """
        features = self.standardised(batch)
        if self.standardise is None:
            return self.head(features), features.new_zeros(features.shape[0])
        return self.head(features), features.detach().square().mean(dim=1)

    @torch.no_grad()
    def fit_standardise(self, batches: Iterable[Batch]) -> None:
        """Takes the statistics of features from the clean training images.

        Args:
            batches: of all of them, on the classifier's device.
        """
        assert self.standardise is not None, "the classifier does not standardise"
        self.standardise.fit(self.features(batch) for batch in batches)

    def fit_threshold(self, target: Mapping[str, Any] | None = None) -> None:
        """Sets the threshold to what `confidence.fit_threshold` gives for the validation images.

        Args:
            target: its options.

        Raises:
            ArgumentError: an option is not possible, or no threshold reaches the accuracy.
        """
        check_threshold_target(target or {})
        validation: dict[str, Any] = self.calibrator.validation
        self.threshold = fit_threshold(**validation, **(target or {}))

    def class_logits(self, logits: Tensor) -> Tensor:
        """Logits of the classes alone, (B, C)."""
        return logits[:, : len(self.class_names)]

    def decide(self, logits: Tensor, ood_score: Tensor) -> list[Prediction]:
        """Predictions for what `outputs` gives."""
        return self._decide(self.calibrator(logits), ood_score)

    def _decide(
        self, probabilities: Tensor, ood_score: Tensor, photos: Sequence[bool] | None = None
    ) -> list[Prediction]:
        threshold, limit = self.threshold, self.calibrator.ood_limit
        return decide(probabilities, ood_score, self.class_names, threshold, limit, photos)

    @torch.no_grad()
    def predict(self, images: Sequence[ImageLike] | ImageLike) -> list[Prediction]:
        """Predictions for images of any size: label, confidence, warning; without dropout.

        Args:
            images: one or many, each a path, a `PIL.Image`, or an array, uint8, (h, w), (h, w, 3)
                or (C, h, w).

        Raises:
            FashionTransferError: a file cannot be read.
            ArgumentError: an array has another shape or type.
        """
        many = isinstance(images, (list, tuple)) or getattr(images, "ndim", 0) == 4
        given: list[Any] = list(images) if many else [images]  # type: ignore[arg-type]
        predictions: list[Prediction] = []
        for start in range(0, len(given), PREDICT_BATCH):
            arrays = [to_array(image) for image in given[start : start + PREDICT_BATCH]]
            predictions += self.predict_prepared([self.preparation.prepare(a) for a in arrays])
        return predictions

    @torch.no_grad()
    def predict_prepared(
        self, images: Sequence[Prepared], extracted: "PictureFeatures | None" = None
    ) -> list[Prediction]:
        """Predictions for a batch of images that are prepared, without dropout.

        Args:
            images: at least one, see `Preparation.prepare`.
            extracted: what `extract` gives for them, if it is known: it is the same for all
                classifiers on one frozen backbone.
        """
        training = self.training
        self.eval()
        try:
            extracted = self.extract(images) if extracted is None else extracted
            logits, ood_score = self.outputs(Batch(features=extracted.features))
        finally:
            self.train(training)
        probabilities = self.calibrator(logits)
        if self.opinion is not None and extracted.imagenet is not None:
            asked = [row for row, image in enumerate(images) if image.colour is not None]
            probabilities[asked] = self.opinion(probabilities[asked], extracted.imagenet)
        cut_out = [image.treatment == CUT_OUT for image in images]
        predictions = self._decide(probabilities, ood_score, cut_out)
        return [
            prediction._replace(prepared=image.treatment)
            for prediction, image in zip(predictions, images, strict=True)
        ]

    @torch.no_grad()
    def extract(self, images: Sequence[Prepared]) -> "PictureFeatures":
        """What the backbone gives for a batch of images that are prepared.

        Args:
            images: at least one.
        """
        device = next(self.head.parameters()).device
        pixels = render_images([image.pixels for image in images], self.image_size, device=device)
        features, imagenet = self.features(Batch(images=pixels)), None
        colours = [image.colour for image in images if image.colour is not None]
        if self.opinion is not None and colours:
            rendered = render_images(colours, IMAGE_SIZE, device=device)
            imagenet = self.backbone.imagenet_logits(rendered)
        return PictureFeatures(features, imagenet)


class PictureFeatures(NamedTuple):
    """What a backbone gives for a batch of images that are prepared.

    Attributes:
        features: float32, (B, D).
        imagenet: logits of ImageNet's classes, float32, (M, 1000), of the M images with `colour`;
            None where nobody asks for them.
    """

    features: Tensor
    imagenet: Tensor | None


def check_threshold_target(target: Mapping[str, Any]) -> None:
    """Checks the options of `fit_threshold`.

    Raises:
        ArgumentError: one is unknown, or its value is not possible.
    """
    try:
        check_target(**target)
    except TypeError as error:
        raise ArgumentError("threshold_target", f"has an unknown option: {error}") from error
    except ArgumentError as error:
        raise ArgumentError(f"threshold_target.{error.name}", error.message) from error
