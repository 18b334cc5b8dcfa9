"""What a person looks at: tables and pictures."""

from fashion_transfer.reporting.confidence import (
    WarningRow,
    confidence_histograms,
    reliability_diagram,
    risk_coverage_figure,
    save_figure,
    warnings_markdown,
    warnings_table,
)
from fashion_transfer.reporting.gallery import draw_gallery
from fashion_transfer.reporting.results import draw_results, print_table, results_markdown
from fashion_transfer.reporting.sheets import WARNED, kinds_sheet, mistakes_sheet
from fashion_transfer.reporting.tables import Answer, print_answers, print_metrics, write_answers

__all__ = [
    "WARNED",
    "Answer",
    "WarningRow",
    "confidence_histograms",
    "draw_gallery",
    "draw_results",
    "kinds_sheet",
    "mistakes_sheet",
    "print_answers",
    "print_metrics",
    "print_table",
    "reliability_diagram",
    "results_markdown",
    "risk_coverage_figure",
    "save_figure",
    "warnings_markdown",
    "warnings_table",
    "write_answers",
]
