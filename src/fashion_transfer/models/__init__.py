"""Heads and the LightningModule."""

from fashion_transfer.models.checkpoint import load_classifier, read_checkpoint
from fashion_transfer.models.classifier import Classifier, slug
from fashion_transfer.models.heads import HEADS, LinearHead, MLPHead, Standardise, build_head

__all__ = [
    "HEADS",
    "Classifier",
    "LinearHead",
    "MLPHead",
    "Standardise",
    "build_head",
    "load_classifier",
    "read_checkpoint",
    "slug",
]
