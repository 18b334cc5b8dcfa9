"""Checkpoints are data: read one, and build the classifier it describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fashion_transfer.confidence import ThresholdPolicy, fit_threshold
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import Backbone
from fashion_transfer.features.weights import is_file_name, read_tensors
from fashion_transfer.models.classifier import Classifier

FROM_CHECKPOINT = "from_checkpoint"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this project, executing nothing (`weights_only`).

    Raises:
        FashionTransferError: there is no such file, it is damaged, or it is something else.
    """
    checkpoint: dict[str, Any] = dict(read_tensors(Path(path)))
    keys = ("state_dict", "classifier")
    if any(not isinstance(checkpoint.get(key), dict) for key in keys):
        raise FashionTransferError(
            f"{path} is not a checkpoint of this project: give one that train.py wrote "
            "(checkpoints/best.ckpt in its run folder)"
        )
    return checkpoint


def load_classifier(
    path: str | Path,
    weights: str | None = FROM_CHECKPOINT,
    threshold: float | str = FROM_CHECKPOINT,
    auto: Mapping[str, Any] | None = None,
    **backbone: Any,
) -> Classifier:
    """Builds the classifier that a checkpoint describes, with what it learned.

    Only names that this project lists are built, from plain values; a stranger's checkpoint can
    give wrong answers but run nothing.

    Args:
        path: the checkpoint.
        weights: of the backbone, by name or path; by default what the checkpoint was trained
            with. Their fingerprint must be the checkpoint's.
        threshold: confidence under which predictions carry a warning; by default what the
            checkpoint was trained with; "auto": what `fit_threshold` finds in its validation.
        auto: options of `fit_threshold`.
        **backbone: `precision` and `compile` of the `Backbone`; for a few images, leave them.

    Raises:
        FashionTransferError: the file is not a checkpoint, or the weights are not the same.
    """
    checkpoint = read_checkpoint(path)
    described = checkpoint["classifier"]
    try:
        learned_on = described["backbone"]
        validation, found = described["validation"], described["threshold"]
        chosen = learned_on["source"] if weights == FROM_CHECKPOINT else weights
        if chosen is not None and is_file_name(chosen) and not Path(chosen).is_file():
            raise FashionTransferError(
                f"{path} was trained on the weights {chosen}, which are not there: give them with "
                f"model.backbone.weights=PATH (SHA-256 {learned_on['fingerprint'][:12]}…)"
            )
        built = Backbone(
            name=learned_on["name"],
            weights=chosen,
            pool=learned_on["pool"],
            mean=learned_on["mean"],
            std=learned_on["std"],
            unfreeze_last=learned_on["unfreeze_last"],
            **({"compile": False} | backbone),
        )
        classifier = Classifier(
            backbone=built,
            classes=described["classes"],
            head=described["head"],
            several=described["several"],
            standardise=described["standardise"],
            image_size=described["image_size"],
        )
        classifier.on_load_checkpoint(checkpoint)
        classifier.load_state_dict(checkpoint["state_dict"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise FashionTransferError(
            f"{path} is damaged or was written by another version ({reason}): train again"
        ) from error
    if threshold == "auto":
        if not validation:
            raise FashionTransferError(
                f"{path} was trained without validation, so threshold=auto cannot be found: give "
                "a number, such as 0.8"
            )
        threshold = fit_threshold(**validation, **(auto or {}))
    if threshold == FROM_CHECKPOINT:
        threshold = found
    classifier.calibrator.validation = validation
    classifier.policy = ThresholdPolicy(classifier.classes, threshold)  # type: ignore[arg-type]
    return classifier.eval()
