"""Pruning: which trials are not worth going on with."""

import math

from optuna.pruners import BasePruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from fashion_transfer.errors import ArgumentError

PRUNERS = ("hyperband", "none")

FACTOR = 3
"""One in so many trials passes a rung."""

WHOLE = 10
"""Trials, from the first one, that are never pruned: as many as TPE draws at random."""


class Hyperband(BasePruner):
    """Ends trials that are not in the best third after three and six tenths of the epochs.

    Li et al. 2018, "Hyperband: a novel bandit-based approach to hyperparameter optimization", with
    two of its brackets, asynchronously as in Li et al. 2020, "A system for massively parallel
    hyperparameter tuning". The first trials are the bracket that prunes none: TPE draws them at
    random, and learns from them all that it knows at first.

    Optuna's HyperbandPruner notes a rung before it gives its verdict, so that a process killed in
    between lets the trial pass. This one looks at nothing but what was reported: asked again, its
    verdict is the same.

    Args:
        max_epochs: of a trial, from 1.
        whole: number of trials, from the first one, that are not pruned.
    """

    def __init__(self, max_epochs: int, whole: int = WHOLE) -> None:
        # While the rate still rises, the order of the trials says little about that at the end. A
        # good trial that is pruned is a double loss: TPE takes it for a bad one.
        self.rungs = [math.ceil(share * max_epochs / 10) for share in (3, 6)]
        self.whole = whole

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether a trial should end after its last report."""
        steps = sorted(trial.intermediate_values)
        if not steps:
            return False
        value = trial.intermediate_values[steps[-1]]
        before = steps[-2] if len(steps) > 1 else 0
        rung = max((rung for rung in self.rungs if before < rung <= steps[-1]), default=None)
        if rung is None:
            return False
        if math.isnan(value):
            return True
        if trial.number < self.whole:
            return False
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        trials = study.get_trials(deepcopy=False)
        others = (_at(other, rung) for other in trials if other.number != trial.number)
        values = sorted(sign * v for v in (value, *others) if v is not None and v == v)
        return sign * value > values[max(0, len(values) // FACTOR - 1)]


def build_pruner(name: str, max_epochs: int | None) -> BasePruner:
    """Returns a pruner of trials that report a value after every epoch, the first one as step 1.

    Args:
        name: one of `PRUNERS`.
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
    return Hyperband(max_epochs, WHOLE)


def _at(trial: FrozenTrial, rung: int) -> float | None:
    """The first value that was reported at a rung or after it; None if there is none yet."""
    reached = [step for step in trial.intermediate_values if step >= rung]
    return trial.intermediate_values[min(reached)] if reached else None
