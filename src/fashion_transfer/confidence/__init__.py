"""Probabilities in, decisions out; no Lightning, no files."""

from fashion_transfer.confidence.policy import Prediction, ThresholdPolicy

__all__ = ["Prediction", "ThresholdPolicy"]
