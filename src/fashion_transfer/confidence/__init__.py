"""Logits in, calibrated probabilities and decisions out; no Lightning, no files."""

from fashion_transfer.confidence.calibrator import MIN_IMAGES, Calibrator
from fashion_transfer.confidence.checks import check_fraction
from fashion_transfer.confidence.decision import REASONS, Prediction, accepted, decide
from fashion_transfer.confidence.temperature import fit_temperature
from fashion_transfer.confidence.threshold import fit_threshold

__all__ = [
    "MIN_IMAGES",
    "REASONS",
    "Calibrator",
    "Prediction",
    "accepted",
    "check_fraction",
    "decide",
    "fit_temperature",
    "fit_threshold",
]
