"""Order and views of an epoch: a pure function of (seed, epoch)."""

import numpy as np
import pytest
import torch

from fashion_transfer.data.samplers import ShardSampler, ViewSampler, share_of

# Epochs 0 and 1 of six images, as the first version drew them: others would change every run.
ORDERS = [[3, 2, 5, 4, 0, 1], [1, 4, 3, 0, 2, 5]]
VIEWS = {
    1: [[0] * 6, [0] * 6],
    3: [[0, 0, 2, 1, 2, 1], [2, 0, 2, 2, 0, 0]],
    None: [[1] * 6, [2] * 6],
}


def drawn(size=50, views=3, seed=0, epoch=0, passes=1) -> list[tuple[int, int]]:
    sampler = ViewSampler(size, views, seed, passes=passes)
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


def test_passes_of_an_epoch_have_an_order_and_views_of_their_own():
    draws = drawn(passes=4)
    assert len(ViewSampler(50, 3, passes=4)) == len(draws) == 200
    passes = [draws[start : start + 50] for start in range(0, 200, 50)]
    orders = [[position for position, _ in of_pass] for of_pass in passes]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(map(tuple, orders))) == len(set(map(tuple, passes))) == 4
    assert orders[0] == [position for position, _ in drawn()]


def test_cached_views_are_drawn_evenly():
    views = [view for epoch in range(8) for _, view in drawn(views=3, epoch=epoch)]
    counts = np.bincount(views)
    assert len(counts) == 3
    assert counts.min() > 100


def test_fresh_views_are_those_of_no_other_epoch():
    for epoch in (0, 1, 7):
        assert {view for _, view in drawn(views=None, epoch=epoch)} == {epoch + 1}


# Several ranks


def shares(
    size, ranks, batch_size, views=3, epoch=0, passes=1
) -> list[list[list[tuple[int, int]]]]:
    """What each rank gets, batch by batch."""
    per_rank = []
    for rank in range(ranks):
        sampler = ViewSampler(size, views, 0, batch_size, rank, ranks, passes)
        sampler.set_epoch(epoch)
        items, own = list(sampler), batch_size // ranks
        assert len(items) == len(sampler)
        per_rank.append([items[start : start + own] for start in range(0, len(items), own)])
    return per_rank


@pytest.mark.parametrize("size", [12, 13, 15, 18, 50])
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("passes", [1, 3])
def test_each_step_of_the_ranks_has_the_images_of_one_process(size, ranks, passes):
    order = drawn(size, epoch=1, passes=passes)
    per_rank = shares(size, ranks, 6, epoch=1, passes=passes)
    steps = range(0, size * passes, 6)
    assert {len(batches) for batches in per_rank} == {len(steps)}
    for step, start in enumerate(steps):
        counted = []
        for rank in range(ranks):
            sampler = ViewSampler(size, 3, 0, 6, rank, ranks, passes)
            count, total = sampler.share(step)
            assert total == len(order[start : start + 6])
            counted += per_rank[rank][step][:count]
        assert sorted(counted) == sorted(order[start : start + 6])


def test_a_rank_without_images_in_the_last_batch_gets_one_that_does_not_count():
    first, second = shares(13, 2, 6)
    assert first[-1] == second[-1] == drawn(13)[-1:]
    assert ViewSampler(13, 3, 0, 6, 0, 2).share(2) == (1, 1)
    assert ViewSampler(13, 3, 0, 6, 1, 2).share(2) == (0, 1)


def test_shards_have_every_position_once_and_in_order():
    for size in (2, 3, 10, 11):
        for ranks in (1, 2, 3):
            parts = [list(ShardSampler(size, rank, ranks)) for rank in range(ranks)]
            assert [position for part in parts for position in part] == list(range(size))
            assert [len(ShardSampler(size, r, ranks)) for r in range(ranks)] == [*map(len, parts)]
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_share_of_a_loader_without_ranks_is_the_batch():
    assert share_of(None, 7, 0) == (7, 7)
