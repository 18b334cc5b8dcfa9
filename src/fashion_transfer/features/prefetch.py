"""Prefetches the backbone's input: a thread prepares a pass while the backbone computes one."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

Inputs = Callable[[np.ndarray, torch.device], Tensor]
"""Rows of a source and a device in; images (B, C, S, S) in [0, 1] on that device out."""


class Part(NamedTuple):
    """Some images of a source.

    Attributes:
        inputs: gives them.
        rows: int64, (B,).
    """

    inputs: Inputs
    rows: np.ndarray

    def equals(self, other: "Part") -> bool:
        """Whether these are the same images."""
        return self.inputs is other.inputs and np.array_equal(self.rows, other.rows)


class Prefetcher:
    """Gives the images of parts of sources, and prepares those of the next part meanwhile.

    Use it as a context: its thread ends with it.

    Args:
        device: where the images are wanted.
        planned: what is missing of each source, in the order in which they come.
    """

    def __init__(self, device: torch.device, planned: Sequence[Part] = ()) -> None:
        self.device = device
        self.planned = tuple(planned)
        # The backbone needs the processors: one thread beside it is enough. The setting is of this
        # thread alone.
        self._thread = ThreadPoolExecutor(1, "inputs", torch.set_num_threads, (1,))
        self._next: tuple[Part, Future[Tensor]] | None = None

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def planned_after(self, inputs: Inputs, size: int) -> Part | None:
        """Returns the first images, at most `size`, of the next source that lacks some."""
        places = [i for i, part in enumerate(self.planned) if part.inputs is inputs]
        later = self.planned[places[0] + 1 :] if places else ()
        return next((Part(p.inputs, p.rows[:size]) for p in later if len(p.rows)), None)

    def images(self, part: Part, following: Part | None = None) -> Tensor:
        """Returns the images of a part: float32, (B, C, S, S).

        Args:
            part: what is wanted now.
            following: what will probably be wanted next; None: nothing.
        """
        if self._next is not None and self._next[0].equals(part):
            images = self._next[1].result()
        else:
            images = part.inputs(part.rows, self.device)
        self._next = None
        if following is not None:
            future = self._thread.submit(following.inputs, following.rows, self.device)
            self._next = following, future
        return images
