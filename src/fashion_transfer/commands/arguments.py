"""Arguments before Hydra sees them. Imports no torch."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from filelock import Timeout

from fashion_transfer.commands.run_folders import LAST, METRICS, run_lock
from fashion_transfer.errors import FashionTransferError

RENAMED = {
    "callbacks.best.mode": "monitor.mode",
    "callbacks.best.monitor": "monitor.metric",
    "data.composites": "data.synthetic.composites",
    "data.controls": "data.synthetic.controls",
    "data=test": "data=fashion_mnist",
    "kinds": "images_per_set",
    "model.auto": "policy.threshold_target",
    "model.image_size": "data.image_size",
    "model.seed": "seed",
    "model.tail_lr": "model.trainable_stage_lr",
    "model.threshold": "policy.threshold",
    "model=classifier": "model=default",
    "optimized_metric": "monitor.metric",
    "policy.auto": "policy.threshold_target",
    "trainer=evaluate": "device=auto",
}
"""Keys of version 0.1.0, and choices of its config groups, by what they are called now."""

RENAMED_WITHOUT_TRAINER = RENAMED | {"trainer.accelerator": "device"}
"""The same for evaluate.py and predict.py, which have no trainer any more."""

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


def train_arguments(arguments: list[str]) -> list[str]:
    """Returns the arguments of train.py for Hydra, see `check_renamed` and `resume_arguments`."""
    check_renamed(arguments, RENAMED)
    resumed = resume_arguments(arguments)
    check_renamed(resumed, RENAMED)  # a run may have been started by version 0.1.0
    return resumed


def evaluate_arguments(arguments: list[str]) -> list[str]:
    """Returns the arguments of evaluate.py or predict.py for Hydra, see `check_renamed`."""
    check_renamed(arguments, RENAMED_WITHOUT_TRAINER)
    return arguments


def check_renamed(arguments: list[str], renamed: Mapping[str, str]) -> None:
    """Checks that no override has a key that was renamed.

    Args:
        arguments: of the command.
        renamed: the key now, by the key before; `group=choice` for a choice. A key also stands
            for those below it.

    Raises:
        FashionTransferError: an override has the key before.
    """
    for argument in arguments:
        override = argument.lstrip("+~")
        key = override.partition("=")[0]
        if override == argument and "=" not in argument:
            continue  # no override
        for before, now in renamed.items():
            if before in (key, override):
                raise FashionTransferError(f"{before} is now {now}")
            if key.startswith(f"{before}."):
                raise FashionTransferError(f"{key} is now {now}{key.removeprefix(before)}")


def resume_arguments(arguments: list[str]) -> list[str]:
    """Returns, for `ckpt_path=last`, the arguments that continue the newest unfinished run.

    A run is unfinished when it has a last checkpoint and no metrics, and no process holds its
    lock. It continues in its folder with its own configuration; other overrides are refused, as
    they would make it another run.

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
    """Separates plain paths from Hydra's arguments, whose grammar many file names do not fit.

    What exists as a file or folder is a path; so is what is neither an option nor an override.

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
