"""Pruning: which trials are not worth going on with."""

import hashlib
import math

from optuna.pruners import BasePruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from fashion_transfer.errors import ArgumentError

PRUNERS = ("hyperband", "none")


class Hyperband(BasePruner):
    """Ends trials that are not in the better half after three and six tenths of the epochs.

    One trial in five is judged at the second rung alone, in case that the first epochs say little.
    Li et al. 2018, "Hyperband: a novel bandit-based approach to
    hyperparameter optimization", asynchronously and with most trials in the first bracket as in Li
    et al. 2020, "A system for massively parallel hyperparameter tuning".

    Optuna's HyperbandPruner does the same, but notes a rung before it gives its verdict, so that a
    process killed in between lets the trial pass. This one looks at nothing but what was reported:
    asked again, its verdict is the same.

    Args:
        seed: of the study; a trial's bracket is drawn from it and the trial's number.
        max_epochs: of a trial, from 1.
        factor: a rung has this many times the epochs of the one before; one in so many passes.
    """

    def __init__(self, seed: int, max_epochs: int, factor: int = 2) -> None:
        self.seed = seed
        self.factor = factor
        # While the rate still rises, the order of the trials says little about that at the end. A
        # good trial that is pruned is a double loss: TPE takes it for a bad one.
        self.first_rung = math.ceil(0.3 * max_epochs)
        brackets = 1
        while self.first_rung * factor**brackets <= max_epochs:
            brackets += 1
        self.weights = [factor ** (2 * (brackets - 1 - bracket)) for bracket in range(brackets)]

    def bracket(self, number: int) -> int:
        """Returns the bracket of a trial: the number of rungs that it skips."""
        digest = hashlib.sha256(f"{self.seed}/{number}/bracket".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") % sum(self.weights)
        for bracket, weight in enumerate(self.weights):
            draw -= weight
            if draw < 0:
                return bracket
        raise AssertionError("a draw is under the sum of the weights")

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether a trial should end after its last report."""
        steps = sorted(trial.intermediate_values)
        if not steps:
            return False
        bracket = self.bracket(trial.number)
        rung = self.first_rung * self.factor**bracket
        while rung * self.factor <= steps[-1]:
            rung *= self.factor
        if steps[-1] < rung or (len(steps) > 1 and steps[-2] >= rung):
            return False  # no rung was reached since the report before
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        value = sign * trial.intermediate_values[steps[-1]]
        if math.isnan(value):
            return True
        others = (
            _at(other, rung)
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and self.bracket(other.number) == bracket
        )
        values = sorted([value, *(sign * v for v in others if v is not None and v == v)])
        return value > values[max(0, len(values) // self.factor - 1)]


def build_pruner(name: str, seed: int, max_epochs: int | None) -> BasePruner:
    """Returns a pruner of trials that report a value after every epoch, the first one as step 1.

    Args:
        name: one of `PRUNERS`.
        seed: of the study.
        max_epochs: of a trial that is not pruned; None or -1: they are not limited.

    Raises:
        ArgumentError: there is no such pruner, or it needs a number of epochs.
    """
    if name not in PRUNERS:
        raise ArgumentError("pruner", f"must be one of {', '.join(PRUNERS)}, got {name!r}")
    if name == "none":
        return NopPruner()
    if max_epochs is None or max_epochs < 1:
        raise ArgumentError(
            "pruner",
            "hyperband needs a number of epochs: give trainer.max_epochs=N, or pruner=none",
        )
    return Hyperband(seed, max_epochs)


def _at(trial: FrozenTrial, rung: int) -> float | None:
    """The first value that was reported at a rung or after it; None if there is none yet."""
    reached = [step for step in trial.intermediate_values if step >= rung]
    return trial.intermediate_values[min(reached)] if reached else None
