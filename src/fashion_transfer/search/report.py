"""What a study ends in: a table of its trials, figures, and the command of the winner."""

import statistics
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fashion_transfer.files import write_csv, write_text
from fashion_transfer.reporting import save_figure
from fashion_transfer.reporting.search import history_figure, importance_figure, slices_figure
from fashion_transfer.reporting.tables import markdown_table
from fashion_transfer.runs.record import read_metrics
from fashion_transfer.search.space import Value, override_text
from fashion_transfer.search.study import ERROR, SearchStudy

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}

PRINTED = 10
"""Rows of the table in the terminal; the files have all of them."""

FEW = 5
"""Finished and pruned trials below which importances would be noise."""


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        number: of the trial.
        state: finished, pruned, failed or running.
        value: of the metric; of a pruned trial after its last epoch.
        epochs: that it was trained for.
        accuracy: on the validation images.
        seconds: of its run.
        values: of what is searched, by key.
        error: why it failed.
    """

    number: int
    state: str
    value: float | None
    epochs: int | None
    accuracy: float | None
    seconds: float | None
    values: Mapping[str, Value]
    error: str


def trial_line(
    study: SearchStudy, number: int, trials: int, seconds: float, minutes_left: float
) -> str:
    """Returns the line that a trial ends with."""
    trial, best = study.trials()[number], study.best()
    value = trial.value if trial.value is not None else None
    error = trial.user_attrs.get(ERROR, "")
    state = STATES[trial.state]
    epochs = f" after {_count(trial.last_step, 'epoch')}" if state == "pruned" else ""
    parts = [
        f"trial {number} (of {trials}): "
        + (f"{value:.4f}" if value is not None else "no value")
        + ("" if state == "finished" else f", {state}{epochs}")
        + (f" ({error})" if error else ""),
        f"{seconds:.1f} s",
        f"best {best.value:.4f} (trial {best.number})" if best else "none finished",
    ]
    if minutes_left > 0:
        parts.append(f"about {max(1, round(minutes_left))} min left")
    return " · ".join(parts)


def read_rows(study: SearchStudy) -> list[Row]:
    """Returns all trials: finished ones by value, then pruned ones, then the others."""
    sign = 1 if study.study.direction == optuna.study.StudyDirection.MINIMIZE else -1

    def order(row: Row) -> tuple[Any, ...]:
        value = float("inf") if row.value is None or row.value != row.value else sign * row.value
        rank = {"finished": 0, "pruned": 1}.get(row.state, 2)
        return rank, -(row.epochs or 0) if rank == 1 else 0, value, row.number

    return sorted((_row(study, trial) for trial in study.trials()), key=order)


def _row(study: SearchStudy, trial: FrozenTrial) -> Row:
    metrics = read_metrics(study.run_folder(trial.number))
    seconds = [value for name, value in metrics.items() if name.startswith("seconds/")]
    return Row(
        trial.number,
        STATES[trial.state],
        trial.value,
        trial.last_step,
        metrics.get("val/accuracy"),
        sum(seconds) if seconds else None,
        trial.params,
        trial.user_attrs.get(ERROR, ""),
    )


def write_report(
    study: SearchStudy, metric: str, command: str | None, test: Mapping[str, Any] | None
) -> None:
    """Writes `search.csv`, `search.md` and the figures into the study's folder, and prints them.

    Args:
        study: with all of its trials.
        metric: that was searched by.
        command: trains the winner; None if there is none.
        test: its metrics, test included; none of them where it was not tested.
    """
    rows = read_rows(study)
    keys = list(dict.fromkeys(key for row in rows for key in row.values))
    header = ("trial", "state", metric, "val/accuracy", "epochs", "seconds", *keys, "error")
    cells = [
        (row.number, row.state, row.value, row.accuracy, row.epochs, row.seconds)
        + (*(row.values.get(key) for key in keys), row.error)
        for row in rows
    ]
    write_csv(study.folder / "search.csv", header, cells)
    figures = _write_figures(study, metric, keys)
    summary = _summary(rows, metric, test)
    text = [f"# Search: {study.folder.name}", summary]
    if command:
        text.append(f"The command of the winner:\n\n```\n{command}\n```")
    text.append(markdown_table(header, [[_cell(cell) for cell in row] for row in cells], (1,)))
    text += [f"![{name.replace('_', ' ')}]({name}.png)" for name in figures]
    write_text(study.folder / "search.md", "\n\n".join(text).rstrip("\n") + "\n")
    _print_rows(rows, metric)
    print(f"\n{summary}")
    print(f"table and figures: {study.folder / 'search.md'}")
    if command:
        print(f"the winner:\n{command}")


def _summary(rows: Sequence[Row], metric: str, test: Mapping[str, Any] | None) -> str:
    counts = Counter(row.state for row in rows)
    states = ", ".join(f"{counts[s]} {s}" for s in STATES.values() if counts[s])
    lines = [f"{_count(len(rows), 'trial')}: {states}."]
    best = rows[0] if rows and rows[0].state == "finished" else None
    if best is not None:
        lines.append(f"Best: trial {best.number}, {metric} {best.value:.4f}.")
    accuracy = (test or {}).get("test/accuracy")
    if accuracy is not None:
        lines.append(f"Tested once: test/accuracy {accuracy:.2%}.")
    return " ".join(lines)


def _print_rows(rows: Sequence[Row], metric: str) -> None:
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("trial", metric, "val/accuracy".replace("/", "/\n"), "epochs"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("values", overflow="fold")
    shown = rows[:PRINTED]
    names = short_names(list(dict.fromkeys(key for row in shown for key in row.values)))
    for row in shown:
        values = " ".join(f"{names[k]}={override_text(v)}" for k, v in row.values.items())
        state = "" if row.state == "finished" else f"{row.state}: {row.error or ''}".rstrip(": ")
        table.add_row(
            str(row.number),
            "–" if row.value is None else f"{row.value:.4f}",
            "–" if row.accuracy is None else f"{row.accuracy:.2%}",
            "–" if row.epochs is None else str(row.epochs),
            Text(f"{state} {values}".strip()),
        )
    Console().print(table)
    if len(rows) > len(shown):
        print(f"… and {len(rows) - len(shown)} more in search.csv")


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns the shortest ends of dotted keys that tell them apart."""
    names = {}
    for key in keys:
        parts = key.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[-length:])
            if sum(f".{other}".endswith(f".{name}") for other in keys) == 1:
                break
        names[key] = name
    return names


