"""Run folders: the files of a run, and its lock."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fashion_transfer.files import Lock, write_text

METRICS = "metrics.json"
BEST = Path("checkpoints") / "best.ckpt"
LAST = Path("checkpoints") / "last.ckpt"

YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C loader takes a tenth of the time, where PyYAML was built with it."""


def write_metrics(folder: Path, metrics: Mapping[str, Any]) -> None:
    """Writes `metrics.json`, one flat object; a run that has it is finished.

    JSON knows no nan and no infinity: they become null.
    """
    known = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in metrics.items()
    }
    write_text(folder / METRICS, json.dumps(known, indent=2) + "\n")


def run_lock(folder: Path) -> Lock:
    """Returns a lock to hold while a run is under way.

    The operating system releases it when the process is killed.
    """
    return Lock(folder / ".lock", timeout=0)
