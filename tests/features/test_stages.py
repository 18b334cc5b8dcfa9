"""Stages: what is taken out of a network, by name, and how it is averaged."""

import pytest
import torch
import torchvision
from torch import nn

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.stages import (
    Stem,
    TimmStages,
    TorchvisionStages,
    average,
    insert_stem,
    split_node,
    timm_nodes,
    torchvision_nodes,
)
from fashion_transfer.features.weights import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture(scope="module")
def network():
    """A torchvision ResNet18 with a `Stem`; the tests leave it as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.resnet18()
    insert_stem(network, IMAGENET_MEAN, IMAGENET_STD)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def lite0():
    """timm's EfficientNet-Lite0 with a `Stem` and without a classifier."""
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("efficientnet_lite0", pretrained=False, num_classes=0)
    insert_stem(network, (0.5,) * 3, (0.5,) * 3)
    return network.eval().requires_grad_(False)


@pytest.fixture
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def mean_of_cells(maps: torch.Tensor, grid: int) -> torch.Tensor:
    """Of maps whose sides the grid divides: channels first, cells in reading order after that."""
    height, width = maps.shape[2] // grid, maps.shape[3] // grid
    cells = [
        maps[:, :, r * height : (r + 1) * height, c * width : (c + 1) * width].mean((2, 3))
        for r in range(grid)
        for c in range(grid)
    ]
    return torch.stack(cells, dim=2).flatten(1)


# Names


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
def test_a_node_is_a_name_and_what_becomes_of_it(node, expected):
    assert split_node(node) == expected


@pytest.mark.parametrize("node", ["layer3@", "@0", "@x", "layer3@0", "layer3@-1", "a@2@2", "a@1.5"])
def test_what_is_no_size_of_a_grid_is_refused(node):
    with pytest.raises(FashionTransferError, match=f"pool names '{node}': after the @ .* a grid"):
        split_node(node)


def test_the_stages_of_a_resnet_are_its_layers(network):
    assert torchvision_nodes(network) == ("layer1", "layer2", "layer3", "layer4")


@pytest.mark.parametrize("node", ["layer5", "layer", "layer3.7", "layer5@2", "LAYER3", ""])
def test_an_unknown_node_is_refused_with_those_that_there_are(network, node):
    with pytest.raises(FashionTransferError) as caught:
        TorchvisionStages(network, ["layer1", node])
    message = str(caught.value)
    assert f"model.backbone.pool names {node.partition('@')[0]!r}" in message
    assert "layer1, layer2, layer3, layer4" in message
    assert "null" in message


def test_a_part_that_the_message_suggests_can_be_pooled(network, images):
    with pytest.raises(FashionTransferError) as caught:
        TorchvisionStages(network, ["nothing"])
    part = str(caught.value).partition("their parts such as ")[2].partition(",")[0]
    assert TorchvisionStages(network, [part])(images)[part].ndim == 2


# Averages


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_a_grid_averages_each_cell_on_its_own(grid):
    maps = torch.rand(2, 5, 6, 6, generator=torch.Generator().manual_seed(0))
    found = average(maps, f"stage@{grid}")
    assert found.shape == (2, 5 * grid**2)
    torch.testing.assert_close(found, mean_of_cells(maps, grid))


