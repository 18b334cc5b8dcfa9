"""Arguments before Hydra sees them. Imports no torch."""

import os
from pathlib import Path

import yaml
from filelock import Timeout

from fashion_transfer.commands.runs import LAST, METRICS, run_lock
from fashion_transfer.errors import FashionTransferError

_OPTIONS_WITH_VALUE = {
    "--cfg",
    "-c",
    "--package",
    "-p",
    "--config-path",
    "-cp",
    "--config-name",
    "-cn",
    "--config-dir",
    "-cd",
    "--info",
    "-i",
    "--experimental-rerun",
}


def resume_arguments(arguments: list[str]) -> list[str]:
    """For `ckpt_path=last`: the arguments that continue the newest unfinished run in its folder.

    A run is unfinished when it has a last checkpoint, no metrics, and nobody is at it. It goes on
    with its own configuration, so other overrides are refused: they would make it another run.

    Raises:
        FashionTransferError: there is no such run, or the arguments would change it.
    """
    if "ckpt_path=last" not in arguments:
        return arguments
    given = [argument for argument in arguments if argument != "ckpt_path=last"]
    paths = [argument for argument in given if argument.startswith("paths.logs=")]
    logs = Path(paths[-1].partition("=")[2].strip("'\"") if paths else "logs")
    unfinished = sorted(
        (file for file in logs.glob(f"train/**/{LAST}") if _is_unfinished(file.parent.parent)),
        key=lambda file: file.stat().st_mtime_ns,
    )
    if not unfinished:
        raise FashionTransferError(
            f"ckpt_path=last: no unfinished run with a finished epoch under {logs / 'train'}: "
            "start one with `python train.py`"
        )
    folder = unfinished[-1].parent.parent
    own = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
    changed = [argument for argument in given if argument not in own and argument not in paths]
    if changed:
        raise FashionTransferError(
            f"ckpt_path=last continues {folder} as it was started ({' '.join(own) or 'defaults'}): "
            f"leave out {' '.join(changed)}, or start a new run"
        )
    own = [o for o in own if not o.startswith(("ckpt_path=", "hydra.run.dir=", "paths.logs="))]
    print(f"continuing {folder}")
    return [*own, *paths, f"hydra.run.dir={_quoted(folder)}", f"ckpt_path={_quoted(folder / LAST)}"]


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Parts plain paths from Hydra's arguments, whose grammar many file names do not fit.

    What exists as a file or folder is a path; so is whatever is neither an option nor an override.

    Returns:
        Paths, and what is left for Hydra.
    """
    paths, rest = [], []
    takes_value = False
    for argument in arguments:
        option = argument.startswith(("-", "~"))  # ~key deletes one
        if takes_value or (not Path(argument).exists() and (option or "=" in argument)):
            rest.append(argument)
        else:
            paths.append(argument)
        takes_value = argument in _OPTIONS_WITH_VALUE
    return paths, rest


def _is_unfinished(folder: Path) -> bool:
    if (folder / METRICS).exists() or not (folder / ".hydra" / "overrides.yaml").is_file():
        return False
    try:
        with run_lock(folder):
            return True
    except Timeout:
        return False  # it is still running


def _quoted(path: Path) -> str:
    text = os.fspath(path).replace("'", "\\'")
    return f"'{text}'"
