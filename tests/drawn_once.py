"""Backbones with random weights, drawn and traced once and copied from then on."""

import copy
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from torch import nn

from fashion_transfer.features import Backbone
from fashion_transfer.features.adapters.state_dicts import build_random

MAX_DRAWN = 4
"""Backbones that are kept, the last ones used: each is 45 MB and more."""

_drawn: dict[str, Backbone] = {}


@contextmanager
def drawn_once() -> Iterator[None]:
    """Copies a ResNet with random weights that was made before: that takes a tenth of the time.

    Random weights are the same in every process, so nothing else changes. What is said of random
    weights is said each time.
    """
    initialise = Backbone.__init__

    @functools.wraps(initialise)  # whose arguments are checked
    def copy_or_initialise(self: Backbone, *args: Any, **options: Any) -> None:
        key = repr((args, sorted(options.items())))
        if key in _drawn:
            drawn = _drawn[key] = _drawn.pop(key)
            build_random(nn.Identity, drawn.name)
            self.__dict__ = copy.deepcopy(drawn).__dict__
            return
        initialise(self, *args, **options)
        if self.weights_name == "random" and "torchvision" in self.versions:
            _drawn[key] = copy.deepcopy(self)
            if len(_drawn) > MAX_DRAWN:
                del _drawn[next(iter(_drawn))]

    with mock.patch.object(Backbone, "__init__", copy_or_initialise):
        yield
