"""What a person looks at: tables and pictures."""

from fashion_transfer.reporting.gallery import draw_gallery
from fashion_transfer.reporting.tables import Answer, print_answers, print_metrics, write_answers

__all__ = ["Answer", "draw_gallery", "print_answers", "print_metrics", "write_answers"]
