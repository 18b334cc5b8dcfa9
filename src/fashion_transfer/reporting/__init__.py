"""What people look at: tables, figures and galleries of the values they are handed."""

from fashion_transfer.reporting.figures import (
    confidence_histograms,
    reliability_diagram,
    risk_coverage_figure,
)
from fashion_transfer.reporting.gallery import Picture, write_gallery
from fashion_transfer.reporting.image_sheets import (
    evaluation_sets_sheet,
    label_issues_sheet,
    mistakes_sheet,
)
from fashion_transfer.reporting.learning_curves import curves_figure
from fashion_transfer.reporting.plotting import (
    draw_figure,
    picture_summary,
    save_figure,
    save_picture,
)
from fashion_transfer.reporting.predictions import (
    ImagePrediction,
    PredictionSummary,
    prediction_files,
    print_predictions,
)
from fashion_transfer.reporting.results import (
    CostPoint,
    print_results,
    readme_section,
    replace_between_markers,
    results_figure,
    results_markdown,
    warning_summary,
)
from fashion_transfer.reporting.tables import (
    WarningRow,
    print_metrics,
    print_warnings,
    warnings_markdown,
)

__all__ = [
    "CostPoint",
    "ImagePrediction",
    "Picture",
    "PredictionSummary",
    "WarningRow",
    "confidence_histograms",
    "curves_figure",
    "draw_figure",
    "evaluation_sets_sheet",
    "label_issues_sheet",
    "mistakes_sheet",
    "picture_summary",
    "prediction_files",
    "print_metrics",
    "print_predictions",
    "print_results",
    "print_warnings",
    "readme_section",
    "reliability_diagram",
    "replace_between_markers",
    "results_figure",
    "results_markdown",
    "risk_coverage_figure",
    "save_figure",
    "save_picture",
    "warning_summary",
    "warnings_markdown",
    "write_gallery",
]
