"""From a configuration with a wrong value to one line about it. Imports no torch."""

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fashion_transfer.commands.errors import keys_of, unknown_key
from fashion_transfer.commands.schema.base import Node
from fashion_transfer.commands.schema.types import words
from fashion_transfer.errors import FashionTransferError

Files = Callable[[str], list[str]]


def check_node(config: Mapping[str, Any], model: type[Node], files: Files) -> None:
    """Checks all values of a configuration.

    Args:
        config: plain, resolved.
        model: of it.
        files: gives the files of a configuration group, none for what is none.

    Raises:
        FashionTransferError: a key is unknown or missing, or a value is not possible.
    """
    try:
        model.model_validate(config)
    except ValidationError as error:
        first = min(error.errors(), key=_rank)
        raise FashionTransferError(_message(first, config, model, files)) from error


def _rank(error: ErrorDetails) -> int:
    # A key that is missing was often misspelt, and then the one that is unknown says so.
    return {"missing": 1}.get(error["type"], 0)


def _message(
    error: ErrorDetails,
    config: Mapping[str, Any],
    model: type[Node],
    files: Files,
) -> str:
    key, value, annotation = _locate(error, config, model)
    group = key.replace(".", "/")
    options = files(group)
    if error["type"] == "extra_forbidden":
        known = [k for k in keys_of(config) if k != key and not k.startswith(f"{key}.")]
        return unknown_key(key, known)
    if error["type"] == "missing" or (value is None and options):
        if key.endswith("_target_"):
            node = key.rpartition(".")[0]
            folder = node.replace(".", "/")
            other = f"choose another file of conf/{folder}" if files(folder) else "give it one"
            return f"{node} has no _target_: {other}"
        if options:
            choices = ", ".join(f"{group}={name}" for name in options)
            return f"there is no {key}: choose one by {choices}"
        return f"{key} is missing: give it a value, {words(annotation)}"
    if isinstance(value, str) and value in options:
        return f"{key}={value} is no value but a file of conf/{group}: write {group}={value}"
    return f"{key} must be {words(annotation)}, got {shown(value)}"


def shown(value: Any) -> str:
    """Returns a value as it is written in an override."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _locate(
    error: ErrorDetails, config: Mapping[str, Any], model: type[Node]
) -> tuple[str, Any, Any]:
    """Returns the dotted key of an error, its value and the type that it should have."""
    key: list[str] = []
    value: Any = config
    annotation: Any = model
    for part in error["loc"]:
        if not isinstance(value, Mapping):
            break  # an entry of a list, or which part of a union was tried
        if part not in value and error["type"] != "missing":
            continue
        annotation = field_type(annotation, value, str(part))
        value = value.get(str(part))
        key.append(str(part))
    return ".".join(key), value, annotation


def field_type(annotation: Any, value: Any, name: str) -> Any:
    """Returns the type of a key of a node, whose type may be part of a union; None: unknown."""
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, Node):
            own = part.of(value)
            fields = {f.alias or n: n for n, f in own.model_fields.items()}
            return get_type_hints(own, include_extras=True).get(fields.get(name, ""))
        if get_origin(part) is dict:
            return get_args(part)[1]
    return None


def _parts(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _parts(get_args(annotation)[0])
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
