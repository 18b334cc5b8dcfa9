from .checkpoint import load_classifier, read_checkpoint
from .classifier import Classifier
from .evaluation_task import EvaluationTask
from .heads import HEADS, LinearHead, MLPHead, Standardise, build_head
from .outputs import OutputCollector, Outputs, single_item_metrics, slug
from .task import ClassificationTask

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
