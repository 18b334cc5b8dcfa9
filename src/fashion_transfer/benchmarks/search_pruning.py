"""What pruning saves a search, and what it costs: the same studies with it and without.

`python -m fashion_transfer.benchmarks.search_pruning --weights PATH`: seconds of the whole command,
features cached before, and the best val/loss. The difference between the best values is set
against their deviation over the study seeds without pruning.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from os.path import expanduser
from pathlib import Path
from typing import NamedTuple

import optuna
from rich.console import Console
from rich.table import Table

from fashion_transfer.benchmarks.kill_search import read_trials
from fashion_transfer.benchmarks.killing import Process
from fashion_transfer.benchmarks.machine import conditions, log_progress
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.paths import user_path
from fashion_transfer.search.pruning import PRUNERS

MUST, AIM = 0.7, 0.5
"""Seconds with pruning, as a fraction of those without: at most."""


class Search(NamedTuple):
    """One search that has ended."""

    study_seed: int
    pruner: str
    seconds: float
    best: float
    pruned: int
    epochs: int


def main() -> int:
    """Runs the searches, prints a table, writes JSON; exit status 1 if a condition is not met."""
    options = _parser().parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    given = ["experiment=fast", f"model.backbone.weights={options.weights}", "logger=none"]
    given += ["test=false", *options.overrides]
    searches: list[Search] = []
    try:
        with tempfile.TemporaryDirectory(prefix="search-pruning-") as scratch:
            # Features are computed here, once, and the time that a trial takes is learned.
            for trials in (1, 4):
                warm = _search(Path(scratch), [*given, f"study=warm{trials}"], 0, "none", trials)
            minutes = warm.seconds / 4 * options.trials * options.seeds * 2 / 60
            log_progress(f"about {minutes:.0f} min at most for {2 * options.seeds} searches")
            for seed in range(options.seeds):
                # Taking turns at going first: a machine that slows down favours neither.
                for pruner in PRUNERS if seed % 2 else reversed(PRUNERS):
                    study = f"study={pruner}-{seed}"
                    search = _search(Path(scratch), [*given, study], seed, pruner, options.trials)
                    searches.append(search)
                    log_progress(
                        f"seed {seed}, {pruner}: {search.seconds:.0f} s, best {search.best:.4f}"
                    )
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    result = summary(searches)
    _print(searches, result)
    if options.output is not None:
        rows = [search._asdict() for search in searches]
        entries = conditions() | {"trials": options.trials, **result, "searches": rows}
        write_text(options.output, json.dumps(entries, indent=1) + "\n")
    return int(result["ratio"] > MUST or result["worse"] > result["deviation"])


def summary(searches: Sequence[Search]) -> dict[str, float]:
    """Returns what pruning does, over study seeds.

    Returns:
        `ratio`: median of the seconds with pruning by those without; `worse`: median of the best
        value with pruning less that without; `deviation` of the best values without, over seeds.
    """
    plain = {search.study_seed: search for search in searches if search.pruner == "none"}
    pairs = [(s, plain[s.study_seed]) for s in searches if s.pruner != "none"]
    best = [search.best for search in plain.values()]
    return {
        "ratio": statistics.median(pruned.seconds / other.seconds for pruned, other in pairs),
        "worse": statistics.median(pruned.best - other.best for pruned, other in pairs),
        "deviation": statistics.stdev(best) if len(best) > 1 else 0.0,
    }


def _search(
    scratch: Path, given: Sequence[str], study_seed: int, pruner: str, trials: int
) -> Search:
    name = given[-1].removeprefix("study=")
    log = scratch / f"{name}.log"
    own = [f"study_seed={study_seed}", f"pruner={pruner}", f"trials={trials}"]
    start = time.monotonic()
    Process([*given, *own, f"paths.logs={scratch}"], log, "search.py").wait()
    seconds = time.monotonic() - start
    ended = read_trials(scratch / "search" / name)
    states = Counter(trial.state.name for trial in ended)
    values = [trial.value for trial in ended if trial.state.name == "COMPLETE" and trial.value]
    epochs = sum(trial.last_step or 0 for trial in ended)
    return Search(study_seed, pruner, seconds, min(values), states["PRUNED"], epochs)


def _print(searches: Sequence[Search], result: dict[str, float]) -> None:
    table = Table(show_edge=False)
    for name in ("study seed", "pruner", "seconds", "best val/loss", "pruned", "epochs"):
        table.add_column(name, justify="left" if name == "pruner" else "right")
    for search in searches:
        seed, pruner, seconds, best, pruned, epochs = search
        table.add_row(str(seed), pruner, f"{seconds:.0f}", f"{best:.4f}", str(pruned), str(epochs))
    Console().print(table)
    print(f"seconds, median ratio: {result['ratio']:.2f} (must {MUST}, aim {AIM})")
    print(
        f"best val/loss, median difference: {result['worse']:+.4f} "
        f"(deviation over study seeds without pruning: {result['deviation']:.4f})"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measures what pruning saves a search.")
    parser.add_argument("--trials", type=int, default=60, help="of each search")
    parser.add_argument("--seeds", type=int, default=5, help="number of study seeds, from 0")
    parser.add_argument(
        "--weights", type=expanduser, default="IMAGENET1K_V1", help="of ResNet50, name or path"
    )
    parser.add_argument("--output", type=user_path, help="JSON file to write the numbers to")
    parser.add_argument("overrides", nargs="*", help="of every search")
    return parser


if __name__ == "__main__":
    sys.exit(main())
