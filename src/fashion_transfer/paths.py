"""Paths as people type them, in Python and as the arguments of a command.

Hydra's grammar takes few file names as they are: arguments pass through here before.
"""

import os
import re
from pathlib import Path
from unicodedata import normalize

PATH_NAMES = {
    "artifact_location",
    "cache",
    "ckpt_path",
    "default_root_dir",
    "dir",
    "dirpath",
    "filename",
    "flags",
    "folder",
    "input",
    "mnist",
    "output",
    "reference",
    "save_dir",
    "study",
    "sub_dir",
    "subdir",
    "tracking_uri",
    "weights",
}
"""Last parts of the keys whose values are paths, or names of files and folders."""

_PLAIN_PATH = re.compile(r"(?:[A-Za-z_]|\.{0,2}/)[\w./-]*", re.ASCII)
# Hydra takes these for themselves.
_KEYWORDS = {"", "null", "true", "false", "nan", "inf", "???"}
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
_QUOTED_PATH = re.compile(_QUOTED, re.DOTALL)
_ENTRY = re.compile(
    rf"(?:^|,)\s*((?:{_QUOTED})(?=\s*(?:,|\Z))|(?:\$\{{[^{{}}]*\}}|\\,|[^,])*)", re.DOTALL
)
_LIST = re.compile(r"\[.*\]", re.DOTALL)
_FUNCTION = re.compile(r"(?:choice|glob|range|interval|sort|shuffle|tag)\(.*\)", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\()\[\]{}:=, \t])")


def user_path(path: str | Path) -> Path:
    """Returns a path, with `~` as the user's folder where there is one."""
    return Path(os.path.expanduser(path))


def is_path_key(key: str) -> bool:
    """Returns whether the value of a key, with or without a + in front, is a path."""
    key = key.lstrip("+").partition("@")[0]
    return key.startswith("paths.") or key.rpartition(".")[2] in PATH_NAMES


def is_sweep(arguments: list[str]) -> bool:
    """Returns whether the arguments ask for a run per combination of values."""
    return not {"-m", "--multirun"}.isdisjoint(arguments)


def quote_paths(arguments: list[str]) -> list[str]:
    """Returns the arguments with the paths of `is_path_key` as Hydra takes them for one path each.

    `~` is the user's folder, in quotes as well. What names an existing file or folder is a path as
    it is. What does not may be in quotes for Hydra or have its escapes; be null; be a list, of
    `input`; or list the paths of a sweep, with `--multirun`.
    """
    sweep = is_sweep(arguments)
    return [_quote_argument(argument, sweep) for argument in arguments]


def _quote_argument(argument: str, sweep: bool) -> str:
    key, equals, value = argument.partition("=")
    if equals and key in ("--config-dir", "--config-path"):
        return f"{key}={os.path.expanduser(value)}"
    if not equals or not is_path_key(key):
        return argument
    if not exists(value):
        if key.lstrip("+") == "input" and _LIST.fullmatch(value):
            return f"{key}=[{','.join(map(_quote_value, _entries(value[1:-1])))}]"
        if sweep and _FUNCTION.fullmatch(value):
            return argument
        if sweep and not key.lstrip("+").startswith(("hydra.", "paths.")):  # one for all its runs
            return f"{key}={','.join(map(_quote_value, _entries(value)))}"
    return f"{key}={_quote_value(value)}"


def _quote_value(value: str) -> str:
    """Returns one value as Hydra takes it for one path, or for null."""
    path = value
    if not exists(value):
        if value.lower() in _KEYWORDS:
            return value
        path = _unquoted(value) if _QUOTED_PATH.fullmatch(value) else _as_on_disk(value)
    path = os.path.expanduser(path)
    plain = _PLAIN_PATH.fullmatch(path) and path.lower() not in _KEYWORDS
    return path if plain else quoted(path)


def _as_on_disk(path: str) -> str:
    """Returns the spelling of a path that exists: without Hydra's escapes, or é as macOS has it."""
    spellings = [_ESCAPE.sub(r"\1", path), normalize("NFC", path), normalize("NFD", path)]
    return next(filter(exists, spellings), path)


def exists(path: str) -> bool:
    """Returns whether there is such a file or folder, or a link, even one that leads nowhere."""
    return os.path.lexists(os.path.expanduser(path))


def _entries(values: str) -> list[str]:
    """Returns the values between commas, but for those in quotes, interpolations and escapes."""
    return [entry.rstrip() for entry in _ENTRY.findall(values)]


def quoted(path: str | Path) -> str:
    """Returns a path in quotes for Hydra.

    Backslashes count only in front of a quote, and are doubled there.
    """
    text = re.sub(
        r"(\\*)('|\Z)",
        lambda match: 2 * match[1] + ("\\'" if match[2] else ""),
        os.fspath(path),
    )
    return f"'{text}'"


def _unquoted(value: str) -> str:
    """Returns the path that `quoted` gave, or that a person has put in either kind of quotes."""
    return re.sub(
        rf"(\\+)({value[0]}|\Z)",
        lambda match: match[1][: len(match[1]) // 2] + match[2],
        value[1:-1],
    )
