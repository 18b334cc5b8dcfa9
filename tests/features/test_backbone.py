"""The backbone: always frozen, and equal to torchvision's own network."""

import copy
import json
import logging

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from fashion_transfer.errors import ArgumentError
from fashion_transfer.features.weights import IMAGENET_MEAN, IMAGENET_STD, file_sha256


def pooled_by_torchvision(network, images, names, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    normalise = torchvision.transforms.Normalize(mean, std)
    extractor = create_feature_extractor(network, {name: name for name in names})
    with torch.no_grad():
        maps = extractor(normalise(images))
    return torch.cat([maps[name].mean((2, 3)) for name in names], dim=1)


# Values


@pytest.mark.parametrize("pool", [None, ["layer3", "layer4"], ["layer4", "layer1"], ["layer2"]])
def test_backbone_gives_torchvisions_features(
    make_backbone, reference, reference_file, images, pool
):
    backbone = make_backbone(weights=str(reference_file), pool=pool)
    expected = pooled_by_torchvision(reference, images, pool or ["layer4"])
    features = backbone(images)
    assert features.dtype == torch.float32
    assert features.shape == expected.shape == (5, backbone.feature_dim)
    assert torch.allclose(features, expected, atol=1e-4, rtol=1e-4)


def test_backbone_takes_grey_as_three_equal_channels(backbone, images):
    grey = images[:, :1]
    assert torch.equal(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_backbone_prefers_a_given_mean_and_std(make_backbone, reference, reference_file, images):
    mean, std = (0.1, 0.2, 0.3), (0.9, 0.8, 0.7)
    backbone = make_backbone(weights=str(reference_file), mean=mean, std=list(std))
    expected = pooled_by_torchvision(reference, images, ["layer4"], mean, std)
    assert torch.allclose(backbone(images), expected, atol=1e-4, rtol=1e-4)
    assert (backbone.mean, backbone.std) == (mean, std)


def test_backbone_takes_any_image_size(backbone):
    assert backbone.image_size is None
    for height, width in ((32, 32), (48, 48), (33, 65)):
        assert backbone(torch.zeros(2, 1, height, width)).shape == (2, 512)


def test_features_with_mirror_are_the_mean_of_an_image_and_its_mirror_image(make_backbone, images):
    mirrored = make_backbone(pool=["layer2@2", "layer4"], mirror=True)
    plain = make_backbone(pool=["layer2@2", "layer4"])
    expected = (plain(images) + plain(images.flip(-1))) / 2
    torch.testing.assert_close(mirrored(images), expected)
    torch.testing.assert_close(mirrored(images.flip(-1)), expected)
    assert not torch.allclose(plain(images), expected)
    assert mirrored.node_widths == plain.node_widths
    extracted = mirrored.extract(images)
    torch.testing.assert_close(extracted["layer4"], expected[:, -512:], atol=1e-5, rtol=1e-4)


def test_backbone_rejects_mirror_where_a_stage_is_trained(make_backbone):
    with pytest.raises(ArgumentError, match="^mirror must be false with unfreeze"):
        make_backbone(mirror=True, unfreeze="layer4")


# ImageNet's classes


@pytest.mark.parametrize("pool", [None, ["layer2"], ["layer4@2", "layer1"]])
def test_imagenet_logits_are_torchvisions_own(
    make_backbone, reference, reference_file, images, pool
):
    backbone = make_backbone(weights=str(reference_file), pool=pool)
    normalise = torchvision.transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    with torch.no_grad():
        expected = reference(normalise(images))
    logits = backbone.imagenet_logits(images)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert logits.shape == expected.shape == (5, 1000)
    assert torch.allclose(logits, expected, atol=1e-3, rtol=1e-3)


def test_imagenets_classifier_is_in_float32_whatever_the_backbone_is_in(
    make_backbone, reference_file, images
):
    exact = make_backbone(weights=str(reference_file)).imagenet_logits(images)
    backbone = make_backbone(weights=str(reference_file), precision="bfloat16")
    assert backbone.to_device("cpu") == "bfloat16"
    logits = backbone.imagenet_logits(images)
    assert logits.dtype == torch.float32
    assert (logits - exact).abs().max() < 0.1 * exact.abs().max()


def test_imagenets_classifier_is_there_if_the_weights_have_it(
    make_backbone, backbone, reference, reference_file, tmp_path
):
    with_it = make_backbone(weights=str(reference_file))
    assert torch.equal(with_it.imagenet.weight, reference.fc.weight)
    assert with_it.identity.keys() == backbone.identity.keys()
    assert backbone.imagenet is None  # random weights
    assert make_backbone(weights=str(reference_file), unfreeze="layer4").imagenet is None
    state = reference.state_dict()
    for name, classes in (("ten", 10), ("none", 0)):
        part = {k: v[:classes] if k.startswith("fc.") else v for k, v in state.items()}
        part = {k: v for k, v in part.items() if len(v.shape) == 0 or len(v)}
        torch.save(part, tmp_path / f"{name}.pth")
        assert make_backbone(weights=str(tmp_path / f"{name}.pth")).imagenet is None


# Nodes


def test_backbone_puts_nodes_side_by_side(make_backbone, images):
    backbone = make_backbone(pool=["layer4", "layer2"])
    nodes = backbone.stages(images)
    assert backbone.node_widths == {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    assert list(nodes) == list(backbone.node_widths)
    assert backbone.feature_dim == 640
    assert torch.equal(torch.cat([nodes["layer4"], nodes["layer2"]], 1), backbone(images))


def test_backbone_pools_any_node_of_torchvision(make_backbone, images):
    backbone = make_backbone(pool=["layer3.0", "layer3.1.add", "maxpool"])
    assert backbone.feature_dim == 256 + 256 + 64
    assert list(backbone.node_widths)[:4] == ["layer1", "layer2", "layer3", "layer4"]
    assert backbone(images).shape == (len(images), 576)


def test_backbone_pools_each_node_as_it_would_alone(make_backbone):
    images = torch.rand(2, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    pool = ["layer3@2", "layer4.0.relu", "layer2@3"]
    alone = [make_backbone(pool=[node])(images) for node in pool]
    together = make_backbone(pool=pool)
    assert [part.shape[1] for part in alone] == [256 * 4, 512, 128 * 9]
    assert together.feature_dim == sum(part.shape[1] for part in alone)
    torch.testing.assert_close(together(images), torch.cat(alone, dim=1))
    extracted = together.extract(images)
    for node, part in zip(pool, alone, strict=True):
        torch.testing.assert_close(extracted[node], part, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "pool", [["layer5"], ["layer4", "head"], [], ["layer4", "layer4"], ["layer2@x"], ["layer3@map"]]
)
def test_backbone_rejects_an_impossible_pool(make_backbone, pool):
    with pytest.raises(ArgumentError) as caught:
        make_backbone(pool=pool)
    assert caught.value.name == "pool"


def test_cached_widths_depend_on_the_image_size_where_maps_are_cached(make_backbone):
    backbone = make_backbone(pool=["layer2", "layer4"], unfreeze="layer4")
    assert backbone.cached_nodes == ("layer2", "layer3@map")
    assert backbone.cached_widths(32) == {"layer2": 128, "layer3@map": 256 * 2 * 2}
    assert backbone.cached_widths(64) == {"layer2": 128, "layer3@map": 256 * 4 * 4}
    assert backbone(torch.rand(1, 1, 64, 64)).shape == (1, 128 + 256 * 4 * 4)


@pytest.mark.parametrize(
    ("unfreeze", "pool", "cached"),
    [
        ("layer3", ["layer2@2", "layer3@2"], ("layer2@2", "layer2@map")),
        ("layer2", ["layer4"], ("layer1@map",)),
        ("layer1", ["layer4"], ("maxpool@map",)),
        (
            "layer4",
            ["maxpool", "layer2.0.conv1", "layer4"],
            ("maxpool", "layer2.0.conv1", "layer3@map"),
        ),
    ],
)
def test_cached_nodes_end_in_the_maps_that_go_into_the_first_trained_stage(
    make_backbone, unfreeze, pool, cached
):
    assert make_backbone(pool=pool, unfreeze=unfreeze).cached_nodes == cached


def test_backbone_rejects_unfreezing_without_a_trained_stage_in_its_pool(make_backbone):
    with pytest.raises(ArgumentError, match="^unfreeze needs a pool"):
        make_backbone(pool=["layer3"], unfreeze="layer4")


@pytest.mark.parametrize("unfreeze", ["layer5", "maxpool", "layer4.0", "", True, 4])
def test_backbone_rejects_unfreezing_what_is_no_stage(make_backbone, unfreeze):
    with pytest.raises(ArgumentError, match="^unfreeze must be one of layer1, .*layer4, or None"):
        make_backbone(unfreeze=unfreeze)


# Frozen


def test_train_does_not_reach_the_backbone(backbone):
    parent = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(512, 10)})
    parent.train()
    assert parent["head"].training
    assert not any(layer.training for layer in backbone.modules())
    assert backbone.train() is backbone
    assert not backbone.training


def test_backbone_is_unchanged_by_a_pass_in_training(make_backbone, images):
    backbone = make_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    nn.Sequential(backbone).train()(images * 3)
    backbone.extract(images)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_features_have_no_gradient(backbone, images):
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone(images).requires_grad
    assert not any(node.requires_grad for node in backbone.extract(images).values())


def test_backbone_is_unchanged_by_an_optimizer(make_backbone, images):
    backbone = make_backbone()
    head = nn.Linear(512, 10)
    before = backbone(images)
    everything = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(everything, lr=1, weight_decay=0.5)
    head(backbone(images)).sum().backward()
    optimizer.step()
    assert torch.equal(backbone(images), before)


def test_backbone_can_be_copied(make_backbone, images):
    backbone = make_backbone(unfreeze="layer4")
    other = copy.deepcopy(backbone)
    assert other.engine.stages is other.stages is not backbone.stages
    assert torch.equal(other.extract(images)["layer3@map"], backbone.extract(images)["layer3@map"])


# Identity


def test_random_weights_are_the_same_in_every_run_and_draw_nothing(make_backbone, images, caplog):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with caplog.at_level(logging.WARNING):
        one = make_backbone()
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    other = make_backbone()
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one(images), other(images))
    assert "backbone resnet18 has RANDOM weights" in caplog.text
    assert one.weights_name == "random"
    assert one.source is None


def test_weights_from_a_file_draw_nothing_and_have_the_files_hash(make_backbone, reference_file):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backbone = make_backbone(weights=str(reference_file))
    assert torch.equal(torch.rand(3), expected)
    assert backbone.fingerprint == file_sha256(reference_file)
    assert backbone.weights_name == reference_file.name
    assert backbone.source == str(reference_file.resolve())


def test_source_is_an_absolute_path(make_backbone, reference_file, monkeypatch):
    monkeypatch.chdir(reference_file.parent)
    backbone = make_backbone(weights=reference_file.name)
    assert backbone.source == str(reference_file.resolve())


def test_source_expands_the_home_folder(make_backbone, reference_file, monkeypatch):
    monkeypatch.setenv("HOME", str(reference_file.parent))
    backbone = make_backbone(weights=f"~/{reference_file.name}")
    assert backbone.source == str(reference_file.resolve())


def test_identity_names_all_that_matters_in_json_types(make_backbone, backbone, reference_file):
    assert json.loads(json.dumps(backbone.identity)) == backbone.identity
    changes = [
        {"weights": str(reference_file)},
        {"pool": ["layer3", "layer4"]},
        {"mean": (0.5, 0.5, 0.5)},
        {"std": (0.5, 0.5, 0.5)},
        {"mirror": True},
    ]
    identities = [make_backbone(**change).identity for change in changes] + [backbone.identity]
    assert len({json.dumps(identity) for identity in identities}) == len(identities)


def test_identity_tells_unfrozen_from_frozen(make_backbone, backbone):
    assert make_backbone(unfreeze="layer4").identity == backbone.identity | {"unfreeze": "layer4"}


# Values that are rejected


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"name": "resnet19"}, "name"),
        ({"weights": "IMAGENET1K_V9"}, "weights"),
        ({"mean": (0.5,)}, "mean"),
        ({"std": (0.2, 0.0, 0.2)}, "std"),
        ({"precision": "half"}, "precision"),
        ({"compile": "always"}, "compile"),
    ],
)
def test_backbone_names_the_argument_it_rejects(make_backbone, change, name):
    with pytest.raises(ArgumentError) as caught:
        make_backbone(**change)
    assert caught.value.name == name
    assert "\n" not in str(caught.value)
    assert "model." not in str(caught.value)


# Real weights


@pytest.mark.real_weights
def test_resnet50_with_imagenet_weights_gives_finite_features(make_backbone, real_weights):
    backbone = make_backbone(name="resnet50", weights=str(real_weights))
    features = backbone(torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 2048)
    assert features.isfinite().all()
    assert 0 < features.std() < 100
    assert backbone.fingerprint == file_sha256(real_weights)
