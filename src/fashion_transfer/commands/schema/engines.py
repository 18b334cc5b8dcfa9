"""What each engine of the backbone can do. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from fashion_transfer.errors import FashionTransferError


def check_engine(node: Mapping[str, Any]) -> None:
    """Checks the engine of `model.backbone` against its other keys.

    Args:
        node: plain, resolved, each value possible alone.

    Raises:
        FashionTransferError: two do not go together.
    """
    name, precision = node.get("engine"), node.get("precision")
    error = ""
    if (name, precision) in (("torch", "int8"), ("openvino", "float16")):
        error = f"precision={precision} needs another model.backbone.engine: leave that at auto"
    elif node.get("compile") is True and (name == "openvino" or precision == "int8"):
        error = "compile=true is of torch alone: leave it at auto"
    if error:
        raise FashionTransferError(f"model.backbone.{error}")
