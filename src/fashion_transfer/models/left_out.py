"""What could not be fitted to the validation images."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fashion_transfer.confidence import MIN_IMAGES, fit_threshold
from fashion_transfer.errors import ArgumentError
from fashion_transfer.models.checkpoint import read_checkpoint
from fashion_transfer.models.classifier import Classifier

log = logging.getLogger(__name__)


def left_out(classifier: Classifier, auto_threshold: bool) -> list[str]:
    """Names what is not fitted to the validation images; empty if there are enough of them.

    Args:
        classifier: after its last validation, if there is any.
        auto_threshold: whether the threshold was to be fitted, too.
    """
    if classifier.calibrator.num_images >= MIN_IMAGES:
        return []
    names = ["temperature"]
    if classifier.standardise is not None:  # without, there is no OOD score
        names.append("OOD limit")
    return [*names, "automatic threshold"] if auto_threshold else names


def warn_left_out(classifier: Classifier, auto_threshold: bool) -> bool:
    """Logs what `left_out` names, and returns whether there was anything."""
    names = left_out(classifier, auto_threshold)
    if names:
        log.warning(
            "fewer than %d validation images were seen (%d), so these are left out: %s; "
            "predictions carry a warning under the confidence %g, which is not calibrated; more of "
            "them help",
            MIN_IMAGES,
            classifier.calibrator.num_images,
            ", ".join(names),
            classifier.threshold,
        )
    return bool(names)


def warn_unreached(classifier: Classifier, target: Mapping[str, Any], chosen: Any) -> None:
    """Logs it where no threshold reaches what was asked for, and so all predictions are warned.

    Args:
        classifier: after its last validation, if there is any.
        target: options of `fit_threshold`.
        chosen: the callback that has saved the best epoch's checkpoint, which counts if there is
            one.
    """
    best = getattr(chosen, "best_model_path", "")
    validation: Mapping[str, Any] = classifier.calibrator.validation
    if Path(best).is_file():
        validation = read_checkpoint(best)["classifier"]["validation"]
    try:
        if validation:
            fit_threshold(**validation, **target)
    except ArgumentError as error:
        log.warning(
            "threshold=auto cannot be fitted, so every prediction carries a warning (%s)", error
        )
