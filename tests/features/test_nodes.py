"""Names of nodes, and the pooling each asks for."""

import pytest
import torch
import torch.nn.functional as F

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features import nodes
from fashion_transfer.features.nodes import (
    check_pool,
    lacks_grid_pooling,
    pool_by_products,
    pool_maps,
    split_node,
    split_pool,
)

STAGES = ("layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("layer2", ("layer2", 1)),
        ("layer3@2", ("layer3", 2)),
        ("layer3@10", ("layer3", 10)),
        ("layer3@map", ("layer3", None)),
        ("layer4.0.relu", ("layer4.0.relu", 1)),
        ("layer4.0.relu@2", ("layer4.0.relu", 2)),
    ],
)
def test_split_node_gives_name_and_grid(node, expected):
    assert split_node(node) == expected


@pytest.mark.parametrize("node", ["layer3@", "@0", "@x", "layer3@0", "layer3@-1", "a@2@2", "a@1.5"])
def test_split_node_rejects_what_is_no_grid(node):
    with pytest.raises(ArgumentError, match=f"^pool needs the size of a grid .* got '{node}'"):
        split_node(node)


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_pool_maps_averages_each_cell(grid, mean_of_cells):
    maps = torch.rand(2, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    pooled = pool_maps(maps, f"stage@{grid}")
    assert pooled.shape == (2, 5 * grid**2)
    torch.testing.assert_close(pooled, mean_of_cells(maps, grid))


@pytest.mark.parametrize("shape", [(2, 5, 6, 6), (2, 5, 7, 7), (1, 3, 4, 9), (1, 2, 2, 2)])
def test_pool_by_products_is_adaptive_pooling_with_its_gradient(shape):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    pooled = [pool_by_products(maps, 3), F.adaptive_avg_pool2d(maps, 3)]
    torch.testing.assert_close(*pooled)
    weights = torch.rand(pooled[0].shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((p * weights).sum(), maps)[0] for p in pooled]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("device", "sides", "with_gradient", "expected"),
    [
        ("cpu", (7, 7), True, False),
        ("cuda", (7, 7), False, False),  # frozen features stay as they are
        ("cuda", (8, 8), True, True),
        ("mps", (8, 8), True, False),
        ("mps", (8, 7), False, True),
    ],
)
def test_lacks_grid_pooling_by_device(device, sides, with_gradient, expected):
    assert lacks_grid_pooling(torch.device(device), sides, 2, with_gradient) == expected


def test_pool_maps_pools_by_products_where_torch_lacks_it(monkeypatch):
    maps = torch.rand(1, 2, 7, 7, generator=torch.Generator().manual_seed(0))
    expected = pool_maps(maps, "stage@2")
    monkeypatch.setattr(nodes, "lacks_grid_pooling", lambda *_: True)
    monkeypatch.setattr(F, "adaptive_avg_pool2d", None)
    torch.testing.assert_close(pool_maps(maps, "stage@2"), expected)


def test_pool_maps_averages_the_whole_image_without_a_grid():
    maps = torch.rand(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pool_maps(maps, "stage"), maps.mean((2, 3)))


def test_pool_maps_only_flattens_maps():
    maps = torch.rand(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pool_maps(maps, "stage@map"), maps.flatten(1))


def test_pool_maps_leaves_pooled_features():
    pooled = torch.rand(2, 7)
    assert torch.equal(pool_maps(pooled, "flatten"), pooled)


@pytest.mark.parametrize("node", ["stage", "stage@2", "stage@map"])
def test_pool_maps_averages_half_precision_in_float32(node):
    maps = torch.full((1, 2, 64, 64), 1.01, dtype=torch.bfloat16)
    pooled = pool_maps(maps, node)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, maps.flatten()[:1].float().expand_as(pooled))


def test_check_pool_defaults_to_the_last_stage():
    assert check_pool(None, STAGES) == ("layer4",)
    assert check_pool(["layer3@2", "layer1"], STAGES) == ("layer3@2", "layer1")


@pytest.mark.parametrize("pool", [[], ["layer4", "layer4"]])
def test_check_pool_rejects_an_impossible_pool(pool):
    with pytest.raises(ArgumentError) as caught:
        check_pool(pool, STAGES)
    assert caught.value.name == "pool"
    assert str(pool) in str(caught.value)
    assert ", ".join(STAGES) in str(caught.value)


@pytest.mark.parametrize("pool", [["layer3@map"], ["layer2", "layer4@map"]])
def test_check_pool_rejects_maps(pool):
    with pytest.raises(ArgumentError, match=rf"^pool takes no maps.*'{pool[-1]}'"):
        check_pool(pool, STAGES)


@pytest.mark.parametrize(
    ("pool", "first", "frozen", "trained"),
    [
        (["layer4"], "layer4", (), ("layer4",)),
        (["layer2@2", "layer4@3"], "layer4", ("layer2@2",), ("layer4@3",)),
        (["layer2", "layer3@2"], "layer3", ("layer2",), ("layer3@2",)),
        (["layer3.0", "layer4"], "layer4", ("layer3.0",), ("layer4",)),
        (["layer4", "layer3"], "layer1", (), ("layer4", "layer3")),
    ],
)
def test_split_pool_gives_the_nodes_before_a_stage_and_the_others(pool, first, frozen, trained):
    assert split_pool(pool, STAGES, first) == (frozen, trained)


@pytest.mark.parametrize(
    ("pool", "suggested"),
    [
        (["layer3"], "[layer3,layer4]"),
        (["layer4", "layer3@2"], "[layer3@2,layer4]"),
        (["layer2", "layer4.0"], "[layer2,layer4]"),
        (["layer4.0", "layer4"], "[layer4]"),
    ],
)
def test_split_pool_rejects_a_pool_that_does_not_end_in_trained_stages(pool, suggested):
    with pytest.raises(ArgumentError, match="^unfreeze needs a pool ") as caught:
        split_pool(pool, STAGES, "layer4")
    assert str(caught.value).endswith(f"such as {suggested}, got {pool}")


def test_pool_that_is_a_string_is_rejected_with_the_list_that_was_meant():
    with pytest.raises(ArgumentError, match=r"pool must be a list, such as \[layer4\]"):
        check_pool("layer4", ("layer3", "layer4"))