def _write_figures(study: SearchStudy, metric: str, keys: Sequence[str]) -> list[str]:
    """Writes the figures that there are enough trials for; returns their names."""
    trials = [trial for trial in study.trials() if trial.state in (TrialState.COMPLETE,)]
    pruned = [trial for trial in study.trials() if trial.state == TrialState.PRUNED]
    if not trials:
        return []
    minimise = study.study.direction == optuna.study.StudyDirection.MINIMIZE
    names = short_names(keys)
    points = [(trial.number, float(trial.value or 0.0)) for trial in trials]
    crosses = [(t.number, float(t.value)) for t in pruned if t.value is not None]
    figures = {"history": history_figure(points, crosses, metric, minimise)}
    values = [float(trial.value or 0.0) for trial in trials]
    columns = {names[key]: [trial.params.get(key) for trial in trials] for key in keys}
    logarithmic = {
        names[key]: (ends.low, ends.high)
        for key, ends in trials[0].distributions.items()
        if isinstance(ends, FloatDistribution | IntDistribution) and ends.log
    }
    figures["slices"] = slices_figure(columns, values, metric, logarithmic)
    if len(trials) >= FEW and len(keys) > 1 and statistics.pstdev(values) > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importances = get_param_importances(study.study)
        figures["importance"] = importance_figure({names[k]: v for k, v in importances.items()})
    for name, figure in figures.items():
        save_figure(figure, study.folder / f"{name}.png")
    return list(figures)


def _cell(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _count(number: int | None, noun: str) -> str:
    return f"{number or 0} {noun}{'' if number == 1 else 's'}"
