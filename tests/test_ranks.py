"""What the processes of one training exchange; `test_several_processes` has real ones."""

import pytest
import torch.distributed as dist

from fashion_transfer import ranks


@pytest.fixture(params=[False, True], ids=["alone", "group of one"])
def _process(request):
    if request.param:
        dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    yield
    if request.param:
        dist.destroy_process_group()


@pytest.mark.usefixtures("_process")
def test_one_process_is_rank_0_and_exchanges_with_nobody():
    assert (ranks.rank(), ranks.world_size()) == (0, 1)
    ranks.barrier()
    assert ranks.broadcast("value") == "value"
    assert ranks.gather([1, 2]) == [[1, 2]]
    with ranks.first():
        assert ranks.own_seed(7) == 7


def test_each_rank_draws_from_a_seed_of_its_own(monkeypatch):
    seeds = set()
    for rank in range(4):
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        seeds |= {ranks.own_seed(seed) for seed in range(50)}
        assert [ranks.own_seed(3), ranks.own_seed(3)] == [ranks.own_seed(3)] * 2
    assert len(seeds) == 4 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)
