"""Heads, the classifier, the task that trains it, and its checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fashion_transfer.models.checkpoint import load_classifier, read_checkpoint
from fashion_transfer.models.classifier import Classifier
from fashion_transfer.models.heads import HEADS, LinearHead, MLPHead, Standardise, build_head

if TYPE_CHECKING:
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

_LAZY = {
    "ClassificationTask": "task",
    "EvaluationTask": "task",
    "OutputCollector": "outputs",
    "Outputs": "outputs",
    "single_item_metrics": "outputs",
    "slug": "outputs",
}
"""Modules, by name, that import Lightning or torchmetrics, which a prediction does not wait for."""


def __getattr__(name: str) -> Any:
    """Imports a name of `_LAZY` when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
