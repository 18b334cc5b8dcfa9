"""What the models of all nodes have in common. Imports no torch."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

OPTIONAL: Any = None
"""Default of a field that a node need not have. Nothing reads it: the target has its own."""


class Node(BaseModel):
    """A node that has no keys but these."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def of(cls, value: Any) -> type["Node"]:
        """Returns the model for a value of this node."""
        return cls


class Target(Node):
    """A node that describes an object: other keys are arguments of its `_target_`.

    A subclass with `names` is for those targets only, in all places where its base class is asked
    for.
    """

    model_config = ConfigDict(extra="allow")
    names: ClassVar[tuple[str, ...]] = ()

    target: str = Field(alias="_target_")

    @classmethod
    def of(cls, value: Any) -> type[Node]:
        """Returns the subclass for a value's `_target_`, or this class."""
        name = value.get("_target_") if isinstance(value, dict) else None
        for subclass in cls.__subclasses__():
            if (model := subclass.of(value)) is not subclass or name in subclass.names:
                return model
        return cls

    @model_validator(mode="wrap")
    @classmethod
    def _validate_as_target(cls, value: Any, handler: Callable[[Any], Self]) -> Any:
        model = cls.of(value)
        return handler(value) if model is cls else model.model_validate(value)
