"""What `runs.py` does: a table of every training run, one run, two runs, and removing some."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fashion_transfer.commands.run_details import print_difference, print_run
from fashion_transfer.commands.runs_parser import parser
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import cannot_write, write_text
from fashion_transfer.runs.collection import Run, choose, collect
from fashion_transfer.runs.differences import differing
from fashion_transfer.runs.leaderboard import METRICS, MORE_METRICS, Leaderboard, leaderboard
from fashion_transfer.runs.removal import leftovers, removable, remove, size
from fashion_transfer.runs.selection import (
    default_metric,
    full_name,
    parse_condition,
    sort_runs,
)
from fashion_transfer.runs.table import cell_text, printable, render, to_csv, to_markdown
from fashion_transfer.terminal import command


@command()
def main(arguments: list[str] | None = None) -> None:
    """Runs `runs.py`; a user's mistake is one line on stderr and exit status 1."""
    chosen = parser().parse_args(arguments)
    commands = {"show": _show, "diff": _diff, "prune": _prune}
    try:
        commands.get(chosen.command, _list)(chosen)
    except BrokenPipeError:
        raise
    except OSError as error:
        reason = cannot_write(error) or f"{error.filename or ''}: {error.strerror}"
        raise FashionTransferError(reason) from error


def _list(chosen: argparse.Namespace) -> None:
    output: Path | None = chosen.output
    if output is not None and output.suffix not in (".html", ".md", ".csv"):
        raise FashionTransferError(f"--output {output} must end in .html, .md or .csv")
    if output is not None and not output.absolute().parent.is_dir():
        raise FashionTransferError(f"--output {output}: there is no folder {output.parent}")
    fitting = _filtered(chosen, _collected(chosen))
    shown = [run for run in fitting if getattr(chosen, "all", False) or not run.debug]
    left_out = len(fitting) - len(shown)
    if not shown:
        hint = f"; {_count(left_out, 'debug run')} with --all" if left_out else ""
        print(f"no run fits{hint}")
        return
    names = _names(shown) | {"seeds": chosen.seeds}
    metrics = [full_name(name, names, "--metric") for name in chosen.metric]
    columns = [full_name(n.strip(), names, "--columns") for n in chosen.columns.split(",") if n]
    usual = METRICS if output is None else MORE_METRICS
    board = leaderboard(shown, metrics or usual, columns, chosen.seeds)
    order = full_name(chosen.sort, names, "--sort") if chosen.sort else default_metric(shown)
    board = board.sorted(order or "date", chosen.reverse)
    total = len(board.rows)
    board = board.take(range(min(chosen.limit or total, total)))
    note = f"{_count(len(board.rows), 'row' if chosen.seeds else 'run')}" + (
        f" of {total}" if len(board.rows) < total else ""
    )
    note += f", by {order or 'date'}"
    if chosen.seeds and (unfinished := sum(not run.metrics for run in shown)):
        note += f"; {_count(unfinished, 'unfinished run')} left out"
    if left_out:
        note += f"; {_count(left_out, 'debug run')} left out, see --all"
    if output is not None:
        write_text(output, _file(board, output.suffix, f"runs of {_logs(chosen)}", note))
        print(f"written: {output} ({note})")
        return
    _print_board(board, chosen.commands)
    print(note)


def _file(board: Leaderboard, ending: str, title: str, note: str) -> str:
    """Returns the content of a file of the table."""
    if ending == ".html":
        from fashion_transfer.runs.html_page import to_html  # imports Pillow

        return to_html(board, title, note)
    if ending == ".csv":
        # For other programs: everything, by its full name.
        names = dict.fromkeys([*board.columns, *(name for row in board.rows for name in row)])
        return to_csv(board.rows, list(names))
    columns = board.columns | {name: name for name in (*board.same, "command")}
    return to_markdown(board.rows, columns)


def _print_board(board: Leaderboard, commands: bool) -> None:
    """Prints a table, what its rows have in common, and what failed."""
    columns = {name: heading for name, heading in board.columns.items() if name != "error"}
    print(render(board.rows, columns, shutil.get_terminal_size().columns))
    if board.same:
        print("all: " + ", ".join(f"{k} {cell_text(k, v)}" for k, v in board.same.items()))
    for row in board.rows:
        if "error" in row:
            print(f"{row.get('run')} {row['status']}: {printable(str(row['error']))}")
    if commands:
        for row in board.rows:
            name = row.get("run") or f"{row['seeds']} seeds"
            print(f"{name}: {printable(str(row.get('command', '')))}")


