"""What runs differ in: the settings behind the rows of a table, and means over seeds."""

import re
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from fashion_transfer.runs.record import NOT_COMPARED, RunRecord

Settings = Mapping[str, Any]

NO_SETTINGS = (
    "callbacks.figures",
    "callbacks.progress",
    "callbacks.projector",
    "callbacks.rate",
    "logger.",
    "paths.",
    "sweep.",
    "trainer.enable_progress_bar",
)
"""Beginnings of the keys that change nothing but what is printed, drawn and written where."""

TOO_SHORT = {"name", "dir", "size", "weights"}
"""Last parts of keys that say nothing without the part before."""

CHOICES = {"AdamW": "adamw", "OneCycleLR": "one_cycle"}
"""Files that stand for classes that version 0.1.0 chose no file for."""

_INTERPOLATION = re.compile(r"\$\{(?:oc\.select:)?([\w.]+)(?:,[^{}]*)?\}")


class Spread(NamedTuple):
    """A metric over seeds.

    Attributes:
        mean: over the seeds.
        deviation: standard deviation of the sample; None of one seed.
    """

    mean: float
    deviation: float | None


class SeedGroup(NamedTuple):
    """Runs that differ in nothing but the seed.

    Attributes:
        members: positions of the runs.
        seeds: number of different seeds.
        metrics: each number that all of these runs have, over the seeds.
    """

    members: list[int]
    seeds: int
    metrics: dict[str, Spread]


def settings(record: RunRecord) -> dict[str, Any]:
    """Returns what a run's metrics depend on: configuration values by dotted key.

    The chosen file stands for a class of a group, as `model.optimizer: adamw`, and the text
    "null" for a value that is null. Left out are paths, loggers, and copies of the seed.
    """
    choices = {group.replace("/", "."): choice for group, choice in record.choices.items()}
    typed = typed_keys(record)
    config = record.config
    values: dict[str, Any] = {}
    for key, value in config.items():
        if key in NOT_COMPARED or key.startswith(NO_SETTINGS):
            continue
        if isinstance(value, str) and "${" in value:
            value = _resolved(value, config)
            if "${" in str(value):
                continue
        if key.endswith("_target_"):
            group = key.removesuffix("._target_")
            class_name = str(value).rpartition(".")[2]
            choice = choices.get(group) if key not in typed else None
            values[group] = choice or CHOICES.get(class_name, class_name)
        elif not (key.endswith(".seed") and value == config.get("seed")):
            values[key] = "null" if value is None else value
    for name in ("experiment", "debug"):
        if choices.get(name) is not None:
            values[name] = choices[name]
    return values


def typed_keys(record: RunRecord) -> set[str]:
    """Returns the keys, and dotted groups, that the user gave a run by overrides."""
    keys = (override.lstrip("+~").partition("=")[0] for override in record.overrides)
    return {key.partition("@")[0].replace("/", ".") for key in keys}


def differing(rows: Sequence[Settings], typed: Collection[str] = ()) -> list[str]:
    """Returns the keys whose values are not the same in all rows, in the order of the rows.

    A key that some rows lack and that has one value in the others comes with another choice, as
    the momentum of an optimizer, or with a later version: it counts only if the user gave it.

    Args:
        rows: the settings of each run.
        typed: keys that users gave, see `typed_keys`.
    """
    present = Counter(key for row in rows for key in row)
    changed = _changed(rows)
    return [
        key
        for key, count in present.items()
        if key in changed or (count < len(rows) and key in typed)
    ]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Returns the shortest end of each dotted key that no other of the keys has."""
    parts = {key: key.split(".") for key in keys}
    length = {key: min(len(parts[key]), 1 + (parts[key][-1] in TOO_SHORT)) for key in keys}
    while True:
        names = {key: ".".join(parts[key][-length[key] :]) for key in keys}
        count = Counter(names.values())
        longer = [k for k in parts if count[names[k]] > 1 and length[k] < len(parts[k])]
        if not longer:
            return names
        for key in longer:
            length[key] += 1


def over_seeds(
    rows: Sequence[Settings], metrics: Sequence[Mapping[str, Any]], seed: str = "seed"
) -> list[SeedGroup]:
    """Returns the runs that differ in nothing but the seed as one group, in the order of the rows.

    Of runs with equal settings and seed, the metrics of the first one count.

    Args:
        rows: the settings of each run.
        metrics: of each run.
        seed: key of the seed.
    """
    present = Counter(key for row in rows for key in row)
    changed = _changed(rows) | {key for key, count in present.items() if count < len(rows)}
    names = sorted(changed - {seed})
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for position, row in enumerate(rows):
        texts = (value_text(row[name]) if name in row else None for name in names)
        groups.setdefault(tuple(texts), []).append(position)
    return [_seed_group(members, rows, metrics, seed) for members in groups.values()]


def _changed(rows: Sequence[Settings]) -> set[str]:
    """Returns the keys that have more than one value."""
    first: dict[str, Any] = {}
    changed: set[str] = set()
    for row in rows:
        for key, value in row.items():
            other = first.setdefault(key, value)
            if value is other or key in changed:
                continue
            # Equal numbers have one text, but true equals 1.
            if (value != other or type(value) is not type(other)) and (
                value_text(value) != value_text(other)
            ):
                changed.add(key)
    return changed


def _seed_group(
    members: list[int], rows: Sequence[Settings], metrics: Sequence[Mapping[str, Any]], seed: str
) -> SeedGroup:
    by_seed: dict[str, Mapping[str, Any]] = {}
    for position in members:
        by_seed.setdefault(value_text(rows[position].get(seed)), metrics[position])
    runs = list(by_seed.values())
    names = [name for name in runs[0] if all(is_number(run.get(name)) for run in runs)]
    return SeedGroup(
        members, len(runs), {name: spread([run[name] for run in runs]) for name in names}
    )


def spread(values: Sequence[float]) -> Spread:
    """Returns mean and standard deviation of at least one number."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation)


def is_number(value: Any) -> bool:
    """Returns whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_text(value: Any) -> str:
    """Returns a configuration value as one writes it in an override: `null`, `true`, `[a,b]`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, list):
        return f"[{','.join(map(value_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{value_text(entry)}' for key, entry in value.items())}}}"
    return str(value)


def _resolved(value: str, config: Mapping[str, Any]) -> Any:
    """Fills in what `.hydra/config.yaml` leaves to other keys: it is all an old run has."""
    if match := _INTERPOLATION.fullmatch(value):
        return config.get(match[1], value)
    return _INTERPOLATION.sub(lambda match: str(config.get(match[1], match[0])), value)
