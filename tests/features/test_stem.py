"""The stem: the weights' preprocessing inside the network."""

import pytest
import torch
import torchvision
from torch import nn

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.stem import Stem, insert_stem
from fashion_transfer.features.weights import IMAGENET_MEAN, IMAGENET_STD


@pytest.mark.parametrize("channels", [1, 3])
def test_stem_normalises_and_convolves(channels):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, channels, 16, 16, generator=generator)
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    mean, std = (0.1, 0.2, 0.3), (0.9, 0.5, 0.7)
    normalised = torchvision.transforms.Normalize(mean, std)(images.expand(-1, 3, -1, -1))
    maps = Stem(convolution, mean, std)(images)
    torch.testing.assert_close(maps, convolution(normalised))


def test_stem_normalises_in_float32_and_convolves_in_the_networks_precision():
    convolution = nn.Conv2d(3, 4, 1)
    stem = Stem(convolution, IMAGENET_MEAN, IMAGENET_STD).to(torch.bfloat16)
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    normalised = torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)(
        images.expand(-1, 3, -1, -1)
    )
    maps = stem(images)
    assert maps.dtype == torch.bfloat16
    assert torch.equal(maps, convolution(normalised.to(torch.bfloat16)))


def test_insert_stem_replaces_the_first_convolution():
    network = torchvision.models.resnet18()
    first = network.conv1
    names = {name for name, _ in network.named_children()}
    insert_stem(network, IMAGENET_MEAN, IMAGENET_STD)
    assert isinstance(network.conv1, Stem)
    assert network.conv1.convolution is first
    assert {name for name, _ in network.named_children()} == names


@pytest.mark.parametrize("mean", [(0.5,), (), (0.5, 0.5, 0.5, 0.5)])
def test_stem_rejects_a_mean_that_is_not_three_numbers(mean):
    with pytest.raises(ArgumentError, match="^mean must be three numbers, got"):
        Stem(nn.Conv2d(3, 4, 1), mean, IMAGENET_STD)


@pytest.mark.parametrize(
    "std", [(0.5, 0.5), (0.2, 0.0, 0.2), (0.2, -0.1, 0.2), (0.2, float("nan"), 0.2)]
)
def test_stem_rejects_an_impossible_std(std):
    with pytest.raises(ArgumentError, match="^std must be three numbers above 0, got"):
        Stem(nn.Conv2d(3, 4, 1), IMAGENET_MEAN, std)
