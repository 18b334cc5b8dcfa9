"""The values that a key may have, and what an error says about them. Imports no torch."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import Field
from pydantic.fields import FieldInfo

Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Number = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
UnderOne = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
PathName = Annotated[str | int, "a path"]  # a folder 2024 is a number in a file
Auto = Literal["auto"]
FromCheckpoint = Literal["from_checkpoint"]


def words(annotation: Any) -> str:
    """Returns what is possible for a type, as the rest of "must be …".

    Args:
        annotation: a type, with the constraints that `Annotated` gave it; a string among those is
            what is returned.
    """
    bounds: list[Any] = []
    while get_origin(annotation) is Annotated:
        annotation, *given = get_args(annotation)
        for item in given:
            if isinstance(item, str):
                return item
            bounds += item.metadata if isinstance(item, FieldInfo) else [item]
    if get_origin(annotation) in (Union, UnionType):
        parts = [words(part) for part in sorted(get_args(annotation), key=_is_word)]
        return ", or ".join(dict.fromkeys(parts))
    if get_origin(annotation) is Literal:
        choices = [str(choice) for choice in get_args(annotation)]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if get_origin(annotation) is list:
        return f"a list, each of it {words(get_args(annotation)[0])}{_length(bounds)}"
    if annotation in (int, float):
        return f"a {'whole ' if annotation is int else ''}number{_range(bounds)}"
    return {bool: "true or false", NoneType: "null", str: "text"}.get(annotation, "a node of keys")


def _is_word(annotation: Any) -> bool:
    """Whether a part of a union is a word, which comes after the numbers."""
    return get_origin(annotation) is Literal or annotation is NoneType


def _range(bounds: list[Any]) -> str:
    low = next((b.ge for b in bounds if isinstance(b, Ge)), None)
    above = next((b.gt for b in bounds if isinstance(b, Gt)), None)
    high = next((b.le for b in bounds if isinstance(b, Le)), None)
    under = next((b.lt for b in bounds if isinstance(b, Lt)), None)
    text = f" from {low}" if low is not None else f" above {above}" if above is not None else ""
    text += f" to {high}" if high is not None else f" to under {under}" if under is not None else ""
    return text


def _length(bounds: list[Any]) -> str:
    minimum = next((b.min_length for b in bounds if isinstance(b, MinLen)), 0)
    most = next((b.max_length for b in bounds if isinstance(b, MaxLen)), None)
    if most is not None and most == minimum:
        return f", {most} of them"
    return f", at least {minimum}" if minimum else ""
