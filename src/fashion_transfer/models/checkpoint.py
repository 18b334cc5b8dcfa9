"""The checkpoint format: plain data with a version, written, checked and read only here.

A checkpoint is what Lightning writes, less the frozen backbone, and:

    format_version   of this module
    classifier       what `Classifier` is built from, in plain values; the backbone by name and
                     the SHA-256 of its weights
    metrics          the validation metrics of its weights; none if they were not validated
    lr               the learning rate that a LearningRateFinder has found, if there was one
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from fashion_transfer.confidence import MIN_IMAGES, check_fraction
from fashion_transfer.errors import ArgumentError, FashionTransferError, first_line
from fashion_transfer.features import Backbone
from fashion_transfer.features.quantisation import head_precision
from fashion_transfer.features.weights import is_file_name, read_tensors
from fashion_transfer.models.classifier import Classifier
from fashion_transfer.paths import user_path

log = logging.getLogger(__name__)

FORMAT_VERSION = 2
"""Raised whenever an older reader would misread a checkpoint. 1 was that of version 0.1.0."""

FROM_CHECKPOINT = "from_checkpoint"
PREFIX = "classifier."  # of the classifier's tensors in the task's state dict
FROZEN = f"{PREFIX}backbone."

CLASSIFIER = (
    "class_names",
    "head",
    "multi_item",
    "standardise",
    "image_size",
    "preparation",
    "threshold",
    "second_opinion",
)
"""Arguments of `Classifier`, by which a checkpoint describes one."""

ARGUMENTS = ("weights", "precision", "compile", "engine")
"""Of `load_classifier`, which go to the backbone."""

EngineName = Literal["auto", "torch", "openvino", "from_checkpoint"]

VALIDATION = ("confidence", "correct")
"""Entries of `Calibrator.validation`."""


def describe(
    checkpoint: dict[str, Any], classifier: Classifier, metrics: Mapping[str, Any]
) -> None:
    """Makes a checkpoint of Lightning's one of this format: plain data, no backbone, no code.

    Args:
        checkpoint: changed in place.
        classifier: that it is of.
        metrics: of its epoch; only those of validation go in.
    """
    backbone = classifier.backbone
    checkpoint["format_version"] = FORMAT_VERSION
    checkpoint["state_dict"] = {
        name: tensor
        for name, tensor in checkpoint["state_dict"].items()
        if not name.startswith(FROZEN)
    }
    checkpoint["classifier"] = {
        "backbone": backbone.identity | {"source": backbone.source},
        **_options(classifier),
        "preparation_version": classifier.preparation.version,
        "threshold": classifier.threshold,
        "second_opinion": classifier.opinion is not None,
        "validation": classifier.calibrator.validation,
        "validation_images": classifier.calibrator.num_images,
        "precision": backbone.engine.runs_in(),
        "engine": backbone.engine.runtime,
        "compiled": backbone.compiles(classifier.image_size),
    }
    checkpoint["metrics"] = {
        name: float(value) for name, value in metrics.items() if name.startswith("val/")
    }


def restore(checkpoint: dict[str, Any], classifier: Classifier) -> None:
    """Adds the frozen backbone back to a checkpoint that is of this classifier.

    Args:
        checkpoint: changed in place.
        classifier: that is to take its state.

    Raises:
        FashionTransferError: it was trained on another backbone, or with other options.
    """
    check_format(checkpoint, "the checkpoint")
    described, identity = checkpoint["classifier"], classifier.backbone.identity
    theirs = described["backbone"]
    keys = dict.fromkeys((*identity, "quantised"))  # which only int8 has
    different = [key for key in keys if theirs.get(key) != identity.get(key)]
    if set(different) - {"weights"}:  # the same file under another name is the same
        pairs = "; ".join(f"{key} {theirs.get(key)}, here {identity.get(key)}" for key in different)
        raise FashionTransferError(
            f"the checkpoint was trained on another backbone ({pairs}): load it with the same "
            "backbone settings and weights"
        )
    for name, value in _options(classifier).items():
        if described[name] != value:
            raise FashionTransferError(
                f"the checkpoint was trained with {name} {described[name]}, here it is {value}: "
                "load it with the same"
            )
    # Not in every checkpoint of this format.
    classifier.calibrator.num_images = int(described.get("validation_images", 0))
    frozen = classifier.backbone.state_dict().items()
    checkpoint["state_dict"] |= {f"{FROZEN}{name}": tensor for name, tensor in frozen}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of this format, executing nothing (`weights_only`).

    Raises:
        FashionTransferError: there is no such file, it is damaged, or of another format.
    """
    checkpoint: dict[str, Any] = dict(read_tensors(user_path(path)))
    check_format(checkpoint, str(path))
    return checkpoint


def check_format(checkpoint: Mapping[str, Any], name: str) -> None:
    """Checks that a checkpoint is of this format.

    Raises:
        FashionTransferError: it is not.
    """
    parts = ("state_dict", "classifier")
    if any(not isinstance(checkpoint.get(part), dict) for part in parts):
        raise FashionTransferError(
            f"{name} is not a checkpoint of this project: give one that train.py wrote "
            "(checkpoints/best.ckpt in its run folder)"
        )
    version = checkpoint.get("format_version", 1)
    if version == FORMAT_VERSION:
        return
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FashionTransferError(
            f"{name} has checkpoint format {version}, and this version reads format "
            f"{FORMAT_VERSION}: it is of a newer version of this project, so update"
        )
    old = ", of version 0.1.0" if version == 1 else ""
    raise FashionTransferError(
        f"{name} has checkpoint format {version}{old}, and this version reads format "
        f"{FORMAT_VERSION}: train again by `python train.py` with the overrides in "
        ".hydra/overrides.yaml of its run folder"
    )


