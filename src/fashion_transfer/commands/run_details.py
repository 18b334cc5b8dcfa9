"""One run in full, and two side by side."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fashion_transfer.runs.collection import Run
from fashion_transfer.runs.differences import is_number, settings, value_text
from fashion_transfer.runs.record import RunRecord, flatten
from fashion_transfer.runs.table import cell_text, is_metric, printable, render

ROOT = Path(__file__).resolve().parents[3]
ORIGIN = ("status", "date", "commit", "weights")


def print_run(run: Run) -> None:
    """Prints how a run ended, its command, what it changes, its metrics and its files."""
    row = run.row
    print(f"run {printable(str(run.folder))}")
    for name in (*ORIGIN, "error"):
        if name in row:
            print(f"{name}: {printable(str(row[name]))}")
    if run.record is not None:
        print(f"command: {printable(run.record.command)}")
        _print_changes(run)
    if run.metrics:
        print()
        _print_table(
            [{"metric": name, "value": cell_text(name, value)} for name, value in _metrics(run)]
        )
    print()
    _print_table([{"file": name, "MB": text} for name, text in _files(run.folder)])


def print_difference(a: Run, b: Run) -> None:
    """Prints the settings, metrics, weights and versions that two runs do not have in common."""
    print(f"a: {printable(a.path)}\nb: {printable(b.path)}\n")
    names = dict.fromkeys([*ORIGIN, *a.settings, *b.settings, *a.metrics, *b.metrics])
    rows = []
    for name in names:
        first, second = a.row.get(name), b.row.get(name)
        if value_text(first) == value_text(second) or name == "weights/name":
            continue
        change = ""
        if is_metric(name) and first is not None and is_number(first) and is_number(second):
            change = f"{'+' if second >= first else '-'}{cell_text(name, abs(second - first))}"
        texts = [_text(name, run.row) for run in (a, b)]
        rows.append({"": name, "a": texts[0], "b": texts[1], "b - a": change})
    _print_table(rows) if rows else print("no difference")


def default_settings() -> dict[str, Any]:
    """Returns the settings of a run without overrides."""
    from hydra import compose, initialize_config_dir
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    os.environ.setdefault("FASHION_TRANSFER_RUN", "")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", ["hydra.runtime.output_dir=."], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        choices = dict(cfg.hydra.runtime.choices)
        values = {key: value for key, value in cfg.items() if key != "hydra"}
        config = flatten(OmegaConf.to_container(OmegaConf.create(values), resolve=True))
    return settings(RunRecord(Path(), config=config, choices=choices))


def _text(name: str, row: Mapping[str, Any]) -> str:
    """Returns a value; a dash where there is none, and `null` where it is that."""
    if name not in row:
        return "–"
    return cell_text(name, row[name]) or value_text(row[name])


def _print_changes(run: Run) -> None:
    defaults = default_settings()
    keys = [k for k, v in run.settings.items() if value_text(v) != value_text(defaults.get(k))]
    print("differs from the defaults in:" if keys else "as the defaults")
    rows = [
        {"key": k, "value": _text(k, run.settings), "default": _text(k, defaults)} for k in keys
    ]
    if rows:
        print()
        _print_table(rows)


def _metrics(run: Run) -> Iterable[tuple[str, Any]]:
    return ((k, v) for k, v in run.metrics.items() if not k.startswith("versions/"))


def _files(folder: Path) -> Iterable[tuple[str, str]]:
    """Yields the files and folders in a folder, and their size in MB."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            files = path.rglob("*") if entry.is_dir(follow_symlinks=False) else [path]
            total = sum(file.lstat().st_size for file in files)
            yield f"{entry.name}{'/' if path.is_dir() else ''}", f"{total / 1e6:.1f}"


def _print_table(rows: list[dict[str, Any]]) -> None:
    columns = {name: name for name in rows[0]}
    print(render(rows, columns, shutil.get_terminal_size().columns), end="")
