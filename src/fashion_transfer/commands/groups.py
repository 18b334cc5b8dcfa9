"""`GROUP=null` among the arguments, which Hydra knows in files alone. Imports no torch."""

import re
from pathlib import Path

from fashion_transfer.errors import FashionTransferError

GROUPS = (
    "callbacks",
    "data",
    "debug",
    "experiment",
    "logger",
    "model",
    "model/backbone",
    "model/head",
    "model/optimizer",
    "model/scheduler",
    "paths",
    "policy",
    "recipe",
    "recipe/optimizer",
    "trainer",
)
"""The configuration groups of train.py."""

WITHOUT_FILE = ("debug", "experiment")
"""Those of which no file is chosen by default."""

NEEDED = ("data", "model", "model/optimizer", "paths")
"""Those without which no configuration can be composed."""

PARTS = {"recipe": ("recipe/optimizer",)}
"""Groups that go with another one where it is left out."""

WITH_NODE = {"recipe/optimizer": "recipe/optimizer@model.optimizer"}
"""Groups as Hydra knows them, where that is with the node that they are of."""

CONF = Path(__file__).resolve().parents[3] / "conf"

_NO_NAME = re.compile(r"[-+\d.]+|true|false", re.IGNORECASE)


def group_choices(arguments: list[str]) -> list[str]:
    """Returns arguments in which Hydra takes `GROUP=null` for no file of that group.

    A group that has a file by default is deleted from the defaults; one that has none loses what
    was chosen before. Without a recipe, there is none for the optimizer, either.

    Raises:
        FashionTransferError: a number or a truth value is given for the name of a file, or none
            for a group that is needed.
    """
    result: list[str] = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        group = key.lstrip("+~")
        if group in NEEDED and (value == "null" or key == f"~{group}"):
            files = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
            # default.yaml is what the others have in common, or the only one.
            names = [name for name in files if name != "default"] or files
            choices = ", ".join(f"{group}={name}" for name in names)
            raise FashionTransferError(f"there is no {group}: choose one by {choices}")
        if group not in GROUPS:
            result.append(argument)
        elif value == "null" and group in WITHOUT_FILE:
            result = [a for a in result if a.partition("=")[0].lstrip("+") != group]
        elif value == "null" or argument == f"~{group}":
            left_out = (*PARTS.get(group, ()), group)
            result += [f"~{WITH_NODE.get(name, name)}" for name in left_out]
        elif _NO_NAME.fullmatch(value) and not key.startswith("~"):
            raise FashionTransferError(f"there is no {argument}: name a file of conf/{group}")
        else:
            result.append(argument.replace(group, WITH_NODE.get(group, group), 1))
    return result
