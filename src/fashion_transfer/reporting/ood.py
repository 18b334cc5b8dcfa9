"""The table of out-of-distribution sets: how well scores tell each of them from the test images."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from fashion_transfer.reporting.tables import markdown_table

PREFIX = "out_of_distribution/"

COLUMNS = {
    "{}/warned": "warned, %",
    "{}/auroc": "AUROC",
    "{}/fpr95": "FPR95, %",
    "{}/auroc_by_confidence": "MSP: AUROC",
    "{}/fpr95_by_confidence": "MSP: FPR95, %",
    "reference/{}/auroc_by_confidence": "ref.: AUROC",
    "reference/{}/fpr95_by_confidence": "ref.: FPR95, %",
}
"""Headings by the name of the metric, with the evaluation set in it.

MSP is the maximum class probability, ref. that of the reference rule.
"""


def print_ood(metrics: Mapping[str, float]) -> None:
    """Prints the table of `ood_markdown`, if there is one."""
    header, body = _cells(metrics)
    if not body:
        return
    table = Table(
        title="out-of-distribution sets against the test images: by OOD score, by maximum class\n"
        "probability (MSP) and by that of the reference rule (ref.)",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    for number, heading in enumerate(header):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in body:
        table.add_row(*row)
    Console().print(table)


def ood_markdown(metrics: Mapping[str, float]) -> str:
    """Returns a Markdown table with a row per out-of-distribution set; empty if there is none.

    Args:
        metrics: by name, `out_of_distribution/<set>/warned`, `…/auroc`, `…/fpr95`, and the last two
            `…_by_confidence`; those of the reference rule, with `reference/` before, are optional.
    """
    header, body = _cells(metrics)
    return markdown_table(header, body) if body else ""


def is_in_ood_table(name: str) -> bool:
    """Whether the table shows a metric."""
    within = name.removeprefix("reference/")
    return within.startswith(PREFIX) and within.count("/") == 2


def _cells(metrics: Mapping[str, float]) -> tuple[list[str], list[list[str]]]:
    """Headings, and the cells of each set's row; what is known of no set has no column."""
    ending = "/auroc"
    sets = [n.removesuffix(ending) for n in metrics if n.startswith(PREFIX) and n.endswith(ending)]
    columns = {
        c: title for c, title in COLUMNS.items() if any(c.format(s) in metrics for s in sets)
    }
    body = [
        [
            of_set.removeprefix(PREFIX).replace("_", " "),
            *(_cell(title, metrics.get(name.format(of_set))) for name, title in columns.items()),
        ]
        for of_set in sets
    ]
    return ["images", *columns.values()], body


def _cell(title: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.1f}" if title.endswith("%") else f"{value:.4f}"
