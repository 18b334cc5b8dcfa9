"""Heads, the classifier, the task that trains it, and its checkpoints.

`__init__.pyi` lists what is here. Each name is imported when it is first asked for, so that a
prediction does not wait for Lightning and torchmetrics.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
