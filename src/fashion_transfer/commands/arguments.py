"""Arguments before Hydra sees them. Imports no torch."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from filelock import Timeout
from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fashion_transfer.commands.groups import group_choices
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import exists, is_sweep, quote_paths, quoted
from fashion_transfer.runs.folders import LAST, METRICS, run_lock
from fashion_transfer.runs.record import read_record

RENAMED = {
    "callbacks.best.mode": "monitor.mode",
    "callbacks.best.monitor": "monitor.metric",
    "data.composites": "data.synthetic.composites",
    "data.controls": "data.synthetic.controls",
    "data=test": "data=fashion_mnist",
    "kinds": "images_per_set",
    "model.auto": "policy.threshold_target",
    "model.backbone.unfreeze_last=false": "model.backbone.unfreeze=null",
    "model.backbone.unfreeze_last=true": "model.backbone.unfreeze=layer4",
    "model.backbone.unfreeze_last": "model.backbone.unfreeze",
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

MULTIRUN = "hydra.mode=MULTIRUN"
"""What Hydra takes for `--multirun`, too."""

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
    """Returns the arguments of train.py for Hydra, see `quote_paths` and `resume_arguments`."""
    arguments = ["--multirun" if argument == MULTIRUN else argument for argument in arguments]
    arguments = group_choices(quote_paths(arguments))
    check_renamed(arguments, RENAMED)
    _check_resume(arguments)
    resumed = resume_arguments(arguments)
    check_renamed(resumed, RENAMED)  # a run may have been started by version 0.1.0
    return resumed


def evaluate_arguments(arguments: list[str]) -> list[str]:
    """Returns the arguments of evaluate.py or predict.py for Hydra, see `quote_paths`."""
    check_renamed(arguments, RENAMED_WITHOUT_TRAINER)
    return quote_paths(arguments)


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


def _check_resume(arguments: list[str]) -> None:
    """Checks that a single run is not continued as a sweep, or the other way round."""
    single = any(map(_is_last, arguments))
    resumed = any(_sets(argument, "sweep.resume") for argument in arguments)
    if is_sweep(arguments) and single:
        raise FashionTransferError(
            "ckpt_path=last continues a single run: sweep.resume=true continues a sweep"
        )
    if resumed and not is_sweep(arguments):
        raise FashionTransferError(
            "sweep.resume continues a sweep: add -m, or continue a single run with ckpt_path=last"
        )


def resume_command(hydra: HydraConf) -> str:
    """Returns the command that continues a run, and no other one, wherever its folder is.

    Args:
        hydra: Hydra's own configuration of the run.
    """
    return shlex.join(["python", "train.py", f"hydra.run.dir={hydra.run.dir}", "ckpt_path=last"])


def resume_arguments(arguments: list[str]) -> list[str]:
    """Returns, for `ckpt_path=last`, the arguments that continue the newest unfinished run.

    A run is unfinished when it has a last checkpoint and no metrics, and no process holds its
    lock. It continues in its folder with its own configuration; other overrides are refused, as
    they would make it another run. With `hydra.run.dir=` it is the run of that folder.

    Raises:
        FashionTransferError: there is no such run, or the arguments would change it.
    """
    given = [argument for argument in arguments if not _is_last(argument)]
    if len(given) == len(arguments):
        return arguments
    paths = [argument for argument in given if _sets(argument, "paths.logs")]
    folders = [argument for argument in given if _sets(argument, "hydra.run.dir")]
    if folders:
        place = Path(_value_of(folders[-1]))
        pattern = str(LAST)
    else:
        place = Path(_value_of(paths[-1]) if paths else "logs") / "train"
        pattern = f"**/{LAST}"
    unfinished = sorted(
        (file for file in place.glob(pattern) if _is_unfinished(file.parent.parent)),
        key=lambda file: file.stat().st_mtime_ns,
    )
    if not unfinished:
        raise FashionTransferError(
            f"ckpt_path=last: no unfinished run with a finished epoch under {place}: "
            "start one with `python train.py`"
        )
    folder = unfinished[-1].parent.parent
    own = quote_paths(shlex.split(read_record(folder).command)[2:])
    changed = [argument for argument in given if argument not in (*own, *paths, *folders)]
    if changed:
        raise FashionTransferError(
            f"ckpt_path=last continues {folder} as it was started ({' '.join(own) or 'defaults'}): "
            f"leave out {' '.join(changed)}, or start a new run"
        )
    replaced = ("ckpt_path", "hydra.run.dir", *(["paths.logs"] if paths else []))
    own = [o for o in own if not _sets(o, *replaced)]
    print(f"continuing {folder}")
    return [*own, *paths, f"hydra.run.dir={quoted(folder)}", f"ckpt_path={quoted(folder / LAST)}"]


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Separates plain paths from Hydra's arguments, whose grammar many file names do not fit.

    What exists as a file or folder is a path; so is what is neither an option nor an override,
    `-`, and everything after `--`.

    Returns:
        Paths, and what is left for Hydra.
    """
    paths: list[str] = []
    rest: list[str] = []
    takes_value = False
    for number, argument in enumerate(arguments):
        if argument == "--" and not takes_value:
            return paths + arguments[number + 1 :], rest
        is_path = not takes_value and (_is_path(argument) or not _is_for_hydra(argument))
        (paths if is_path else rest).append(argument)
        takes_value = not is_path and argument in _OPTIONS_WITH_VALUE
    return paths, rest


def options_first(arguments: list[str]) -> list[str]:
    """Returns the arguments with the options in front: Hydra takes none between overrides."""
    options: list[str] = []
    rest: list[str] = []
    takes_value = False
    for argument in arguments:
        (options if takes_value or argument.startswith("-") else rest).append(argument)
        takes_value = not takes_value and argument in _OPTIONS_WITH_VALUE
    return options + rest


def _is_path(argument: str) -> bool:
    return argument == "-" or exists(argument)


def _is_for_hydra(argument: str) -> bool:
    deletion = argument.startswith("~") and not argument.startswith("~/")  # ~key deletes one
    return argument.startswith("-") or deletion or "=" in argument


def _is_unfinished(folder: Path) -> bool:
    if (folder / METRICS).exists():
        return False
    try:
        read_record(folder)
        with run_lock(folder):
            return True
    except (FashionTransferError, Timeout):
        return False  # it is no run, or still running


def _sets(override: str, *keys: str) -> bool:
    return override.lstrip("+").partition("=")[0] in keys


def _is_last(override: str) -> bool:
    return override.lstrip("+") == "ckpt_path=last"


def _value_of(override: str) -> str:
    value = OverridesParser.create().parse_override(override).value()
    return str(OmegaConf.create({"value": str(value)}).value)  # with its `${oc.env:…}` filled in
