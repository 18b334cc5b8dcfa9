"""Errors as the user reads them: one line, with the keys of `conf/`. Imports no torch."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from traceback import walk_tb
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.files import cannot_write

HINTS = {
    "path to a state dict instead": "model.backbone.weights=PATH, or experiment=offline",
    "give them as backbone weights": "model.backbone.weights=PATH",
    "same backbone settings and weights": "model.backbone.weights=PATH",
    "use the precision float32": "model.backbone.precision=float32",
    "openvino runs on a CPU alone": "trainer.accelerator=cpu in train.py, else device=cpu",
    "or use torch, in floats": "model.backbone.engine=torch",
    "use fewer images or views, or a smaller image size": "data.image_size=64",
    "image_size must be": "data.image_size=N",
    "without a scheduler": "model/scheduler=none",
    "continue with the same optimizer": "model/optimizer=NAME",
    "give max_epochs, or no scheduler": "trainer.max_epochs=N, or model/scheduler=none",
    "threshold=auto cannot be fitted": "policy.threshold=0.8",
    "choose another cache folder": "paths.cache=DIR",
    "set check_md5=false": "data.check_md5=false",
    "run `make data`, or put": "data.dir=DIR names another folder",
    "name a folder that can be written": "data.dir=DIR",
    "or install Debian's package": "data.dir=DIR names another folder",
    "name a folder that has the files": "data.dir=PATH",
    "is this another data set": "data=NAME",
    "name the folder of your photos": "data.dir=PATH",
    "or let them be skipped": "data.strict=false",
    "set composites=0 and controls=0": "data.synthetic=null",
    "write elsewhere": "paths.logs=DIR",
    "or no synthetic ones": "data.synthetic=null, or images_per_set=0 in evaluate.py",
}
"""Keys to set, by a phrase in a message of the library, which knows no keys."""

SHORTAGES = {
    r"DataLoader worker .*(killed|exited)": "a process that reads images was killed, perhaps for "
    "lack of memory: give data.num_workers=0, or fewer",
    r"MemoryError|can't allocate memory|out of memory": "there is not enough memory: give a "
    "smaller batch_size or image_size",
    r"Too many open files|items of ancdata": "too many files are open: raise the limit, as by "
    "`ulimit -n 4096`, or give data.num_workers=0",
}
"""What the machine has too little of and what to do, by a pattern of the error's type and text."""

WORD_CUTOFF = 0.75
"""Similarity from which one word is taken for a misspelt other one."""

# Raised for values that the user gave, by libraries that the user named them for.
_MISTAKES = (FashionTransferError, HydraException, OmegaConfBaseException)


def explain(error: BaseException) -> str | None:
    """Returns one line for a user's mistake; None for a defect of ours."""
    cause: BaseException | None = error
    node = ""
    while cause is not None:
        if isinstance(cause, ArgumentError) and node:
            cause = ArgumentError(f"{node}.{cause.name}", cause.message)
        if isinstance(cause, FashionTransferError):
            return with_hint(_one_line(cause))
        if isinstance(cause, OSError) and (message := cannot_write(cause)):
            return with_hint(message)
        if isinstance(cause, InstantiationException):
            node = _full_key(cause)
        for pattern, advice in SHORTAGES.items():
            if re.search(pattern, f"{type(cause).__name__}: {cause}"):
                return f"{advice} (HYDRA_FULL_ERROR=1 shows where)"
        cause = cause.__cause__
    if message := _unknown_option(error) or _unknown_key(error):
        return message
    if isinstance(error, OverrideParseException) and "=" not in error.override:
        return f"{error.override} is no key=value: write a value after it, as in seed=1"
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        return _unreadable_name(error.object)
    if isinstance(error, MissingMandatoryValue):
        return missing_value(str(error.full_key))
    if isinstance(error, InterpolationKeyError) and (key := re.search("'(.+?)'", str(error))):
        return missing_value(key[1])
    # By name: importing Lightning for it would cost every `--help` a second.
    known = type(error).__name__ == "MisconfigurationException" or _is_refused_by_library(error)
    if known or isinstance(error, _MISTAKES):
        return f"{_of_instantiate(error) or _one_line(error)} (HYDRA_FULL_ERROR=1 shows where)"
    return None


def _unreadable_name(name: str) -> str:
    """One line for a file name with bytes that Python could not decode."""
    encoded, locale = os.fsencode(name), sys.getfilesystemencoding()
    try:
        readable = encoded.decode("utf-8")
    except UnicodeDecodeError:
        return f"{name!r} is no UTF-8: give the file or folder another name"
    return f"file names are read as {locale} here, and {readable!a} is UTF-8: set PYTHONUTF8=1"


def is_disk_error(error: BaseException) -> bool:
    """Returns whether the error, or a cause of it, is that the disk could not be written."""
    return next(_disk_errors(error), None) is not None