def _show(chosen: argparse.Namespace) -> None:
    runs = _collected(chosen)
    matching = _chosen(chosen.run, runs, _logs(chosen))
    if len(matching) == 1:
        print_run(matching[0])
        return
    board = leaderboard(matching)
    _print_board(board.sorted(default_metric(matching) or "date"), commands=False)
    print(_count(len(matching), "run"))


def _diff(chosen: argparse.Namespace) -> None:
    runs, logs = _collected(chosen), _logs(chosen)
    pair = []
    for text in (chosen.a, chosen.b):
        matching = _chosen(text, runs, logs)
        if len(matching) > 1:
            raise FashionTransferError(f"{text} holds {len(matching)} runs: name one of them")
        pair += matching
    print_difference(*pair)


def _prune(chosen: argparse.Namespace) -> None:
    logs = _logs(chosen)
    every = _collected(chosen)
    fitting = {id(run) for run in _filtered(chosen, every)}
    runs = [run for run in removable(every) if id(run) in fitting]
    left = leftovers(logs)
    if not runs and not left:
        print("nothing to remove: no debug run, and none that failed, was interrupted or killed")
        return
    sizes = [size(run.folder) for run in runs]
    rows: list[dict[str, Any]] = [
        {
            "run": run.path,
            "status": run.status,
            "debug": run.row.get("debug"),
            "MB": round(bytes_ / 1e6, 1),
        }
        for run, bytes_ in zip(runs, sizes, strict=True)
    ]
    columns = {name: name for name in ("run", "status", "debug", "MB")}
    print(render(rows, columns, shutil.get_terminal_size().columns))
    total = sum(sizes) + sum(map(size, left))
    summary = f"{_count(len(runs), 'run')}, {total / 1e6:.1f} MB"
    if chosen.dry_run:
        print(f"{summary}; nothing is removed")
        return
    if not chosen.yes and not _confirmed(f"remove {summary}? [y/N] "):
        print("nothing removed")
        return
    removed = sum(remove(run, logs) for run in runs)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"removed {_count(removed, 'run')}")
    if removed < len(runs):
        print(f"{_count(len(runs) - removed, 'run')} went on meanwhile, and stayed")


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise FashionTransferError(
            "prune asks before it removes runs: use --yes without a terminal"
        )
    return input(question).strip().lower() in ("y", "yes")


def _collected(chosen: argparse.Namespace) -> list[Run]:
    logs = _logs(chosen)
    if not logs.is_dir():
        raise FashionTransferError(
            f"there is no folder {logs}: run `python train.py` first, or name one with --logs"
        )
    runs = collect(logs)
    if not runs:
        raise FashionTransferError(f"no training run under {logs}: run `python train.py` first")
    return runs


def _logs(chosen: argparse.Namespace) -> Path:
    return getattr(chosen, "logs", Path("logs"))


def _filtered(chosen: argparse.Namespace, runs: Sequence[Run]) -> list[Run]:
    texts = getattr(chosen, "where", [])
    names = _names(runs) if texts else {}
    conditions = [parse_condition(text, names) for text in texts]
    return [run for run in runs if all(condition.holds(run.row) for condition in conditions)]


def _names(runs: Sequence[Run]) -> dict[str, bool]:
    """Returns the names of all columns that runs could have, and whether they differ in it."""
    names = dict.fromkeys((name for run in runs for name in run.row), False)
    return names | dict.fromkeys(differing([run.row for run in runs]), True)


def _chosen(text: str, runs: Sequence[Run], logs: Path) -> list[Run]:
    """Returns the runs that a user names: `last`, `best`, or as `choose` has it."""
    whole = [run for run in runs if not run.debug]
    if text == "last" and whole:
        return whole[:1]
    if text == "best":
        finished = [run for run in whole if run.status == "finished"]
        metric = default_metric(finished)
        if metric is None:
            raise FashionTransferError(
                "best: the finished runs have no monitor.metric in common: name a run"
            )
        return sort_runs(finished, metric)[:1]
    return choose(text, runs, logs)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