def load_classifier(
    path: str | Path,
    weights: str | None = FROM_CHECKPOINT,
    threshold: float | str = FROM_CHECKPOINT,
    threshold_target: Mapping[str, Any] | None = None,
    precision: str = "auto",
    compile: Literal["auto"] | bool = False,
    engine: EngineName = "from_checkpoint",
    cache: str | Path | None = None,
) -> Classifier:
    """Builds the trained classifier that a checkpoint describes, in eval mode.

    Only names that this project lists are built, from plain values: an untrusted checkpoint can
    give wrong predictions, but it cannot run code.

    Args:
        path: the checkpoint.
        weights: of the backbone, by name or path; by default those it was trained with. Their
            SHA-256 must be the checkpoint's.
        threshold: confidence under which predictions carry a warning; by default the one it was
            trained with; "auto": what `fit_threshold` gives for its validation images.
        threshold_target: options of `fit_threshold`.
        precision: of the `Backbone`. A head that was trained on int8 features, or on others, takes
            no other ones: "auto" is int8 for it.
        compile: of the `Backbone`; it pays from some hundred images on.
        engine: of the `Backbone`; by default the one it was trained with.
        cache: where a network in int8 is, see `Backbone.load_quantised`.

    Raises:
        ArgumentError: a value is not possible.
        FashionTransferError: the file is not a checkpoint, or the weights are not the same.
    """
    checkpoint = read_checkpoint(path)
    described = checkpoint["classifier"]
    try:
        classifier = _build(path, described, weights, precision, compile, engine, cache)
        restore(checkpoint, classifier)
        state = checkpoint["state_dict"].items()
        classifier.load_state_dict(
            {n.removeprefix(PREFIX): t for n, t in state if n.startswith(PREFIX)}
        )
        validation, version = described["validation"] or {}, described["preparation_version"]
        classifier.calibrator.validation = {
            name: torch.as_tensor(validation[name]) for name in VALIDATION if validation
        }
    except ArgumentError as error:
        if error.name in ARGUMENTS:
            raise
        raise FashionTransferError(f"{path} cannot be loaded: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = first_line(error)
        raise FashionTransferError(f"{path} is damaged ({reason}): train again") from error
    if version != classifier.preparation.version:
        log.warning(
            "%s was trained with version %s of the preparation %s, this is version %s: predictions "
            "on some images may differ",
            path,
            version,
            classifier.preparation.name,
            classifier.preparation.version,
        )
    if threshold == "auto" and not validation:
        images = classifier.calibrator.num_images
        too_few = f"with {images} validation images, under {MIN_IMAGES}"
        raise FashionTransferError(
            f"{path} was trained {too_few if images else 'without validation'}, so threshold=auto "
            "cannot be fitted: give a number, such as 0.8"
        )
    if threshold == "auto":
        classifier.fit_threshold(threshold_target)
    elif threshold != FROM_CHECKPOINT:
        number: Any = threshold
        check_fraction("threshold", number)
        classifier.threshold = number
    return classifier.eval()


def _options(classifier: Classifier) -> dict[str, Any]:
    """What a classifier and the checkpoint that it takes its state from must share."""
    return {
        "class_names": list(classifier.class_names),
        "head": classifier.head_options,
        "multi_item": classifier.multi_item,
        "standardise": classifier.standardise is not None,
        "image_size": classifier.image_size,
        "preparation": classifier.preparation.name,
    }


def _build(
    path: str | Path,
    described: Mapping[str, Any],
    weights: str | None,
    precision: str,
    compile: Literal["auto"] | bool,
    engine: EngineName,
    cache: str | Path | None,
) -> Classifier:
    trained_on = described["backbone"]
    quantised = trained_on.get("quantised")
    # Not in every checkpoint of this format.
    runtime: Any = described.get("engine", "torch") if engine == FROM_CHECKPOINT else engine
    precision = head_precision(path, quantised, precision, runtime)
    chosen = trained_on["source"] if weights == FROM_CHECKPOINT else weights
    if chosen is not None and is_file_name(chosen) and not user_path(chosen).is_file():
        raise FashionTransferError(
            f"{path} was trained on the weights {chosen}, which are not there: give them as "
            f"backbone weights (SHA-256 {trained_on['fingerprint'][:12]}…)"
        )
    backbone = Backbone(
        name=trained_on["name"],
        weights=chosen,
        pool=trained_on["pool"],
        mean=trained_on["mean"],
        std=trained_on["std"],
        # Not in every checkpoint of this format.
        unfreeze=trained_on.get("unfreeze"),
        mirror=trained_on.get("mirror", False),
        precision=precision,
        compile=compile,
        engine=runtime,
    )
    if quantised:
        backbone.load_quantised(quantised, cache)
    # Not in every checkpoint of this format.
    arguments = {"second_opinion": False, **described}
    return Classifier(backbone, **{name: arguments[name] for name in CLASSIFIER})
