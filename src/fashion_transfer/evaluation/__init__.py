"""How good a classifier and its warnings are: which sets, one inference loop, one summary."""

from fashion_transfer.evaluation.inference import Evaluated, evaluate_set, infer, reference_rule
from fashion_transfer.evaluation.label_issues import (
    LabelIssue,
    label_issues,
    principal_components,
)
from fashion_transfer.evaluation.near_duplicates import (
    NearDuplicate,
    near_duplicate_photos,
    near_duplicates,
)
from fashion_transfer.evaluation.sets import evaluation_sets
from fashion_transfer.evaluation.summary import summarise, warning_metrics

__all__ = [
    "Evaluated",
    "LabelIssue",
    "NearDuplicate",
    "evaluate_set",
    "evaluation_sets",
    "infer",
    "label_issues",
    "near_duplicate_photos",
    "near_duplicates",
    "principal_components",
    "reference_rule",
    "summarise",
    "warning_metrics",
]
