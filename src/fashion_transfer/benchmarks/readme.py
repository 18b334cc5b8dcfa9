"""The README's result tables, written between markers from `results/results.json` alone."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.recipes import README_ROWS
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.reporting import readme_section, replace_between_markers, warning_summary


def readme_text(text: str, results: Mapping[str, Any]) -> str:
    """Returns a README with its generated parts written anew.

    Args:
        text: holds the markers of `results`, and those of `warnings` if there are results of them.
        results: the content of `results.json`.

    Raises:
        FashionTransferError: a marker is missing.
    """
    rows = {row["name"]: row for row in results["rows"]}
    short = [rows[name] for name in README_ROWS if name in rows]
    about = results["about"]
    text = replace_between_markers(text, "results", readme_section(short, about))
    if about.get("warnings"):
        table = warning_summary(about["warnings"], about["descriptions"])
        text = replace_between_markers(text, "warnings", table)
    return text


def update_readme(path: Path, results: Mapping[str, Any]) -> None:
    """Writes a README's generated parts anew.

    Raises:
        FashionTransferError: the file or a marker in it is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FashionTransferError(f"{path} cannot be read ({error.strerror})") from error
    write_text(path, readme_text(text, results))


def main(readme: str = "README.md", results: str = "results/results.json") -> None:
    """`python -m fashion_transfer.benchmarks.readme [README [RESULTS]]`: updates a README."""
    try:
        update_readme(Path(readme), json.loads(Path(results).read_text(encoding="utf-8")))
    except (FashionTransferError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
