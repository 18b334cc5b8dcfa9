"""Logits and probabilities in, decisions out; no Lightning, no files."""

from fashion_transfer.confidence.calibration import fit_temperature, fit_threshold
from fashion_transfer.confidence.calibrator import Calibrator
from fashion_transfer.confidence.policy import Prediction, ThresholdPolicy

__all__ = ["Calibrator", "Prediction", "ThresholdPolicy", "fit_temperature", "fit_threshold"]
