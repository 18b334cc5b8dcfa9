"""The space of a search: which keys of the configuration vary, and between which values."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from fashion_transfer.errors import FashionTransferError

Value: TypeAlias = bool | int | float | str | None

GROUP = "search"
"""The node of the configuration that holds the space."""

RANGE_ENTRIES = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Parameter:
    """One key that varies, and how its values are drawn.

    Attributes:
        key: of the configuration, dotted; a group such as `model/head` with its options as choices.
        distribution: of its values.
    """

    key: str
    distribution: BaseDistribution

    def suggest(self, trial: Trial) -> Value:
        """Returns the trial's value of it; a new trial draws one, and stores it."""
        spread = self.distribution
        if isinstance(spread, FloatDistribution):
            return trial.suggest_float(
                self.key, spread.low, spread.high, log=spread.log, step=spread.step
            )
        if isinstance(spread, IntDistribution):
            return trial.suggest_int(
                self.key, spread.low, spread.high, log=spread.log, step=spread.step
            )
        assert isinstance(spread, CategoricalDistribution)
        value: Value = trial.suggest_categorical(self.key, spread.choices)
        return value

    def extremes(self) -> tuple[Value, ...]:
        """Returns the values at the edges of its range, or its choices."""
        spread = self.distribution
        if isinstance(spread, CategoricalDistribution):
            return tuple(spread.choices)
        assert isinstance(spread, FloatDistribution | IntDistribution)
        return spread.low, spread.high

    def describe(self) -> str:
        """Returns its values as one line, the same for the same values."""
        spread = self.distribution
        if isinstance(spread, CategoricalDistribution):
            return " | ".join(override_text(choice) for choice in spread.choices)
        assert isinstance(spread, FloatDistribution | IntDistribution)
        step = spread.step if spread.step is not None and not spread.log else None
        whole = isinstance(spread, IntDistribution)
        return (
            f"{spread.low} to {spread.high}"
            + (" (log)" if spread.log else "")
            + (f" in steps of {step}" if step is not None and not (whole and step == 1) else "")
        )


def read_space(node: Mapping[str, Any], fixed: Iterable[str] = ()) -> tuple[Parameter, ...]:
    """Returns the parameters that the node `search` of the configuration describes.

    Args:
        node: nested as the configuration is. An entry that holds `low` and `high`, or `choices`,
            is a parameter. Whole numbers at both ends give whole numbers.
        fixed: keys that the user set for all trials, which are not searched.

    Raises:
        FashionTransferError: an entry is not possible, or nothing is left to search.
    """
    fixed = set(fixed)
    parameters = tuple(
        Parameter(key, _distribution(f"{GROUP}.{key}", entry))
        for key, entry in _entries(node)
        if key not in fixed
    )
    if not parameters:
        raise FashionTransferError(
            "there is nothing to search: give search=NAME, a file of conf/search, or leave out the "
            "values of keys that it searches"
        )
    return parameters


def override_text(value: Value) -> str:
    """Returns a value as it stands after the `=` of an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def _entries(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, entry in node.items():
        key = f"{prefix}{name}"
        if entry is None:
            continue  # taken out by an override
        if not isinstance(entry, Mapping):
            raise FashionTransferError(
                f"{GROUP}.{key}={entry} is no range: give its low and high, or its choices; "
                f"{key}={entry} sets the value of all trials"
            )
        if {"low", "high", "choices"} & entry.keys():
            yield key, entry
        else:
            yield from _entries(entry, f"{key}.")


def _distribution(key: str, entry: Mapping[str, Any]) -> BaseDistribution:
    if "choices" in entry:
        return _choices(key, entry)
    for name in entry:
        if name not in RANGE_ENTRIES:
            raise FashionTransferError(
                f"{key}.{name} is read by nothing: use {', '.join(RANGE_ENTRIES)}, or choices alone"
            )
    low, high = (_number(f"{key}.{name}", entry.get(name)) for name in ("low", "high"))
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise FashionTransferError(f"{key}.log must be true or false, got {log!r}")
    step = entry.get("step")
    if step is not None and _number(f"{key}.step", step) <= 0:
        raise FashionTransferError(f"{key}.step must be above 0, got {step}")
    if not low < high:
        raise FashionTransferError(f"{key}.low must be under its high, {high}, got {low}")
    if log and low <= 0:
        raise FashionTransferError(f"{key}.low must be above 0 where log is true, got {low}")
    if log and step is not None:
        raise FashionTransferError(f"{key}.step={step} is not possible where log is true")
    if isinstance(low, int) and isinstance(high, int):
        if step is not None and not isinstance(step, int):
            raise FashionTransferError(
                f"{key}.step must be a whole number between whole numbers, got {step}: write "
                f"{float(low)} for a low that is not"
            )
        return IntDistribution(low, _last(low, high, step), log=log, step=step or 1)
    last = _last(float(low), float(high), step)
    return FloatDistribution(float(low), last, log=log, step=step)


def _last(low: Any, high: Any, step: Any) -> Any:
    """The last value that the steps reach: Optuna warns of a high that they do not."""
    if step is None:
        return high
    reached = low + math.floor((high - low) / step + 1e-9) * step
    return reached if isinstance(reached, int) else float(f"{reached:.12g}")


def _choices(key: str, entry: Mapping[str, Any]) -> CategoricalDistribution:
    choices = entry["choices"]
    if len(entry) > 1 or not isinstance(choices, list | tuple) or not choices:
        raise FashionTransferError(
            f"{key} must have a list of choices and nothing else, got {entry}"
        )
    for choice in choices:
        if not isinstance(choice, bool | int | float | str | None):
            raise FashionTransferError(
                f"{key}.choices must be numbers or texts, got {choice}: put it in quotes"
            )
    return CategoricalDistribution(choices)


def _number(key: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        given = "none" if value is None else repr(value)
        raise FashionTransferError(f"{key} must be a number, got {given}")
    return value