def name_run_folder(error: BaseException) -> None:
    """Puts the run folder into errors of the disk that name no file, as those of open files."""
    for cause in _disk_errors(error):
        if cause.filename is None:
            cause.filename = str(HydraConfig.get().runtime.output_dir)


def missing_value(key: str) -> str:
    """Returns the message for a key that must be given."""
    return f"{key} has no value: give one, as in {key}={'PATH' if key.endswith('dir') else 'VALUE'}"


def with_hint(message: str) -> str:
    """Returns a message of the library with the keys to set, where `HINTS` has some."""
    hint = next((keys for phrase, keys in HINTS.items() if phrase in message), "")
    # A message that names the key already needs no hint.
    return f"{message} ({hint})" if hint and hint.partition("=")[0] not in message else message


@contextmanager
def config_keys(cfg: DictConfig, *nodes: str) -> Iterator[None]:
    """Puts the configuration key in front of an `ArgumentError` raised inside.

    Args:
        cfg: the configuration.
        nodes: keys of the nodes that the arguments come from; the first one that has an entry of
            that name counts. An argument that none has keeps its own name.
    """
    try:
        yield
    except ArgumentError as error:
        for node in nodes:
            entries = OmegaConf.select(cfg, node)
            if isinstance(entries, DictConfig) and error.name.partition(".")[0] in entries:
                raise ArgumentError(f"{node}.{error.name}", error.message) from error
        raise


def unknown_key(key: str, keys: list[str]) -> str:
    """Returns the message for a key that nothing reads.

    Args:
        key: dotted, as it was given.
        keys: all that there are.
    """
    if likely := nearest(key, keys):
        return f"there is no key {key}: did you mean {likely}?"
    node, dot, _ = key.rpartition(".")
    siblings = [k for k in keys if k.startswith(f"{node}{dot}") and k.count(".") == key.count(".")]
    return f"there is no key {key}: use one of {', '.join(sorted(siblings))}"


def nearest(key: str, keys: list[str]) -> str | None:
    """Returns the key that was probably meant: misspelt, or the same word in another node.

    Args:
        key: dotted, as it was given.
        keys: all that there are.
    """
    node, _, name = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in keys if k.rpartition(".")[0] == node and k != key]
    if close := get_close_matches(name, siblings, n=1, cutoff=0.7):
        return f"{node}.{close[0]}".lstrip(".")
    elsewhere = sorted((other for other in keys if other != key), key=lambda k: k.count("."))
    last = {other: other.rpartition(".")[2] for other in elsewhere}
    for other in elsewhere:
        if last[other] == name:
            return other
    if close := get_close_matches(name, last.values(), n=1, cutoff=WORD_CUTOFF):
        return next(other for other in elsewhere if last[other] == close[0])
    return next((other for other in elsewhere if name in last[other].split("_")), None)


def keys_of(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the dotted keys of a configuration, those of nodes included."""
    for name, value in config.items():
        if not str(name).startswith("_"):
            yield f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{prefix}{name}.")


def _unknown_option(error: BaseException) -> str | None:
    """Returns the message for `group=option` where the group has no such option, else None."""
    if not isinstance(error, MissingConfigException) or not error.options:
        return None
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    return f"there is no {group}={option}: use one of {', '.join(error.options)}"


def _of_instantiate(error: BaseException) -> str | None:
    """Returns what a target has against its arguments, after the key of its node, else None."""
    if not isinstance(error, InstantiationException) or not (key := _full_key(error)):
        return None
    text = _one_line(error.__cause__) if error.__cause__ else ""
    return f"{key}: {text if ' ' in text else repr(error.__cause__)}" if text else None


def _unknown_key(error: BaseException) -> str | None:
    """Returns the message for `key=value` where there is no such key, else None."""
    cause = error.__cause__
    if not isinstance(error, ConfigCompositionException) or not isinstance(
        cause, OmegaConfBaseException
    ):
        return None
    parent, key = cause.parent_node, str(cause.full_key)
    if not isinstance(parent, DictConfig) or not parent:
        return None
    if "_target_" in parent:
        hint = " (a + in front of it gives an argument that conf/ does not name)"
    else:
        hint = ""
    everything: Any = OmegaConf.to_container(parent._get_root())
    keys = [k for k in keys_of(everything) if k.partition(".")[0] != "hydra"]
    return f"{unknown_key(key, keys)}{hint}"


def _is_refused_by_library(error: BaseException) -> bool:
    """Whether the code of Hydra or Lightning has refused a value, and nothing that it calls."""
    modules = [at.f_globals.get("__name__", "") for at, _ in walk_tb(error.__traceback__)]
    by_library = bool(modules) and modules[-1].startswith(("hydra.", "lightning."))
    return by_library and isinstance(error, (RuntimeError, TypeError, ValueError))


def _disk_errors(error: BaseException) -> Iterator[OSError]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cannot_write(cause, "a file"):
            yield cause
        cause = cause.__cause__


def _full_key(error: InstantiationException) -> str:
    line = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    return line[1] if line else ""


def _one_line(error: BaseException) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())
