"""The recipes of the table of results, and what its figure shows of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fashion_transfer.benchmarks.candidates import BASELINES
from fashion_transfer.reporting import CostPoint


class Recipe(NamedTuple):
    """A row of the table.

    Attributes:
        title: what people read.
        overrides: of `train.py`.
        seeds: their number, from 0 on.
        resnet: whether it takes the weights that the command is given.
        baseline: its name in `candidates.BASELINES`; empty: `train.py` runs the recipe.
    """

    title: str
    overrides: tuple[str, ...] = ()
    seeds: int = 3
    resnet: bool = True
    baseline: str = ""

    @property
    def program(self) -> tuple[str, ...]:
        """Arguments of Python before the overrides."""
        if self.baseline:
            return ("-m", "fashion_transfer.benchmarks.baselines", self.baseline)
        return ("train.py",)


SINGLE = ("data.synthetic=null",)
PLAIN = (*SINGLE, "model/head=linear", "model.mixup=0")

RANDOM_UP_TO = 50
"""Images per class up to which the subset is drawn by the seed: there it matters which they are."""

FEW = (100, 50, 10, 5, 1)
"""Images per class of the learning curves, beside the default's."""


def _few(count: int, baseline: str = "") -> Recipe:
    """The recipe of a number of images per class: of the default, or of a baseline."""
    title = f"{count} image{'s' * (count > 1)} per class"
    overrides: tuple[str, ...] = (f"data.images_per_class={count}",)
    seeds = 1 if baseline else 3
    if count <= RANDOM_UP_TO:
        overrides, seeds = (*overrides, "data.selection=random"), 5
    if baseline:
        title = f"{BASELINES[baseline].title}, {title}"
    pixels = bool(baseline) and BASELINES[baseline].pixels
    return Recipe(title, overrides, seeds, resnet=not pixels, baseline=baseline)


RECIPES: dict[str, Recipe] = {
    "default": Recipe("default"),
    "best": Recipe("experiment=best (112 px)", ("experiment=best",)),
    "single": Recipe("trained on single items alone", SINGLE),
    "plain": Recipe("the same, linear head, no mixup", PLAIN),
    "linear": Recipe("linear head", ("model/head=linear",)),
    "mlp": Recipe("512-unit head", ("model.head.hidden=512",)),
    "no_mixup": Recipe("no mixup", ("model.mixup=0",)),
    "last_stage": Recipe("last stage only", ("model.backbone.pool=[layer4]",)),
    "with_last": Recipe("last stage, too", ("model.backbone.pool=[layer2@2,layer3@2,layer4]",)),
    "whole_stages": Recipe("stages without a grid", ("model.backbone.pool=[layer2,layer3]",)),
    "finer": Recipe("4 x 4 grids", ("model.backbone.pool=[layer2@4,layer3@4]",)),
    **{f"few_{count}": _few(count) for count in FEW},
    "fast": Recipe("experiment=fast (64 px)", ("experiment=fast",)),
    "offline": Recipe("experiment=offline", ("experiment=offline",), resnet=False),
    # A seed changes nothing here: the same images, and no draws.
    **{
        name: Recipe(baseline.title, (), 1, resnet=not baseline.pixels, baseline=name)
        for name, baseline in BASELINES.items()
    },
    **{f"{name}_{count}": _few(count, name) for name in BASELINES for count in FEW},
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

DEFAULT_IMAGES_PER_CLASS = 500

CURVES: dict[str, dict[int, str]] = {
    "default": {
        **{count: f"few_{count}" for count in reversed(FEW)},
        DEFAULT_IMAGES_PER_CLASS: "default",
        5900: "full",
    },
} | {
    name: {**{count: f"{name}_{count}" for count in reversed(FEW)}, DEFAULT_IMAGES_PER_CLASS: name}
    for name in ("logistic", "knn", "hog_svm")
}
"""Recipes of the learning curves by training images per class, for each recipe with a curve."""

AT_224 = {"last_stage": "last stage", "whole_stages": "two stages", "default": "grids"}
"""Recipes of one view at 224 px, with their series in the plot of accuracy over cost."""

PASSES = {1: 20_900, 2: 25_900}
"""Images that a run computes, by number of views: training images, 4,900 synthetic ones, 1,000 of
validation and 10,000 of test."""

README_ROWS = (
    "default",
    "best",
    "fast",
    "offline",
    "few_10",
    "full",
    "finetune",
    "notebook",
    "logistic",
    "hog_svm",
)
"""Recipes of the short table."""

Row = Mapping[str, Any]


def is_cost_recipe(name: str) -> bool:
    """Whether a recipe is in the plot of accuracy over cost alone."""
    return name.startswith("cost_")


def is_curve_recipe(name: str) -> bool:
    """Whether a recipe is in the table and the figure of the learning curves alone."""
    return name in RECIPES and RECIPES[name].baseline not in ("", name)


def learning_curves(rows: Sequence[Row]) -> dict[str, dict[int, Row]]:
    """Returns the rows of each learning curve by number of training images per class.

    Curves are named by the title of the recipe that they are of; those of one point are left out.
    """
    by_name = {row["name"]: row for row in rows}
    curves = {
        name: {count: by_name[recipe] for count, recipe in points.items() if recipe in by_name}
        for name, points in CURVES.items()
    }
    return {RECIPES[name].title: curve for name, curve in curves.items() if len(curve) > 1}


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
