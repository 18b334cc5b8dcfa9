import pytest
import torch

from fashion_transfer.models.heads import build_head
from fashion_transfer.models.mixup import mix, mixed_logits


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_mix_gives_each_row_with_its_partner_in_the_share_it_names():
    features = torch.arange(12.0).reshape(6, 2)
    mixed, other, share = mix(features, 0.7)
    for row in range(6):
        expected = share[row] * features[row] + (1 - share[row]) * features[other[row]]
        torch.testing.assert_close(mixed[row], expected)
    assert sorted(other.tolist()) == list(range(6))


def test_each_row_has_a_share_of_its_own():
    share = mix(torch.zeros(64, 2), 1.0)[2]
    assert share.shape == (64,)
    assert share.unique().numel() > 32


@pytest.mark.parametrize("alpha", [0.1, 1.0, 20.0])
def test_share_is_from_a_half_to_one(alpha):
    shares = mix(torch.zeros(200, 1), alpha)[2]
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    assert shares.unique().numel() > 50


def test_share_follows_the_beta_distribution():
    # Of Beta(1, 1), the uniform one, the larger part is uniform from a half to one.
    shares = mix(torch.zeros(2000, 1), 1.0)[2]
    assert shares.mean().item() == pytest.approx(0.75, abs=0.01)
    # A large alpha mixes halves.
    halves = mix(torch.zeros(50, 1), 200.0)[2]
    assert halves.max() < 0.7


def test_mix_depends_on_the_global_generator_alone():
    features = torch.randn(5, 3)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(mix(features, 1.0)[0])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_mix_keeps_the_type_of_the_features():
    mixed, _, share = mix(torch.ones(3, 2, dtype=torch.float64), 1.0)
    assert mixed.dtype == share.dtype == torch.float64


def test_gradients_flow_to_both_partners():
    features = torch.ones(4, 2, requires_grad=True)
    mixed, other, share = mix(features, 1.0)
    mixed.sum().backward()
    expected = share.index_add(0, other, 1 - share)
    torch.testing.assert_close(features.grad, expected[:, None].expand(4, 2))


class Scaled(torch.nn.Sequential):
    """A sequence that does more than its layers."""

    def forward(self, features):
        return 3 * super().forward(features)


HEADS = {
    "mlp": build_head("mlp", 6, 3, hidden=4, dropout=0.5),
    "linear": build_head("linear", 6, 3, dropout=0.5),
    "scaled": Scaled(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3)),
    "one layer": torch.nn.Linear(6, 3),
}


@pytest.mark.parametrize("name", HEADS)
def test_mixed_logits_are_those_of_mixed_features(name):
    head, features = HEADS[name], torch.randn(5, 6)
    results = []
    for mixed_first in (False, True):
        torch.manual_seed(1)
        head.zero_grad()
        if mixed_first:
            mixed, other, share = mix(features, 1.0)
            result = head(mixed), other, share
        else:
            result = mixed_logits(head, features, 1.0)
        result[0].square().sum().backward()
        results.append((*result, *(parameter.grad.clone() for parameter in head.parameters())))
    torch.testing.assert_close(*results)
