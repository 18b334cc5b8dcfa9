"""`GROUP=null` among the arguments, which Hydra knows in files alone. Imports no torch."""

import re

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

NEEDED = {
    "data": "fashion_mnist",
    "model": "default",
    "model/optimizer": "adamw",
    "paths": "default",
}
"""Those without which no configuration can be composed, by a file of theirs."""

_NO_NAME = re.compile(r"[-+\d.]+|true|false", re.IGNORECASE)


def group_choices(arguments: list[str]) -> list[str]:
    """Returns arguments in which Hydra takes `GROUP=null` for no file of that group.

    A group that has a file by default is deleted from the defaults; one that has none loses what
    was chosen before.

    Raises:
        FashionTransferError: a number or a truth value is given for the name of a file, or none
            for a group that is needed.
    """
    result: list[str] = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        group = key.lstrip("+~")
        if group in NEEDED and (value == "null" or key == f"~{group}"):
            raise FashionTransferError(
                f"there is no {group}: choose one by {group}={NEEDED[group]} or another file of "
                f"conf/{group}"
            )
        if group not in GROUPS or key.startswith("~"):
            result.append(argument)
        elif value == "null" and group in WITHOUT_FILE:
            result = [a for a in result if a.partition("=")[0].lstrip("+") != group]
        elif value == "null":
            result.append(f"~{group}")
        elif _NO_NAME.fullmatch(value):
            raise FashionTransferError(f"there is no {argument}: name a file of conf/{group}")
        else:
            result.append(argument)
    return result
