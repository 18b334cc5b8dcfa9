"""Learning-rate schedules of torch, given the lengths and rates that a run has for them."""

import inspect
from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from fashion_transfer.errors import FashionTransferError

Schedule = torch.optim.lr_scheduler.LRScheduler

LENGTHS = ("total_steps", "T_max")
"""What torch's schedules call the number of steps that they are made for."""


def build_schedule(
    make: Callable[..., Schedule], optimizer: torch.optim.Optimizer, trainer: L.Trainer
) -> Schedule:
    """A schedule to be stepped every batch.

    Args:
        make: takes the optimizer; where it has an argument named in `LENGTHS` that is not given
            yet, it gets the number of steps, and as `max_lr` the optimizer's rates.
        optimizer: what it is for.
        trainer: knows the number of steps.

    Raises:
        FashionTransferError: it needs an end that training has not, or its arguments are wrong.
    """
    fills: dict[str, Any] = {name: _steps(trainer) for name in LENGTHS if _lacks(make, name)}
    if _lacks(make, "max_lr"):
        fills["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    try:
        return make(optimizer, **fills)
    except (TypeError, ValueError) as error:
        told = f", which is called with {', '.join(fills)}" if fills else ""
        raise FashionTransferError(f"model.scheduler{told}: {error}") from error


def check_length(schedule: Any, make: Callable[..., Schedule], steps: float) -> None:
    """Refuses to go on with a schedule that ends before training does.

    Raises:
        FashionTransferError: it was made for fewer steps.
    """
    for name in LENGTHS:
        made_for = getattr(schedule, name, None)
        periodic = name == "T_max" and not _lacks(make, name)  # goes on after it
        if made_for is not None and made_for < steps and not periodic:
            raise FashionTransferError(
                f"the schedule was made for {made_for} steps and this run takes {steps:.0f}: "
                "start a new run, or go on at a constant rate with model.scheduler=null"
            )


def _steps(trainer: L.Trainer) -> int:
    """How many steps training takes from its first epoch to its last."""
    try:
        steps = trainer.estimated_stepping_batches
    except TypeError as error:
        raise FashionTransferError(
            f"trainer.max_epochs is {trainer.max_epochs!r}: it must be a whole number"
        ) from error
    if steps == float("inf"):
        raise FashionTransferError(
            "model.scheduler needs to know where training ends: give trainer.max_epochs, or "
            "model.scheduler=null for a constant rate"
        )
    return max(1, int(steps))


def _lacks(function: Callable[..., Any], name: str) -> bool:
    """Whether a function has an argument of that name that nobody has given it yet."""
    given = getattr(function, "keywords", {})  # of a partial
    takes = inspect.signature(getattr(function, "func", function)).parameters
    return name in takes and name not in given
