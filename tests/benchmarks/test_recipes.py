"""The recipes of the table: the configuration has what they override, and the figure shows them."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from fashion_transfer.benchmarks.recipes import (
    AT_224,
    IMAGES_PER_CLASS,
    README_ROWS,
    RECIPES,
    SLOW,
    cost_points,
    learning_curve,
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
        assert (cfg.model.backbone.name == "resnet50") == ALL[name].resnet


def test_every_recipe_pools_nodes_that_exist(configs):
    backbones = [cfg.model.backbone for cfg in configs.values()]
    for pool in {tuple(b.pool) for b in backbones if b.name == "resnet50"}:
        assert Backbone("resnet18", None, pool, compile=False).pool == pool


def test_recipes_have_three_seeds_and_names_that_can_be_folders():
    assert len(ALL) == len(RECIPES) + len(SLOW)
    assert all(recipe.seeds == 3 for recipe in RECIPES.values())
    assert all(recipe.seeds >= 1 and "/" not in name for name, recipe in ALL.items())
    assert len({recipe.overrides for recipe in ALL.values()}) == len(ALL)


def test_every_recipe_of_the_figure_and_the_readme_exists():
    assert {*IMAGES_PER_CLASS, *AT_224, *README_ROWS} <= set(ALL)


def test_learning_curve_needs_more_than_one_point():
    assert learning_curve([{"name": "default"}, {"name": "mlp"}]) == {}
    curve = learning_curve([{"name": "default"}, {"name": "few_10"}])
    assert {count: row["name"] for count, row in curve.items()} == {500: "default", 10: "few_10"}


def test_cost_grows_with_image_size_and_views():
    names = ["cost_64_grids_1", "cost_112_grids_1", "cost_64_grids_2", "default"]
    points = cost_points([{"name": name} for name in names])
    assert {point.series for point in points} == {"grids"}
    cost = {point.row["name"]: point.cost for point in points}
    assert cost["cost_64_grids_1"] < cost["cost_64_grids_2"] < cost["cost_112_grids_1"]
    assert cost["default"] == 20_900


def test_cost_has_no_points_of_the_quick_recipes_alone():
    assert cost_points([{"name": "default"}]) == []
