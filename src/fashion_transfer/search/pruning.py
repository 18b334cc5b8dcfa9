"""Pruning: which trials are not worth going on with."""

import math

from optuna.pruners import BasePruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from fashion_transfer.errors import ArgumentError

PRUNERS = ("halving", "none")

RUNGS = ((0.4, 0.4), (0.6, 0.25))
"""Shares of the epochs after which trials are compared, and the share of them that goes on."""


class SuccessiveHalving(BasePruner):
    """Ends trials that fall behind: after 0.4 of the epochs the worse 0.6, after 0.6 all but 0.25.

    What counts is the best value so far. Asynchronous successive halving, Li et al. 2020, "A system
    for massively parallel hyperparameter tuning", with two rungs of our own. The brackets of
    Hyperband (Li et al. 2018) begin earlier, and a good trial that is pruned is a double loss: TPE
    takes it for a bad one.

    Optuna's SuccessiveHalvingPruner notes a rung before it gives its verdict, so that a process
    killed in between lets the trial pass. This one looks at nothing but what was reported: asked
    again, its verdict is the same.

    Args:
        max_epochs: of a trial, from 1.
    """

    def __init__(self, max_epochs: int) -> None:
        self.rungs = {math.ceil(share * max_epochs): passing for share, passing in RUNGS}

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Returns whether a trial should end after its last report."""
        steps = sorted(trial.intermediate_values)
        if not steps:
            return False
        before = steps[-2] if len(steps) > 1 else 0
        rung = max((rung for rung in self.rungs if before < rung <= steps[-1]), default=None)
        if rung is None:
            return False
        sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
        others = (t for t in study.get_trials(deepcopy=False) if t.number != trial.number)
        values = [_best(other, rung, sign) for other in (trial, *others)]
        if values[0] is None:
            return True  # no number yet
        known = sorted(value for value in values if value is not None)
        return values[0] > known[max(0, int(len(known) * self.rungs[rung]) - 1)]


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
            "halving needs a number of epochs: give trainer.max_epochs=N, or pruner=none",
        )
    return SuccessiveHalving(max_epochs)


def _best(trial: FrozenTrial, rung: int, sign: int) -> float | None:
    """The lowest value, or the negative highest, until the first report at a rung or after it.

    None if there is no such report yet, or no number.
    """
    reached = [step for step in trial.intermediate_values if step >= rung]
    if not reached:
        return None
    reports = trial.intermediate_values.items()
    values = (sign * value for step, value in reports if step <= min(reached))
    return min((value for value in values if not math.isnan(value)), default=None)
