"""What is not fitted where there are too few validation images."""

import logging

from fashion_transfer.confidence import MIN_IMAGES
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
            "fewer than %d validation images (%d), so these are left out: %s; predictions carry a "
            "warning under the confidence %g, which is not calibrated; more validation images help",
            MIN_IMAGES,
            classifier.calibrator.num_images,
            ", ".join(names),
            classifier.threshold,
        )
    return bool(names)
