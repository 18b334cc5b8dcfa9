"""What the tests of features share: a few images, and a ResNet18 with a file of its weights."""

import pytest
import torch
import torchvision
from torch import nn


@pytest.fixture
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def reference():
    """A torchvision ResNet18 in eval mode whose BatchNorms are anything but neutral."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = torchvision.models.resnet18()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.running_mean, -0.3, 0.3),
                (norm.running_var, 0.5, 1.5),
                (norm.weight.data, 0.5, 1.5),
                (norm.bias.data, -0.3, 0.3),
            ):
                tensor.uniform_(low, high, generator=generator)
    return network.eval()


@pytest.fixture(scope="session")
def reference_file(reference, tmp_path_factory):
    """The state dict of `reference`; do not change it."""
    path = tmp_path_factory.mktemp("weights") / "reference.pth"
    torch.save(reference.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def mean_of_cells():
    """`mean_of_cells(maps, grid)`: of maps whose sides the grid divides, a plain loop."""

    def mean(maps: torch.Tensor, grid: int) -> torch.Tensor:
        height, width = maps.shape[2] // grid, maps.shape[3] // grid
        cells = [
            maps[:, :, r * height : (r + 1) * height, c * width : (c + 1) * width].mean((2, 3))
            for r in range(grid)
            for c in range(grid)
        ]
        return torch.stack(cells, dim=2).flatten(1)  # channels first, then cells in reading order

    return mean
