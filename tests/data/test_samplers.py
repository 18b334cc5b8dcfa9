"""Order and views of an epoch: a pure function of (seed, epoch)."""

import numpy as np
import pytest
import torch

from fashion_transfer.data.samplers import ViewSampler

# Epochs 0 and 1 of six images, as the first version drew them: others would change every run.
ORDERS = [[3, 2, 5, 4, 0, 1], [1, 4, 3, 0, 2, 5]]
VIEWS = {
    1: [[0] * 6, [0] * 6],
    3: [[0, 0, 2, 1, 2, 1], [2, 0, 2, 2, 0, 0]],
    None: [[1] * 6, [2] * 6],
}


def drawn(size=50, views=3, seed=0, epoch=0) -> list[tuple[int, int]]:
    sampler = ViewSampler(size, views, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize("views", VIEWS)
def test_draws_are_those_of_the_first_version(views):
    for epoch in (0, 1):
        expected = list(zip(ORDERS[epoch], VIEWS[views][epoch], strict=True))
        assert drawn(6, views, epoch=epoch) == expected


def test_seed_and_epoch_are_0_by_default():
    assert list(ViewSampler(50, 3)) == drawn(seed=0, epoch=0)


@pytest.mark.parametrize("views", [1, 3, None])
@pytest.mark.parametrize("size", [0, 1, 50])
def test_every_position_comes_once(size, views):
    positions = [position for position, _ in drawn(size, views)]
    assert sorted(positions) == list(range(size))
    assert len(ViewSampler(size, views)) == size


def test_order_and_views_depend_on_seed_and_epoch_alone():
    before = drawn(seed=1, epoch=2)
    torch.manual_seed(3)
    sampler = ViewSampler(50, 3, seed=1)
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        last = list(sampler)
    assert last == list(sampler) == before
    others = [drawn(seed=2, epoch=1), drawn(seed=1, epoch=1), drawn(seed=2, epoch=2)]
    assert all(other != before for other in others)


def test_order_does_not_depend_on_the_number_of_views():
    orders = [[position for position, _ in drawn(views=views)] for views in (1, 2, None)]
    assert orders[0] == orders[1] == orders[2]


def test_cached_views_are_drawn_evenly():
    views = [view for epoch in range(8) for _, view in drawn(views=3, epoch=epoch)]
    counts = np.bincount(views)
    assert len(counts) == 3
    assert counts.min() > 100


def test_fresh_views_are_those_of_no_other_epoch():
    for epoch in (0, 1, 7):
        assert {view for _, view in drawn(views=None, epoch=epoch)} == {epoch + 1}
