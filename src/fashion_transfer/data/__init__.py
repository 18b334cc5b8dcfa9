"""Where images and labels come from: data sets, their splits, views and preparation.

`__init__.pyi` lists what is here. Each name is imported when it is first asked for, so that
preparing an image needs no torch, and a prediction does not wait for Lightning.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
