import pytest
import torch

from fashion_transfer.errors import ArgumentError
from fashion_transfer.models import HEADS, LinearHead, MLPHead, Standardise, build_head


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- standardising


def test_standardised_features_have_mean_0_and_deviation_1():
    features = draw(50, 4) * torch.tensor([0.01, 1.0, 30.0, 5.0]) + torch.tensor([3.0, 0, -8, 1])
    standardise = Standardise(4)
    standardise.fit([features])
    result = standardise(features)
    torch.testing.assert_close(result.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(result.std(dim=0, correction=0), torch.ones(4), atol=1e-5, rtol=0)


def test_statistics_are_precise_for_features_far_from_zero():
    # In float32 the squares of such values lose what they differ by.
    features = draw(400, 1) * 0.01 + 10_000
    standardise = Standardise(1)
    standardise.fit([features])
    expected = features.double().std(dim=0, correction=0).float()
    torch.testing.assert_close(standardise.std, expected)


def test_statistics_of_many_features_are_those_of_each():
    # More features than are computed at once.
    features = draw(6, 1100)
    standardise = Standardise(1100)
    standardise.fit([features])
    torch.testing.assert_close(standardise.mean, features.mean(dim=0))
    torch.testing.assert_close(standardise.std, features.std(dim=0, correction=0))


def test_a_constant_feature_stays_finite_and_unscaled():
    features = torch.cat([torch.full((10, 1), 7.0), draw(10, 1)], dim=1)
    standardise = Standardise(2)
    standardise.fit([features])
    assert standardise(features)[:, 0].tolist() == [0.0] * 10
    assert standardise(torch.tensor([[9.0, 0.0]]))[0, 0] == 2.0


def test_statistics_of_a_single_image_give_finite_features():
    standardise = Standardise(3)
    standardise.fit([draw(1, 3)])
    assert standardise(draw(4, 3, seed=1)).isfinite().all()


def test_unfitted_standardise_changes_nothing_and_is_marked_so():
    standardise, features = Standardise(3), draw(5, 3)
    assert not standardise.fitted
    assert torch.equal(standardise(features), features)
    standardise.fit([features])
    assert standardise.fitted


def test_statistics_are_in_the_state_dict_and_are_not_trained():
    standardise = Standardise(3)
    standardise.fit([draw(5, 3)])
    copy = Standardise(3)
    copy.load_state_dict(standardise.state_dict())
    assert copy.fitted
    assert torch.equal(copy(draw(2, 3)), standardise(draw(2, 3)))
    assert list(standardise.parameters()) == []


# ---- heads


@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_one_logit_per_class(name):
    assert build_head(name, in_features=6, num_classes=10)(draw(4, 6)).shape == (4, 10)


def test_a_linear_head_is_one_linear_layer():
    head = build_head("linear", 6, 10)
    assert isinstance(head, LinearHead)
    assert sorted(tuple(p.shape) for p in head.parameters()) == [(10,), (10, 6)]


def test_an_mlp_head_has_the_hidden_units_asked_for():
    head = build_head("mlp", 6, 10, hidden=7)
    assert isinstance(head, MLPHead)
    assert [tuple(p.shape) for p in head.parameters()] == [(7, 6), (7,), (10, 7), (10,)]


def test_an_mlp_head_has_128_hidden_units_by_default():
    assert build_head("mlp", 6, 10)[0].out_features == 128


@pytest.mark.parametrize("name", HEADS)
def test_dropout_acts_in_training_only(name):
    head, features = build_head(name, 64, 10, dropout=0.5), draw(3, 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        assert not torch.equal(head.train()(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


def test_a_new_head_is_one_entry(monkeypatch):
    monkeypatch.setitem(HEADS, "cosine", torch.nn.Bilinear)
    assert isinstance(build_head("cosine", 6, 10, out_features=3), torch.nn.Bilinear)


@pytest.mark.parametrize("name", ["Linear", "", "torch.nn.Linear", "resnet50", None, 3, ["mlp"]])
def test_build_head_rejects_an_unknown_name_and_lists_those_there_are(name):
    with pytest.raises(ArgumentError) as caught:
        build_head(name, 6, 10)
    assert str(caught.value) == f"head.name must be one of linear, mlp, got {name!r}"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear", {"hidden": 5}),
        ("linear", {"_target_": "os.getcwd"}),
        ("linear", {"dropout": 1.5}),
        ("linear", {"dropout": -0.1}),
        ("linear", {"dropout": "much"}),
        ("mlp", {"hidden": -1}),
        ("mlp", {"hidden": "wide"}),
        ("mlp", {"hidden": 2.5}),
        ("mlp", {"units": 5}),
    ],
)
def test_build_head_rejects_an_impossible_option(name, options):
    with pytest.raises(ArgumentError, match=rf"^head {name} cannot be built: ") as caught:
        build_head(name, 6, 10, **options)
    assert "\n" not in str(caught.value)


def test_standardise_refuses_one_tensor_whose_rows_would_be_batches():
    with pytest.raises(TypeError, match=r"give \[features\]"):
        Standardise(3).fit(torch.ones(4, 3))
