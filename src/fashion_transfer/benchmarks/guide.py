"""How much code an addition to the project takes, counted in CONTRIBUTING.md."""

import re
from pathlib import Path

from fashion_transfer.errors import FashionTransferError

SECTION = re.compile(r"^### (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^(?:In )?`([\w/.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_of(section: str, guide: Path = Path("CONTRIBUTING.md")) -> dict[str, int]:
    """Returns the lines of code that a section of the guide shows, by file.

    A test adds exactly this code to a copy of the project and uses it.

    Args:
        section: its title.
        guide: where it is.

    Raises:
        FashionTransferError: there is no such section.
    """
    text = guide.read_text(encoding="utf-8") if guide.is_file() else ""
    parts = SECTION.split(text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if section not in sections:
        raise FashionTransferError(f"{guide} has no section ### {section}")
    lines: dict[str, int] = {}
    for path, code in BLOCK.findall(sections[section]):
        lines[path] = lines.get(path, 0) + len(code.splitlines())
    return lines
