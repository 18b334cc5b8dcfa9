"""Arguments of what a `_target_` names, checked before it is built: this imports the targets."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate

from fashion_transfer.commands.errors import WORD_CUTOFF
from fashion_transfer.errors import ArgumentError, FashionTransferError

Config = Mapping[str, Any]

SPECIAL = re.compile(r"_\w+_")
"""Keys for Hydra itself, such as `_partial_`."""

MOST_NAMED = 15
"""Arguments that one line names."""


def check_targets(config: Config) -> None:
    """Checks the keys of every node with a `_target_` against the target's arguments.

    Args:
        config: plain, resolved.

    Raises:
        FashionTransferError: a target does not exist or does not take one of the keys.
    """
    for key, node in targets_in(config):
        target = _load(key, node["_target_"])
        _check_arguments(key, node, target.__name__, *arguments_of(target))


def check_head(head: Config) -> None:
    """Checks `model.head` against the arguments of the head of that name.

    Raises:
        FashionTransferError: there is no such head, or it does not take one of the keys.
    """
    from fashion_transfer.models.heads import HEADS

    name = head["name"]
    if name not in HEADS:
        raise FashionTransferError(
            f"model.head.name must be one of {', '.join(HEADS)}, got {name!r}"
        )
    names, is_open = arguments_of(HEADS[name])
    names = [n for n in names if n not in ("in_features", "num_classes")]
    options = {key: value for key, value in head.items() if key != "name"}
    _check_arguments("model.head", options, f"the head {name}", names, is_open)


def check_optimization(model: Config) -> tuple[Any, Any]:
    """Returns the optimizer and the schedule, or None, of a parameter of no use: they can be built.

    Raises:
        FashionTransferError: one of them cannot be built.
    """
    from torch import nn

    from fashion_transfer.models.optimization import build_optimizer, build_schedule

    try:
        optimizer = build_optimizer(
            instantiate(dict(model["optimizer"]), _convert_="all"), nn.LayerNorm(1)
        )
        if not model.get("scheduler"):
            return optimizer, None
        make = instantiate(dict(model["scheduler"]), _convert_="all")
        trainer: Any = SimpleNamespace(estimated_stepping_batches=1000)
        return optimizer, build_schedule(make, optimizer, trainer)
    except ArgumentError as error:
        raise ArgumentError(f"model.{error.name}", error.message) from error


def targets_in(config: Any, key: str = "") -> Iterator[tuple[str, Config]]:
    """Yields every node that has a `_target_`, with its dotted key."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield key, config
        for name, value in config.items():
            yield from targets_in(value, f"{key}.{name}" if key else str(name))


def arguments_of(target: Callable[..., Any]) -> tuple[list[str], bool]:
    """Returns the names of a callable's arguments, and whether it takes others, too.

    A class that passes `**options` on to its base class takes those of its base class.
    """
    functions = [target]
    if inspect.isclass(target):
        functions = [vars(c)["__init__"] for c in target.__mro__[:-1] if "__init__" in vars(c)]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names: list[str] = []
    for function in functions:
        parameters = inspect.signature(function).parameters.values()
        names += [p.name for p in parameters if p.kind in named and p.name != "self"]
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            return names, False
    # A class of C, such as datetime.timedelta, does not say what it takes.
    return names, bool(functions) or getattr(target, "__new__", None) is not object.__new__


def _check_arguments(key: str, node: Config, target: str, names: list[str], is_open: bool) -> None:
    for name in map(str, node):
        if name in names or SPECIAL.fullmatch(name):
            continue
        close = get_close_matches(name, names, n=1, cutoff=WORD_CUTOFF)
        if is_open and not close:
            continue  # it goes on to something that may know it
        if close:
            choice = f"did you mean {key}.{close[0]}?"
        elif len(names) > MOST_NAMED:
            choice = "leave it out"
        else:
            choice = f"use one of {', '.join(f'{key}.{n}' for n in sorted(names))}"
        raise FashionTransferError(f"{key}.{name} is no argument of {target}: {choice}")


def _load(key: str, name: str) -> Callable[..., Any]:
    try:
        target: Callable[..., Any] = get_object(name)
    except (ImportError, AttributeError, ValueError, InstantiationException) as error:
        reason = str(error).splitlines()[-1] if str(error) else repr(error)
        raise FashionTransferError(f"{key}._target_={name} cannot be imported: {reason}") from error
    if not callable(target):
        raise FashionTransferError(f"{key}._target_={name} is no class or function")
    return target
