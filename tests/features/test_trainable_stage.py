"""The trainable stage: the unfrozen last stage over cached nodes equals the frozen backbone."""

import pytest
import torch


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (None, 32),
        (["layer2", "layer4@2"], 64),
        (["layer2@2", "layer3", "layer4"], 64),
    ],
)
def test_trainable_stage_over_cached_nodes_equals_the_frozen_backbone(make_backbone, pool, size):
    images = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    frozen = make_backbone(pool=pool)
    unfrozen = make_backbone(pool=pool, unfreeze_last=True)
    stage = unfrozen.trainable_stage()
    assert unfrozen.feature_dim == frozen.feature_dim
    torch.testing.assert_close(stage(unfrozen(images)), frozen(images), atol=1e-5, rtol=1e-4)
    extracted = unfrozen.extract(images)
    cached = torch.cat([extracted[node] for node in unfrozen.cached_nodes], dim=1)
    torch.testing.assert_close(stage(cached), frozen(images), atol=1e-5, rtol=1e-4)


def test_trainable_stage_is_trained_and_its_backbone_is_not(make_backbone, images):
    backbone = make_backbone(pool=["layer2", "layer4"], unfreeze_last=True)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    stage, another = backbone.trainable_stage(), backbone.trainable_stage()
    assert all(parameter.requires_grad for parameter in stage.parameters())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    cached = backbone(images)
    assert not cached.requires_grad
    optimizer = torch.optim.SGD(stage.parameters(), lr=0.1)
    stage(cached).square().sum().backward()
    assert all(parameter.grad is not None for parameter in stage.parameters())
    optimizer.step()
    assert not torch.equal(stage(cached), another(cached))
    assert torch.equal(stage(cached)[:, :128], cached[:, :128])
    assert torch.equal(backbone(images), cached)
    assert torch.equal(backbone.trainable_stage()(cached), another(cached))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_trainable_stage_stays_in_float32_under_a_backbone_in_bfloat16(make_backbone, images):
    backbone = make_backbone(unfreeze_last=True, precision="bfloat16")
    backbone.to_device("cpu")
    stage = backbone.trainable_stage()
    assert {parameter.dtype for parameter in stage.parameters()} == {torch.float32}
    assert stage(backbone(images)).dtype == torch.float32


def test_trainable_stage_takes_an_empty_batch(make_backbone):
    backbone = make_backbone(unfreeze_last=True)
    features = backbone.trainable_stage()(backbone(torch.zeros(0, 1, 64, 64)))
    assert features.shape == (0, 512)


def test_trainable_stage_is_none_in_a_frozen_backbone(backbone):
    assert backbone.trainable_stage() is None
    assert backbone.cached_nodes == backbone.pool
    assert backbone.cached_widths(64) == {"layer4": 512}
