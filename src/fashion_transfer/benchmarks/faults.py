"""What kills and disks do to the commands: `make faults` counts what is lost or wrong.

Processes are killed at random moments while they compute features, train, save checkpoints, sweep
and search; disks are full, limited or can only be read; two runs start at once. Nothing may be
lost or wrong. Parts run side by side, one on each core.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fashion_transfer.benchmarks import kill_runs, two_at_once
from fashion_transfer.benchmarks.full_disk import TRIED, can_mount, count_full, count_read_only
from fashion_transfer.benchmarks.kill_search import SearchKiller
from fashion_transfer.benchmarks.kill_sweep import SweepKiller
from fashion_transfer.benchmarks.killing import KILLS, scratch_folder
from fashion_transfer.benchmarks.machine import log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.runs.table import Row, render

Part = Callable[[Path], dict[str, int]]
"""Returns what went wrong, and how much was tried, in an empty folder."""

COLUMNS = ("part", "tried", "lost or wrong", "seconds", "what")


def parts(seed: int, overrides: Sequence[str], mounting: bool) -> dict[str, Part]:
    """Returns the parts by name, those that take longest first.

    Args:
        seed: of the moments and sizes.
        overrides: of every run.
        mounting: whether file systems can be mounted here: without, some parts are left out.
    """

    def runs(kills: int, phase: kill_runs.Phase) -> Part:
        return lambda folder: kill_runs.count_defects(folder, kills, seed, overrides, phase)

    on_disks: dict[str, Part] = {
        "full disk": lambda folder: count_full(folder, 5, seed, overrides),
        "read-only disk": lambda folder: count_read_only(folder, overrides),
    }
    return {
        "kill -9 in a search": lambda folder: SearchKiller(folder, seed, overrides).run(4),
        "kill -9 in a sweep": lambda folder: SweepKiller(folder, seed, overrides).run(4),
        "kill -9 in features": runs(4, kill_runs.COMPUTING),
        "kill -9 in fit": runs(4, kill_runs.RUN),
        "kill -9 in a checkpoint": runs(4, kill_runs.SAVING),
        **(on_disks if mounting else {}),
        "files of limited size": lambda folder: count_full(folder, 3, seed, overrides, True),
        "two runs at once": lambda folder: two_at_once.count_defects(folder, overrides),
    }


def try_part(name: str, part: Part, scratch: Path) -> Row:
    """Runs a part, and returns its row of the table."""
    folder = scratch / name.replace(" ", "-")
    folder.mkdir()
    start = time.perf_counter()
    log_progress(f"{name} …")
    try:
        counts = part(folder)
    except FashionTransferError as error:
        counts = {str(error): 1}
    tried = sum(counts.pop(count, 0) for count in (KILLS, TRIED))
    wrong = {what: count for what, count in counts.items() if count}
    values = (
        name,
        tried,
        sum(wrong.values()),
        time.perf_counter() - start,
        ", ".join(f"{count} {what}" for what, count in wrong.items()),
    )
    if not wrong:
        shutil.rmtree(folder)
    return dict(zip(COLUMNS, values, strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; returns the exit status, 1 if anything was lost or wrong."""
    parser = argparse.ArgumentParser(prog="make faults ARGS=…", description=__doc__)
    parser.add_argument("--only", default="", help="parts whose name has this text")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and sizes")
    parser.add_argument("--output", type=Path, help="JSON file to write the rows to")
    parser.add_argument("overrides", nargs="*", help="of every run, beside debug=tiny")
    chosen = parser.parse_args(arguments)
    # One thread a process, or the last bits of sums would differ between them.
    os.environ["OMP_NUM_THREADS"] = "1"
    start = time.perf_counter()
    with scratch_folder() as scratch:
        (probe := scratch / "probe").mkdir()
        mounting = can_mount(probe)
        named = parts(chosen.seed, chosen.overrides, mounting)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = list(
                pool.map(
                    lambda name: try_part(name, named[name], scratch),
                    [name for name in named if chosen.only in name],
                )
            )
    print(
        render(rows, {name: name for name in COLUMNS}, shutil.get_terminal_size().columns), end=""
    )
    print(f"{(time.perf_counter() - start) / 60:.1f} minutes")
    if not mounting:
        print("without full and read-only disks: file systems cannot be mounted here")
    if chosen.output is not None:
        write_text(chosen.output, json.dumps(rows, indent=1) + "\n")
    return int(any(row["lost or wrong"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
