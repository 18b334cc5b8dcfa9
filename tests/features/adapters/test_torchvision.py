"""torchvision's ResNets: any of their nodes, with their BatchNorms folded."""

import pytest
import torch
import torchvision
from torch import nn

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.adapters.torchvision import TorchvisionAdapter, TorchvisionStages
from fashion_transfer.features.stem import insert_stem
from fashion_transfer.features.weights import IMAGENET_MEAN, IMAGENET_STD


@pytest.fixture(scope="module")
def network():
    """A torchvision ResNet18 with a `Stem`; the tests leave it as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchvision.models.resnet18()
    insert_stem(network, IMAGENET_MEAN, IMAGENET_STD)
    return network.eval().requires_grad_(False)


@pytest.fixture
def adapter():
    return TorchvisionAdapter("resnet18", "resnet18")


def test_versions_name_torchvision(adapter, backbone):
    assert adapter.versions == backbone.versions == {"torchvision": torchvision.__version__}


def test_nodes_are_the_layers_of_a_resnet(adapter, network):
    assert adapter.nodes(network) == ("layer1", "layer2", "layer3", "layer4")
    assert adapter.image_size(network) is None


def test_node_before_a_stage_gives_its_input(adapter, network, images):
    nodes = {name: adapter.node_before(network, name) for name in adapter.nodes(network)}
    assert list(nodes.values()) == ["maxpool", "layer1", "layer2", "layer3"]
    whole = adapter.make_stages(network, ["layer2@map", "layer3", "layer4@2"])(images)
    maps = whole.pop("layer2@map").unflatten(1, (128, 4, 4))
    rest = adapter.trainable_stages(network, "layer3", ["layer3", "layer4@2"])(maps)
    assert rest.keys() == whole.keys()
    torch.testing.assert_close(rest, whole)


def test_build_folds_batch_norms(adapter, reference_file):
    network, weights = adapter.build(str(reference_file))
    types = {type(layer) for layer in network.modules()}
    assert nn.BatchNorm2d not in types
    assert nn.Conv2d in types
    assert isinstance(network.fc, nn.Identity)
    assert weights.name == reference_file.name


@pytest.mark.parametrize("node", ["layer5", "layer", "layer3.7", "layer5@2", "LAYER3", ""])
def test_stages_reject_an_unknown_node_with_the_choices(network, node):
    with pytest.raises(ArgumentError) as caught:
        TorchvisionStages(network, ["layer1", node])
    assert caught.value.name == "pool"
    message = str(caught.value)
    assert message.endswith(f"got {node.partition('@')[0]!r}")
    assert "layer1, layer2, layer3, layer4" in message
    assert "None for the last stage" in message


def test_stages_take_the_part_that_the_error_suggests(network, images):
    with pytest.raises(ArgumentError) as caught:
        TorchvisionStages(network, ["nothing"])
    part = str(caught.value).partition("their parts such as ")[2].partition(",")[0]
    assert TorchvisionStages(network, [part])(images)[part].ndim == 2


@pytest.mark.parametrize("within", [[], ["layer4.0.relu"]], ids=["whole stages", "within one"])
def test_stages_equal_those_of_a_plain_pass(network, mean_of_cells, within):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    nodes = ["layer3@map", "layer2", "layer3@2", *within, "layer4"]
    seen = {}
    watched = {"layer2": network.layer2, "layer3": network.layer3, "layer4": network.layer4}
    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out}))
        for name, part in watched.items()
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    stages = TorchvisionStages(network, nodes)(images)
    assert list(stages) == nodes
    assert {stage.dtype for stage in stages.values()} == {torch.float32}
    torch.testing.assert_close(stages["layer2"], seen["layer2"].mean((2, 3)))
    torch.testing.assert_close(stages["layer4"], seen["layer4"].mean((2, 3)))
    torch.testing.assert_close(stages["layer3@2"], mean_of_cells(seen["layer3"], 2))
    torch.testing.assert_close(stages["layer3@map"], seen["layer3"].flatten(1))
    for node in within:
        assert stages[node].shape == (2, 512)
        assert not torch.equal(stages[node], stages["layer4"])


@pytest.mark.parametrize("node", ["layer2", "layer2.0.relu"])
def test_stages_leave_out_what_no_node_needs(network, node):
    names = list(dict(TorchvisionStages(network, [node]).named_parameters()))
    assert any("layer2" in name for name in names)
    assert not any("layer3" in name or "fc" in name for name in names)
