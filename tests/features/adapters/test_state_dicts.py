"""State dicts: loaded where they fit, rejected by name where they do not."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from fashion_transfer.errors import ArgumentError


@pytest.fixture(scope="module")
def state():
    """The state dict of the random ResNet18 that `make_backbone` builds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.resnet18().state_dict()


@pytest.fixture
def saved(tmp_path):
    """`saved(tensors)`: the path of a file with these tensors."""

    def save(tensors):
        path = tmp_path / "weights.pth"
        torch.save(tensors, path)
        return str(path)

    return save


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_weights_are_loaded_in_float32(make_backbone, backbone, state, tmp_path, dtype, ending):
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    path = tmp_path / f"weights.{ending}"
    save_file(tensors, path) if ending == "safetensors" else torch.save(tensors, path)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected, loaded = backbone(images), make_backbone(weights=str(path))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    tolerance = 1e-5 if dtype is torch.float32 else 0.02 * expected.abs().max().item()
    assert torch.allclose(loaded(images), expected, atol=tolerance)


def test_classifier_may_be_missing_or_another(make_backbone, state, saved):
    without = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    other = state | {"fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)}
    for tensors in (without, other):
        assert make_backbone(weights=saved(tensors)).feature_dim == 512


def test_counters_of_batch_norms_may_be_missing(make_backbone, state, saved):
    tensors = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    assert make_backbone(weights=saved(tensors)).feature_dim == 512


def test_other_names_are_rejected_with_the_first_few(make_backbone, state, saved):
    renamed = {f"module.{name}": tensor for name, tensor in state.items()}
    with pytest.raises(ArgumentError) as caught:
        make_backbone(weights=saved(renamed))
    message = str(caught.value)
    for part in (
        "weights in weights.pth do not fit resnet18: ",
        "missing tensors (conv1.weight, bn1.weight, bn1.bias, …)",
        "unknown tensors (module.conv1.weight, module.bn1.weight, module.bn1.bias, …)",
    ):
        assert part in message
    assert len(message) < 500
    assert "\n" not in message


def test_one_missing_tensor_is_rejected_by_name(make_backbone, state, saved):
    without = {name: t for name, t in state.items() if name != "layer3.0.conv2.weight"}
    with pytest.raises(ArgumentError, match=r"1 missing tensors \(layer3.0.conv2.weight\)"):
        make_backbone(weights=saved(without))


def test_other_shapes_are_rejected_with_both(make_backbone, state, saved):
    other = state | {"conv1.weight": torch.ones(64, 1, 7, 7)}
    with pytest.raises(ArgumentError, match=r"conv1.weight is \(64, 1, 7, 7\), not \(64, 3, 7, 7"):
        make_backbone(weights=saved(other))


def test_another_architectures_weights_are_rejected(make_backbone, state, saved):
    with pytest.raises(ArgumentError, match="^weights .* do not fit resnet34"):
        make_backbone(name="resnet34", weights=saved(state))


def test_another_architectures_weights_are_rejected_for_a_timm_model(make_backbone, state, saved):
    pytest.importorskip("timm")
    with pytest.raises(ArgumentError, match="^weights .* do not fit timm/mobilenetv3_small_050"):
        make_backbone(name="timm/mobilenetv3_small_050", weights=saved(state))
