"""The recipes of the table of results, and what its figure shows of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fashion_transfer.reporting import CostPoint


class Recipe(NamedTuple):
    """A row of the table.

    Attributes:
        title: what people read.
        overrides: of `train.py`.
        seeds: their number, from 0 on.
        resnet: whether it takes the weights that the command is given.
    """

    title: str
    overrides: tuple[str, ...] = ()
    seeds: int = 3
    resnet: bool = True


SINGLE = ("data.synthetic=null",)
PLAIN = (*SINGLE, "model/head=linear", "model.mixup=0")

RECIPES: dict[str, Recipe] = {
    "default": Recipe("default"),
    "single": Recipe("trained on single items alone", SINGLE),
    "plain": Recipe("the same, linear head, no mixup", PLAIN),
    "linear": Recipe("linear head", ("model/head=linear",)),
    "mlp": Recipe("512-unit head", ("model.head.hidden=512",)),
    "no_mixup": Recipe("no mixup", ("model.mixup=0",)),
    "last_stage": Recipe("last stage only", ("model.backbone.pool=[layer4]",)),
    "with_last": Recipe("last stage, too", ("model.backbone.pool=[layer2@2,layer3@2,layer4]",)),
    "whole_stages": Recipe("stages without a grid", ("model.backbone.pool=[layer2,layer3]",)),
    "finer": Recipe("4 x 4 grids", ("model.backbone.pool=[layer2@4,layer3@4]",)),
    "few_100": Recipe("100 images per class", ("data.images_per_class=100",)),
    "few_50": Recipe("50 images per class", ("data.images_per_class=50",)),
    "few_10": Recipe("10 images per class", ("data.images_per_class=10",)),
    "fast": Recipe("experiment=fast (64 px)", ("experiment=fast",)),
    "offline": Recipe("experiment=offline", ("experiment=offline",), resnet=False),
}
"""Frozen, on cached features: minutes."""

POOLS = {
    "last stage": "[layer4]",
    "two stages": "[layer2,layer3]",
    "grids": "[layer2@2,layer3@2]",
}
"""Series of the plot of accuracy over cost."""

SLOW: dict[str, Recipe] = {
    "finetune": Recipe("experiment=finetune (64 px)", ("experiment=finetune",)),
    "full": Recipe("5,900 images per class", ("experiment=full",)),
    "notebook": Recipe("experiment=notebook, the reference", ("experiment=notebook",), seeds=1),
} | {
    f"cost_{size}_{series}_{views}": Recipe(
        f"{size} px, {series}, {views} view{'s' * (views > 1)}",
        (f"data.image_size={size}", f"model.backbone.pool={pool}", f"data.views={views}"),
        seeds=1,
    )
    for size in (32, 64, 112)
    for series, pool in POOLS.items()
    for views in (1, 2)
}
"""What takes long, or fills the plot of accuracy over cost."""

IMAGES_PER_CLASS = {"few_10": 10, "few_50": 50, "few_100": 100, "default": 500, "full": 5900}
"""Recipes of the learning curve."""

AT_224 = {"last_stage": "last stage", "whole_stages": "two stages", "default": "grids"}
"""Recipes of one view at 224 px, with their series in the plot of accuracy over cost."""

PASSES = {1: 20_900, 2: 25_900}
"""Images that a run computes, by number of views: training images, 4,900 synthetic ones, 1,000 of
validation and 10,000 of test."""

README_ROWS = ("default", "fast", "offline", "few_100", "few_10", "full", "finetune", "notebook")
"""Recipes of the short table."""

Row = Mapping[str, Any]


def is_cost_recipe(name: str) -> bool:
    """Whether a recipe is in the plot of accuracy over cost alone."""
    return name.startswith("cost_")


def learning_curve(rows: Sequence[Row]) -> dict[int, Row]:
    """Returns the rows of the learning curve by number of training images per class."""
    curve = {IMAGES_PER_CLASS[r["name"]]: r for r in rows if r["name"] in IMAGES_PER_CLASS}
    return curve if len(curve) > 1 else {}


def cost_points(rows: Sequence[Row]) -> list[CostPoint]:
    """Returns the points of accuracy over cost; none unless its own recipes were run."""
    points = []
    for row in rows:
        if is_cost_recipe(row["name"]):
            _, size, series, views = row["name"].split("_")
            cost = PASSES[int(views)] * (int(size) / 224) ** 2
            points.append(CostPoint(series, cost, row))
    if not points:
        return []
    at_224 = [CostPoint(AT_224[r["name"]], PASSES[1], r) for r in rows if r["name"] in AT_224]
    return [*points, *at_224]