def test_without_a_grid_all_of_the_image_is_one_cell():
    maps = torch.rand(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(average(maps, "stage"), maps.mean((2, 3)))


def test_maps_are_kept_as_they_are():
    maps = torch.rand(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(average(maps, "stage@map"), maps.flatten(1))


@pytest.mark.parametrize("node", ["stage", "stage@2", "stage@map"])
def test_averages_of_a_network_in_half_precision_are_float32(node):
    maps = torch.full((1, 2, 64, 64), 1.01, dtype=torch.bfloat16)
    found = average(maps, node)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, maps.flatten()[:1].float().expand_as(found))


def test_what_is_pooled_already_stays_so():
    pooled = torch.rand(2, 7)
    assert torch.equal(average(pooled, "flatten"), pooled)


# torchvision


def test_each_node_is_that_of_a_plain_pass(network, images):
    nodes = ["layer3@map", "layer2", "layer3@2", "layer4.0.relu", "layer4"]
    seen = {}
    watched = {"layer2": network.layer2, "layer3": network.layer3, "layer4": network.layer4}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, part in watched.items()
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    found = TorchvisionStages(network, nodes)(images)
    assert list(found) == nodes
    assert {stage.dtype for stage in found.values()} == {torch.float32}
    torch.testing.assert_close(found["layer2"], seen["layer2"].mean((2, 3)))
    torch.testing.assert_close(found["layer4"], seen["layer4"].mean((2, 3)))
    torch.testing.assert_close(found["layer3@2"], mean_of_cells(seen["layer3"], 2))
    torch.testing.assert_close(found["layer3@map"], seen["layer3"].flatten(1))
    assert found["layer4.0.relu"].shape == (2, 512)
    assert not torch.equal(found["layer4.0.relu"], found["layer4"])


def test_only_what_is_asked_for_is_computed(network):
    kept = dict(TorchvisionStages(network, ["layer2"]).named_parameters())
    assert any("layer2" in name for name in kept)
    assert not any("layer3" in name or "fc" in name for name in kept)


# Stem


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stem_is_normalisation_and_then_the_convolution(channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, channels, 16, 16, generator=generator)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    mean, std = (0.1, 0.2, 0.3), (0.9, 0.5, 0.7)
    normalised = torchvision.transforms.Normalize(mean, std)(images.expand(-1, 3, -1, -1))
    found = Stem(convolution, mean, std)(images)
    torch.testing.assert_close(found, convolution(normalised))


def test_a_stem_normalises_in_float32_and_computes_in_the_networks_precision():
    convolution = nn.Conv2d(3, 4, 1)
    stem = Stem(convolution, IMAGENET_MEAN, IMAGENET_STD).to(torch.bfloat16)
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normalised = torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)(
        images.expand(-1, 3, -1, -1)
    )
    found = stem(images)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, convolution(normalised.to(torch.bfloat16)))


def test_inserting_a_stem_puts_it_where_the_first_convolution_was():
    network = torchvision.models.resnet18()
    first = network.conv1
    names = {name for name, _ in network.named_children()}
    insert_stem(network, IMAGENET_MEAN, IMAGENET_STD)
    assert isinstance(network.conv1, Stem)
    assert network.conv1.convolution is first
    assert {name for name, _ in network.named_children()} == names


# timm


def test_a_timm_models_nodes_are_its_feature_list_and_what_it_pools(lite0):
    assert timm_nodes(lite0)[-1] == "pooled"
    assert {"blocks.2", "blocks.4"} <= set(timm_nodes(lite0))


def test_a_network_without_a_feature_list_has_its_own_output_alone():
    assert timm_nodes(nn.Linear(1, 1)) == ("pooled",)


def test_timm_nodes_come_in_the_order_asked_for_with_their_grids(lite0, images):
    nodes = ["pooled", "blocks.4@2", "blocks.2", "blocks.2@2", "blocks.2@map"]
    found = TimmStages(lite0, nodes)(images)
    assert list(found) == nodes
    widths = [stage.shape[1] for stage in found.values()]
    assert widths == [1280, 112 * 4, 40, 40 * 4, 40 * 8 * 8]
    maps = found["blocks.2@map"].unflatten(1, (40, 8, 8))
    torch.testing.assert_close(found["blocks.2"], maps.mean((2, 3)))
    torch.testing.assert_close(found["blocks.2@2"], mean_of_cells(maps, 2))
    torch.testing.assert_close(found["pooled"], lite0(images))


def test_a_timm_models_own_output_is_the_same_alone_and_beside_others(lite0, images):
    alone = TimmStages(lite0, ["pooled"])(images)
    beside = TimmStages(lite0, ["blocks.1", "pooled"])(images)
    torch.testing.assert_close(alone["pooled"], beside["pooled"])


@pytest.mark.parametrize("node", ["blocks.77", "layer4", "blocks.77@2"])
def test_an_unknown_timm_node_is_refused_with_those_that_there_are(lite0, node):
    with pytest.raises(FashionTransferError, match=f"pool names '{node}'.*blocks.2.*pooled, or nu"):
        TimmStages(lite0, ["pooled", node])


def test_a_timm_networks_unknown_grid_is_refused(lite0):
    with pytest.raises(FashionTransferError, match="pool names 'blocks.2@x'"):
        TimmStages(lite0, ["blocks.2@x"])
