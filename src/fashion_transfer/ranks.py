"""The processes that train one model together: the number of this one, and what they exchange.

Ranks are numbered from 0. A process that trains alone is rank 0 of 1, and exchanges nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist

T = TypeVar("T")


def rank() -> int:
    """Returns the number of this process."""
    return dist.get_rank() if _together() else 0


def world_size() -> int:
    """Returns how many processes there are."""
    return dist.get_world_size() if _together() else 1


def barrier() -> None:
    """Waits until every rank is here."""
    if _together():
        dist.barrier()


def broadcast(value: T) -> T:
    """Returns the value of rank 0, on every rank. It is pickled on its way."""
    if not _together():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def gather(value: T) -> list[T]:
    """Returns the values of all ranks in their order, on every rank. They are pickled."""
    if not _together():
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def own_seed(seed: int) -> int:
    """Returns the seed for what each rank draws by itself: on rank 0 the same, else another."""
    if not rank():
        return seed
    # torch takes 63 bits.
    return int(np.random.SeedSequence([seed, rank()]).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def first() -> Iterator[None]:
    """Has rank 0 go through a block before the others, as for a download that all of them need."""
    if rank():
        barrier()
    yield
    if not rank():
        barrier()


def _together() -> bool:
    return dist.is_available() and dist.is_initialized()
