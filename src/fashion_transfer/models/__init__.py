"""Heads, the classifier, the task that trains it, and its checkpoints."""

from fashion_transfer.models.checkpoint import load_classifier, read_checkpoint
from fashion_transfer.models.classifier import Classifier
from fashion_transfer.models.heads import HEADS, LinearHead, MLPHead, Standardise, build_head
from fashion_transfer.models.outputs import OutputCollector, Outputs, single_item_metrics, slug
from fashion_transfer.models.task import ClassificationTask, EvaluationTask

__all__ = [
    "HEADS",
    "ClassificationTask",
    "Classifier",
    "EvaluationTask",
    "LinearHead",
    "MLPHead",
    "OutputCollector",
    "Outputs",
    "Standardise",
    "build_head",
    "load_classifier",
    "read_checkpoint",
    "single_item_metrics",
    "slug",
]
