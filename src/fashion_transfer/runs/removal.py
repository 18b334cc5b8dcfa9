"""Removes runs that nobody needs: debug runs, and those that did not finish."""

import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from filelock import Timeout

from fashion_transfer.runs.collection import Run
from fashion_transfer.runs.folders import run_lock

UNFINISHED = ("failed", "interrupted", "killed")
"""Status of the runs that are removed, beside those of debug runs."""

_MARK = ".removed-"


def removable(runs: Iterable[Run]) -> list[Run]:
    """Returns the debug runs and those that did not finish; none that is running.

    A folder that holds another run, which stays, stays too.
    """
    runs = list(runs)
    chosen = [r for r in runs if r.status != "running" and (r.debug or r.status in UNFINISHED)]
    staying = {run.folder for run in runs} - {run.folder for run in chosen}
    around = {parent for folder in staying for parent in folder.parents}
    return [run for run in chosen if run.folder not in around]


def size(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(
        file.lstat().st_size for file in folder.rglob("*") if not file.is_dir() or file.is_symlink()
    )


def remove(run: Run, logs: Path) -> bool:
    """Removes the folder of a run, and the folders around it that it leaves empty.

    It is renamed first, to a name that no table shows, so that half a run is never listed.

    Args:
        run: to remove.
        logs: the folder of all runs, which stays.

    Returns:
        Whether it was removed: not if it is running again.
    """
    hidden = run.folder.with_name(f"{_MARK}{secrets.token_hex(4)}")
    try:
        with run_lock(run.folder):
            run.folder.rename(hidden)
    except Timeout:
        return False
    shutil.rmtree(hidden)
    for parent in run.folder.parents:
        if parent == logs or logs not in parent.parents or any(parent.iterdir()):
            break
        parent.rmdir()
    return True


def leftovers(logs: Path) -> list[Path]:
    """Returns the folders of an earlier removal that was interrupted."""
    return [path for path in logs.rglob(f"{_MARK}*") if path.is_dir()]
