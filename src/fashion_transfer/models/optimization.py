"""Optimizers and learning-rate schedules of torch, completed with what a run knows."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateFinder as Finder
from torch import nn

from fashion_transfer.errors import ArgumentError, FashionTransferError

Schedule = torch.optim.lr_scheduler.LRScheduler

OF_SCHEDULES = {"initial_lr", "max_lr", "min_lr", "max_momentum", "base_momentum"}
"""What torch's schedules add to a parameter group."""

LENGTHS = ("total_steps", "T_max")
"""Names of the argument that torch's schedules take the number of steps by."""


def build_optimizer(
    make: Callable[..., torch.optim.Optimizer],
    head: nn.Module,
    stages: nn.Module | None = None,
    stage_lr: float | None = None,
    mixup: float = 0.0,
) -> torch.optim.Optimizer:
    """Builds the optimizer of a head and of trainable stages, if there are any.

    Args:
        make: takes parameters, gives an optimizer.
        head: trained at the optimizer's own rate and weight decay.
        stages: trainable stages of the backbone, without weight decay, which would undo what was
            pretrained.
        stage_lr: their learning rate; None: a tenth of the head's.
        mixup: of the features in training.

    Raises:
        ArgumentError: its arguments are wrong, or it does not go with mixup.
    """
    try:
        optimizer = make(head.parameters(), **_fused(make, head))
        if stages is not None and isinstance(optimizer, torch.optim.LBFGS):
            raise ValueError("LBFGS has no second group of parameters for trainable stages")
        if stages is not None:
            rate = optimizer.defaults["lr"] / 10 if stage_lr is None else stage_lr
            group: dict[str, Any] = {"params": stages.parameters(), "lr": rate}
            if "weight_decay" in optimizer.defaults:
                group["weight_decay"] = 0.0
            optimizer.add_param_group(group)
    except (TypeError, ValueError) as error:
        raise ArgumentError("optimizer", f"cannot be built: {error}") from error
    if mixup and isinstance(optimizer, torch.optim.LBFGS):
        # It evaluates a batch again and again, each time mixed in another way.
        raise ArgumentError("mixup", f"must be 0 with LBFGS, got {mixup}")
    return optimizer


def _fused(make: Callable[..., torch.optim.Optimizer], head: nn.Module) -> dict[str, bool]:
    """The argument that has torch take a step in one kernel, if its optimizer has one.

    On a CPU torch does not choose it by itself, and a step of a head takes a multiple of its time.
    """
    of_torch = getattr(make, "func", make) in (torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD)
    on_cpu = all(parameter.device.type == "cpu" for parameter in head.parameters())
    free = all(_lacks(make, name) for name in ("fused", "foreach", "differentiable"))
    return {"fused": True} if of_torch and on_cpu and free else {}


