"""The trainable stages: what is unfrozen, over cached nodes, equals the frozen backbone."""

import pytest
import torch


@pytest.mark.parametrize(
    ("unfreeze", "pool", "size"),
    [
        ("layer4", None, 32),
        ("layer4", ["layer2", "layer4@2"], 64),
        ("layer4", ["layer2@2", "layer3", "layer4"], 64),
        ("layer3", ["layer2@2", "layer3", "layer4"], 64),
        ("layer2", ["layer2@2", "layer3@2"], 64),
        ("layer1", ["layer4@2", "layer1"], 64),
    ],
)
def test_trainable_stages_over_cached_nodes_equal_the_frozen_backbone(
    make_backbone, unfreeze, pool, size
):
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    frozen = make_backbone(pool=pool)
    unfrozen = make_backbone(pool=pool, unfreeze=unfreeze)
    stages = unfrozen.trainable_stages()
    assert unfrozen.feature_dim == frozen.feature_dim
    torch.testing.assert_close(stages(unfrozen(images)), frozen(images), atol=1e-5, rtol=1e-4)
    extracted = unfrozen.extract(images)
    cached = torch.cat([extracted[node] for node in unfrozen.cached_nodes], dim=1)
    torch.testing.assert_close(stages(cached), frozen(images), atol=1e-5, rtol=1e-4)


def test_trainable_stages_are_trained_and_their_backbone_is_not(make_backbone, images):
    backbone = make_backbone(pool=["layer2", "layer4"], unfreeze="layer4")
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    stages, another = backbone.trainable_stages(), backbone.trainable_stages()
    assert all(parameter.requires_grad for parameter in stages.parameters())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    cached = backbone(images)
    assert not cached.requires_grad
    optimizer = torch.optim.SGD(stages.parameters(), lr=0.1)
    stages(cached).square().sum().backward()
    assert all(parameter.grad is not None for parameter in stages.parameters())
    optimizer.step()
    assert not torch.equal(stages(cached), another(cached))
    assert torch.equal(stages(cached)[:, :128], cached[:, :128])
    assert torch.equal(backbone(images), cached)
    assert torch.equal(backbone.trainable_stages()(cached), another(cached))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_trainable_stages_stay_in_float32_under_a_backbone_in_bfloat16(make_backbone, images):
    backbone = make_backbone(unfreeze="layer4", precision="bfloat16")
    backbone.to_device("cpu")
    stages = backbone.trainable_stages()
    assert {parameter.dtype for parameter in stages.parameters()} == {torch.float32}
    assert stages(backbone(images)).dtype == torch.float32


def test_trainable_stages_take_an_empty_batch(make_backbone):
    backbone = make_backbone(unfreeze="layer4")
    features = backbone.trainable_stages()(backbone(torch.zeros(0, 1, 64, 64)))
    assert features.shape == (0, 512)


def test_trainable_stages_are_none_in_a_frozen_backbone(backbone):
    assert backbone.trainable_stages() is None
    assert backbone.cached_nodes == backbone.pool
    assert backbone.cached_widths(64) == {"layer4": 512}
