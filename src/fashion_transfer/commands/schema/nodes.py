"""What the keys of `data` and `model` may be: a model for each node, a field for each key.

A new key is a new field here, or in `configs`, which has all other nodes. The keys of a node with
a `_target_` go to that class or function: a field restricts the value, and a key that has no field
must be an argument of the target (see `targets`). Imports no torch.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from fashion_transfer.commands.schema.base import OPTIONAL, Node, Target
from fashion_transfer.commands.schema.types import (
    Auto,
    Fraction,
    Number,
    PathName,
    Positive,
    Seed,
    UnderOne,
    Whole,
)

MAX_ROWS = 100_000
"""As `synthetic.images.MAX_ROWS`, which needs torch to import."""

Mode = Literal["min", "max"]
Rows = Annotated[int, Field(ge=0, le=MAX_ROWS)]
Channels = Annotated[list[float], Field(min_length=3, max_length=3)]
Spreads = Annotated[
    list[Annotated[float, Field(gt=0)]], Field(min_length=3, max_length=3), "three numbers above 0"
]
Betas = Annotated[
    list[UnderOne], Field(min_length=2, max_length=2), "two numbers from 0 to under 1"
]

# ---- data


class Augmentation(Target):
    """`data.augmentation`."""

    rotation: Number = OPTIONAL
    shift: Number = OPTIONAL
    zoom: UnderOne = OPTIONAL
    shear: Number = OPTIONAL
    flip: Fraction = OPTIONAL


class Synthetic(Target):
    """`data.synthetic` of a data set of one's own."""


class Exposure(Synthetic):
    """That of Fashion-MNIST."""

    names = ("fashion_transfer.synthetic.Exposure",)
    composites: Rows
    controls: Rows
    images_per_class: Annotated[int, Field(ge=1, le=MAX_ROWS)]


class CollageExposure(Synthetic):
    """That of folders of photos."""

    names = ("fashion_transfer.synthetic.CollageExposure",)
    composites: Number
    controls: Number


class Data(Target):
    """`data` of any data set."""

    image_size: Annotated[int, Field(ge=32)] = OPTIONAL
    views: Positive | None = OPTIONAL
    view_seed: Seed = OPTIONAL
    seed: Seed = OPTIONAL
    batch_size: Positive = OPTIONAL
    min_epoch_size: Positive = OPTIONAL
    num_workers: Whole = OPTIONAL
    synthetic: Synthetic | None = OPTIONAL
    augmentation: Augmentation | None = OPTIONAL


class FashionMNIST(Data):
    """`data=fashion_mnist`."""

    names = ("fashion_transfer.data.FashionMNISTDataModule",)
    dir: PathName
    images_per_class: Positive | Literal["all"]
    selection: Literal["first", "random"]
    val_per_class: Whole
    check_md5: bool


class Photos(Data):
    """`data=folder` and `data=clothing`."""

    names = (
        "fashion_transfer.data.ImageFolderDataModule",
        "fashion_transfer.data.ClothingDataModule",
    )
    dir: PathName
    images_per_class: Positive | Literal["all"]
    strict: bool
    cache: PathName | None


# ---- model


class Backbone(Target):
    """`model.backbone` of training."""

    name: str
    weights: PathName | None
    pool: Annotated[list[str], Field(min_length=1), "a list such as [layer3,layer4]"] | None
    mean: Annotated[Channels, "three numbers"] | None
    std: Spreads | None
    unfreeze: str | None
    mirror: bool
    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"]
    compile: bool | Auto
    engine: Literal["auto", "torch", "openvino"]


class Head(Node):
    """`model.head`; other keys are options of the head of that name."""

    model_config = ConfigDict(extra="allow")
    name: str
    hidden: Positive = OPTIONAL
    dropout: Fraction = OPTIONAL


class Optimizer(Target):
    """`model.optimizer`, with the arguments that several of torch's have in common."""

    partial: Literal[True] = Field(alias="_partial_")
    lr: Number = OPTIONAL
    weight_decay: Number = OPTIONAL
    eps: Number = OPTIONAL
    betas: Betas = OPTIONAL
    momentum: UnderOne = OPTIONAL
    nesterov: bool = OPTIONAL
    max_iter: Positive = OPTIONAL
    history_size: Positive = OPTIONAL
    line_search_fn: Literal["strong_wolfe"] | None = OPTIONAL


class Scheduler(Target):
    """`model.scheduler`, likewise."""

    partial: Literal[True] = Field(alias="_partial_")
    pct_start: Fraction = OPTIONAL
    eta_min: Number = OPTIONAL
    factor: UnderOne = OPTIONAL
    patience: Whole = OPTIONAL
    mode: Mode = OPTIONAL


class Model(Node):
    """`model` of training."""

    backbone: Backbone
    head: Head
    standardise: bool
    label_smoothing: UnderOne
    mixup: Number
    class_weights: Literal["balanced"] | None
    second_opinion: bool
    trainable_stage_lr: Number | None
    optimizer: Optimizer
    scheduler: Scheduler | None = OPTIONAL


class ExportedBackbone(Node):
    """`model.backbone` of export.py."""

    weights: PathName | None


class LoadedBackbone(ExportedBackbone):
    """`model.backbone` of the other commands that load a checkpoint."""

    precision: Literal["auto", "float32", "bfloat16", "float16", "int8"]
    compile: bool | Auto
    engine: Literal["auto", "torch", "openvino", "from_checkpoint"]


class ExportedModel(Node):
    """`model` of export.py."""

    backbone: ExportedBackbone


class LoadedModel(Node):
    """`model` of the other commands that load a checkpoint."""

    backbone: LoadedBackbone