def hyperparameters(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Rates, betas and the like of each parameter group."""
    groups = optimizer.param_groups
    return [{name: value for name, value in g.items() if name != "params"} for g in groups]


def set_hyperparameters(optimizer: torch.optim.Optimizer, values: list[dict[str, Any]]) -> None:
    """Sets what `hyperparameters` gave: a restored state brings those of another run along."""
    for group, of_group in zip(optimizer.param_groups, values, strict=True):
        group.update(of_group)


def build_schedule(
    make: Callable[..., Schedule], optimizer: torch.optim.Optimizer, trainer: L.Trainer
) -> Schedule:
    """Builds a schedule of the learning rate, see `schedule_options`.

    Args:
        make: takes the optimizer; where it has an argument named in `LENGTHS` that is not given
            yet, it gets the number of steps, and as `max_lr` the optimizer's rates.
        optimizer: what it is for.
        trainer: knows the number of steps.

    Raises:
        FashionTransferError: it needs an end that training has not, or its arguments are wrong.
    """
    arguments: dict[str, Any] = {name: _steps(trainer) for name in LENGTHS if _lacks(make, name)}
    if _lacks(make, "max_lr"):
        arguments["max_lr"] = [group["lr"] for group in optimizer.param_groups]
    try:
        return make(optimizer, **arguments)
    except ZeroDivisionError as error:  # OneCycleLR whose rate would rise for exactly one step
        given = ", ".join(f"{name} {value}" for name, value in arguments.items())
        raise ArgumentError(
            "scheduler", f"cannot be built with {given}: give another pct_start or max_epochs"
        ) from error
    except (TypeError, ValueError) as error:
        given = f" with {', '.join(arguments)}" if arguments else ""
        raise ArgumentError("scheduler", f"cannot be built{given}: {error}") from error


def schedule_options(schedule: Schedule, monitor: str, trainer: L.Trainer) -> dict[str, Any]:
    """Returns a schedule as Lightning takes it, with when it is stepped.

    Args:
        schedule: one that waits for a plateau is stepped after each validation, any other after
            each batch.
        monitor: name of the metric that the former watches.
        trainer: knows which epochs end with a validation.
    """
    if not isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        return {"scheduler": schedule, "interval": "step"}
    every = trainer.check_val_every_n_epoch or 1
    return {"scheduler": schedule, "interval": "epoch", "frequency": every, "monitor": monitor}


def check_states(
    states: Mapping[str, Any], optimizer: torch.optim.Optimizer, schedule: Schedule | None
) -> None:
    """Checks that a checkpoint's optimizer and schedule are such ones: torch takes any.

    Args:
        states: `optimizer_states` and `lr_schedulers` of a checkpoint.
        optimizer: that training continues with.
        schedule: likewise, or None.

    Raises:
        FashionTransferError: the checkpoint is of another optimizer or another schedule.
    """
    [state] = states["optimizer_states"]
    ours = {"params", *optimizer.defaults} | OF_SCHEDULES
    others = {name for group in state["param_groups"] for name in group} - ours
    decay = "decoupled_weight_decay"  # all that Adam and AdamW differ in
    of_decay = {group[decay] for group in state["param_groups"] if decay in group}
    if others or of_decay - {optimizer.defaults.get(decay)}:
        raise FashionTransferError(
            f"the checkpoint was trained with another optimizer than {type(optimizer).__name__} "
            f"(one of {', '.join(sorted(others)) or decay}): continue with the same optimizer, or "
            "start a new run"
        )
    if schedule is None:
        return
    for earlier in states["lr_schedulers"]:
        if others := earlier.keys() - schedule.state_dict().keys():
            raise FashionTransferError(
                f"the checkpoint was trained with another schedule than {type(schedule).__name__} "
                f"(one of {', '.join(sorted(others))}): continue with the same schedule, or at a "
                "constant rate, without a scheduler"
            )


def check_length(schedule: Any, make: Callable[..., Schedule], steps: float) -> None:
    """Checks that a restored schedule does not end before training does.

    Args:
        schedule: as restored from a checkpoint.
        make: what built it, see `build_schedule`.
        steps: that training takes from its first epoch to its last.

    Raises:
        FashionTransferError: it was built for fewer steps.
    """
    for name in LENGTHS:
        length = getattr(schedule, name, None)
        periodic = name == "T_max" and not _lacks(make, name)  # goes on after it
        if length is not None and length < steps and not periodic:
            raise FashionTransferError(
                f"the schedule was built for {length} steps and this run takes {steps:.0f}: start "
                "a new run, or continue at a constant rate, without a scheduler"
            )


def check_whole_epoch(trainer: L.Trainer) -> None:
    """Checks that what training continues from was saved between two epochs.

    Raises:
        FashionTransferError: it was saved within one: which of its images came before is not
            restored.
    """
    batches = trainer.fit_loop.epoch_loop.batch_progress
    if batches.current.ready and not batches.is_last_batch:
        raise FashionTransferError(
            f"the checkpoint was saved within an epoch, after {batches.current.ready} batches of "
            "it, and training continues between epochs: give a last.ckpt, which is of a whole one"
        )


def check_finder(trainer: L.Trainer) -> None:
    """Checks that a LearningRateFinder could try all its rates before training ended.

    Raises:
        FashionTransferError: it needs more steps than training has.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        search = getattr(callback, "optimal_lr", None) if isinstance(callback, Finder) else None
        if search is None:
            continue
        tried, steps = len(search.results["lr"]), trainer.estimated_stepping_batches
        if steps <= tried < search.num_training:
            raise FashionTransferError(
                f"a LearningRateFinder tries {search.num_training} rates, and there are only "
                f"{steps:.0f} steps: give more epochs, or num_training_steps={steps:.0f}"
            )


def _steps(trainer: L.Trainer) -> int:
    """The number of steps that training takes from its first epoch to its last, from 2."""
    try:
        steps = trainer.estimated_stepping_batches
    except TypeError as error:
        raise ArgumentError(
            "trainer.max_epochs", f"must be a whole number, got {trainer.max_epochs!r}"
        ) from error
    if steps == float("inf"):
        raise ArgumentError(
            "scheduler",
            "needs to know where training ends: give max_epochs, or no scheduler for a constant "
            "rate",
        )
    # A OneCycleLR of one step has its last rate alone, at which nothing is learned.
    return max(2, int(steps))


def _lacks(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes an argument of that name that it has not been given yet."""
    given = getattr(function, "keywords", {})  # of a partial
    takes = inspect.signature(getattr(function, "func", function)).parameters
    return name in takes and name not in given
