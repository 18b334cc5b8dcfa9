"""The recipes of the table: the configuration has what they override, and the figure shows them."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from fashion_transfer.benchmarks.recipes import (
    AT_224,
    CURVES,
    RANDOM_UP_TO,
    README_ROWS,
    RECIPES,
    SLOW,
    cost_points,
    is_curve_recipe,
    learning_curves,
)
from fashion_transfer.features import Backbone

ROOT = Path(__file__).resolve().parents[2]
ALL = RECIPES | SLOW


@pytest.fixture(scope="module")
def configs() -> dict[str, Any]:
    """The configuration of each recipe."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return {
            name: compose("train", [*recipe.overrides, "seed=0"])
            for name, recipe in ALL.items()
            if not name.startswith(("cost_64", "cost_112"))  # as cost_32 but for the number
        }


def test_recipe_gets_the_weights_if_its_backbone_takes_them(configs):
    for name, cfg in configs.items():
        takes = cfg.model.backbone.name == "resnet50" and ALL[name].baseline != "hog_svm"
        assert takes == ALL[name].resnet


def test_every_recipe_pools_nodes_that_exist(configs):
    backbones = [cfg.model.backbone for cfg in configs.values()]
    for pool in {tuple(b.pool) for b in backbones if b.name == "resnet50"}:
        assert Backbone("resnet18", None, pool, compile=False).pool == pool


def test_recipes_have_three_seeds_and_names_that_can_be_folders():
    assert len(ALL) == len(RECIPES) + len(SLOW)
    assert all(recipe.seeds >= 1 and "/" not in name for name, recipe in ALL.items())
    assert len({(*r.program, *r.overrides) for r in ALL.values()}) == len(ALL)


def test_few_images_are_drawn_by_five_seeds_and_the_others_have_three(configs):
    for name, recipe in RECIPES.items():
        data = configs[name].data
        few = data.images_per_class <= RANDOM_UP_TO
        assert (data.selection == "random") == few
        deterministic = bool(recipe.baseline) and not few
        assert recipe.seeds == (5 if few else 1 if deterministic else 3), name
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("train", [*RECIPES["few_1"].overrides, "seed=4"]).data.seed == 4


def test_every_recipe_of_the_figure_and_the_readme_exists():
    on_curves = {recipe for curve in CURVES.values() for recipe in curve.values()}
    assert {*CURVES, *on_curves, *AT_224, *README_ROWS} <= set(ALL)


def test_every_point_of_a_curve_has_the_images_of_its_recipe(configs):
    for curve in CURVES.values():
        for count, name in curve.items():
            images = configs[name].data.images_per_class
            assert count == (5900 if images == "all" else images)


def test_learning_curves_need_more_than_one_point():
    assert learning_curves([{"name": "default"}, {"name": "mlp"}, {"name": "knn_5"}]) == {}
    names = ("default", "few_10", "knn", "knn_1", "hog_svm")
    curves = learning_curves([{"name": name} for name in names])
    assert {title: {n: r["name"] for n, r in c.items()} for title, c in curves.items()} == {
        "default": {500: "default", 10: "few_10"},
        RECIPES["knn"].title: {500: "knn", 1: "knn_1"},
    }


def test_baselines_of_few_images_are_on_the_curves_alone():
    alone = {name for name in ALL if is_curve_recipe(name)}
    assert {"knn_1", "logistic_50", "hog_svm_100"} <= alone
    assert alone.isdisjoint({"knn", "few_1", "default", "cost_64_grids_1"})


def test_cost_grows_with_image_size_and_views():
    names = ["cost_64_grids_1", "cost_112_grids_1", "cost_64_grids_2", "default"]
    points = cost_points([{"name": name} for name in names])
    assert {point.series for point in points} == {"grids"}
    cost = {point.row["name"]: point.cost for point in points}
    assert cost["cost_64_grids_1"] < cost["cost_64_grids_2"] < cost["cost_112_grids_1"]
    assert cost["default"] == 20_900


def test_cost_has_no_points_of_the_quick_recipes_alone():
    assert cost_points([{"name": "default"}]) == []
