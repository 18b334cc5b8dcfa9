"""The registry of adapters, and what a further library costs: one adapter and one entry."""

import logging

import pytest
import torch
from torch import nn

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features import Backbone, Extractor, FeatureStore
from fashion_transfer.features.adapters import ADAPTERS, BackboneAdapter, get_adapter
from fashion_transfer.features.adapters.state_dicts import build_random
from fashion_transfer.features.adapters.timm import TimmAdapter
from fashion_transfer.features.adapters.torchvision import TorchvisionAdapter
from fashion_transfer.features.nodes import pool_maps, split_node


class ToyNetwork(nn.Module):
    """Two convolutions."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1)


class ToyStages(nn.Module):
    def __init__(self, network, nodes):
        super().__init__()
        self.network = network
        self.nodes = tuple(nodes)

    def forward(self, images):
        first = self.network.first(images)
        maps = {"first": first, "second": self.network.second(first)}
        return {node: pool_maps(maps[split_node(node)[0]], node) for node in self.nodes}


class ToyAdapter(BackboneAdapter):
    """All that a third library needs."""

    versions = {"toys": "1.0"}

    @classmethod
    def choices(cls):
        return "toys/NAME"

    def has_network(self):
        return self.model_name == "two"

    def build(self, weights):
        return build_random(ToyNetwork, self.name)

    def nodes(self, network):
        return ("first", "second")

    def make_stages(self, network, nodes):
        return ToyStages(network, nodes)


class TrainableToyAdapter(ToyAdapter):
    def node_before(self, network, stage):
        return "first"

    def trainable_stages(self, network, first, nodes):
        return PooledSecond(network.second, *nodes)


class PooledSecond(nn.Module):
    def __init__(self, second, node):
        super().__init__()
        self.second, self.node = second, node

    def forward(self, maps):
        return {self.node: pool_maps(self.second(maps), self.node)}


@pytest.fixture(params=[ToyAdapter, TrainableToyAdapter])
def toys(request, monkeypatch):
    monkeypatch.setitem(ADAPTERS, "toys/", request.param)
    return request.param


def make_toy(**options):
    return Backbone("toys/two", None, precision="float32", compile=False, **options)


@pytest.mark.parametrize(
    ("name", "adapter", "model_name"),
    [
        ("resnet50", TorchvisionAdapter, "resnet50"),
        ("timm/mobilenetv3_small_050", TimmAdapter, "mobilenetv3_small_050"),
    ],
)
def test_get_adapter_looks_at_the_prefix(name, adapter, model_name):
    if adapter is TimmAdapter:
        pytest.importorskip("timm")
    chosen = get_adapter(name)
    assert type(chosen) is adapter
    assert (chosen.name, chosen.model_name) == (name, model_name)


@pytest.mark.parametrize("name", ["resnet19", "vgg16", "ResNet18", "", "get_model", "tim/vgg11"])
def test_get_adapter_rejects_an_unknown_name_with_the_choices(name):
    with pytest.raises(ArgumentError) as caught:
        get_adapter(name)
    message = str(caught.value)
    assert message.startswith("name must be one of ")
    assert message.endswith(f"got {name!r}")
    assert "resnet50" in message
    assert "timm/NAME" in message


def test_third_library_is_among_the_choices(toys):
    for name in ("toys/three", "resnet19"):
        with pytest.raises(ArgumentError, match=r"^name must be .*toys/NAME, got"):
            get_adapter(name)


def test_third_library_gives_a_backbone_like_any_other(toys, images, caplog):
    with caplog.at_level(logging.WARNING):
        backbone = make_toy(pool=["first@2", "second"])
    assert "backbone toys/two has RANDOM weights" in caplog.text
    assert backbone.node_widths == {"first": 4, "second": 6, "first@2": 16}
    assert backbone.feature_dim == 22
    assert backbone.image_size is None
    assert backbone.versions == {"toys": "1.0"}
    assert backbone.identity["name"] == "toys/two"
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    features = backbone(images)
    extracted = backbone.extract(images)
    assert torch.allclose(features, torch.cat([extracted["first@2"], extracted["second"]], 1))
    grey = images[:, :1]
    assert torch.equal(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_third_librarys_features_are_cached(toys, tmp_path, images):
    extractor = Extractor(make_toy(), FeatureStore(tmp_path))
    rows, key = torch.arange(5).numpy(), {"split": "ab", "image_size": images.shape[-1]}
    for _ in range(2):
        table = extractor(key, 5, rows, lambda rows, device: images[rows])
    assert extractor.computed == 5
    assert torch.equal(table.gather(rows), make_toy().extract(images)["second"].half().float())


def test_third_library_can_be_unfrozen_where_its_adapter_gives_the_stages(toys, images):
    if toys is ToyAdapter:
        with pytest.raises(ArgumentError, match="^unfreeze must be None for toys/two"):
            make_toy(unfreeze="second")
        return
    unfrozen = make_toy(pool=["first", "second@2"], unfreeze="second")
    stages = unfrozen.trainable_stages()
    assert unfrozen.cached_nodes == ("first", "first@map")
    expected = make_toy(pool=["first", "second@2"])(images)
    torch.testing.assert_close(stages(unfrozen(images)), expected)
