"""The libraries that define backbones: one adapter each, looked up by the prefix of the name.

To add a library, write a module with a `BackboneAdapter` and give it a line in `ADAPTERS`.
"""

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.adapters.base import BackboneAdapter
from fashion_transfer.features.adapters.timm import TimmAdapter
from fashion_transfer.features.adapters.torchvision import TorchvisionAdapter

ADAPTERS: dict[str, type[BackboneAdapter]] = {
    "": TorchvisionAdapter,
    "timm/": TimmAdapter,
}
"""Adapters by the prefix of a backbone's name, with its slash."""


def get_adapter(name: str) -> BackboneAdapter:
    """Returns the adapter of a backbone.

    Args:
        name: the library's prefix and its own name of the network: `resnet50`, `timm/vgg11`.

    Raises:
        ArgumentError: no library has a network of this name, or the library is not installed.
    """
    prefix = name[: name.find("/") + 1]
    if prefix in ADAPTERS:
        adapter = ADAPTERS[prefix](name, name.removeprefix(prefix))
        if adapter.has_network():
            return adapter
    choices = ", or ".join(adapter.choices() for adapter in ADAPTERS.values())
    raise ArgumentError("name", f"must be {choices}, got {name!r}")


__all__ = ["ADAPTERS", "BackboneAdapter", "get_adapter"]
