"""Warnings, trainer, callbacks, loggers, folders; and the configuration of each command.

A new command is a new class here, with its line in `CONFIGS`. Imports no torch.
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from fashion_transfer.commands.schema.base import OPTIONAL, Node, Target
from fashion_transfer.commands.schema.nodes import (
    Data,
    ExportedModel,
    LoadedModel,
    Mode,
    Model,
    Rows,
)
from fashion_transfer.commands.schema.types import (
    Auto,
    Fraction,
    FromCheckpoint,
    Number,
    PathName,
    Positive,
    Seed,
    Whole,
)

Duration = Annotated[str, Field(pattern=r"^\d+:\d\d:\d\d:\d\d$"), "text as 00:01:30:00, D:HH:MM:SS"]
SomeBatches = Annotated[float, Field(gt=0, le=1)] | Positive
Metric = Literal["val/loss", "val/accuracy", "val/macro_accuracy"]
Watched = Literal["val/loss", "val/accuracy", "val/macro_accuracy", "train/loss", "train/accuracy"]
Batches = Annotated[float, Field(ge=0, le=1)] | Annotated[int, Field(ge=0)] | None
Precision = (
    Literal["32-true", "16-mixed", "bf16-mixed", "64-true", "32", "16", "bf16", 32, 16] | None
)
LowPrecision = Literal["bf16-true", "16-true"]  # refused, with why


# ---- warnings, trainer, callbacks, folders


class ThresholdTarget(Node):
    """`policy.threshold_target`."""

    selective_accuracy: Fraction | None
    warned: Fraction | None


class Policy(Node):
    """`policy` of training."""

    threshold: Fraction | Auto
    threshold_target: ThresholdTarget


class LoadedPolicy(Node):
    """`policy` of the commands that load a checkpoint."""

    threshold: Fraction | Auto | FromCheckpoint
    threshold_target: ThresholdTarget


class Profiler(Target):
    """`trainer.profiler`."""

    dirpath: PathName = OPTIONAL
    filename: str = OPTIONAL


class Trainer(Target):
    """`trainer`."""

    default_root_dir: PathName
    max_epochs: Positive | Literal[-1]
    min_epochs: Positive | None = OPTIONAL
    max_steps: Positive | Literal[-1] = OPTIONAL
    max_time: Duration | dict[str, Number] | None = OPTIONAL
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"]
    devices: Annotated[Positive | list[int] | str, "a whole number from 1, a list of them, or auto"]
    num_nodes: Positive = OPTIONAL
    strategy: Annotated[str | dict[str, Any], "a name such as ddp, or a node"] = OPTIONAL
    precision: Annotated[
        Precision | LowPrecision, "one of 32-true, bf16-mixed, 16-mixed, 64-true"
    ] = OPTIONAL
    deterministic: bool | Literal["warn"]
    benchmark: bool | None = OPTIONAL
    num_sanity_val_steps: Annotated[int, Field(ge=-1)]
    check_val_every_n_epoch: Positive
    val_check_interval: SomeBatches | Duration = OPTIONAL
    limit_train_batches: SomeBatches | None = OPTIONAL
    limit_val_batches: Batches
    limit_test_batches: Batches = OPTIONAL
    overfit_batches: Batches = OPTIONAL
    log_every_n_steps: Positive
    accumulate_grad_batches: Positive = OPTIONAL
    gradient_clip_val: Number | None = OPTIONAL
    gradient_clip_algorithm: Literal["norm", "value"] | None = OPTIONAL
    fast_dev_run: bool | Positive = OPTIONAL
    detect_anomaly: bool = OPTIONAL
    profiler: Profiler | Literal["simple", "advanced"] | None = OPTIONAL
    enable_progress_bar: bool
    enable_model_summary: bool
    use_distributed_sampler: bool = OPTIONAL
    sync_batchnorm: bool = OPTIONAL


class Callback(Target):
    """An entry of `callbacks`."""


class Checkpoint(Callback):
    """Saves checkpoints."""

    names = (
        "lightning.pytorch.callbacks.ModelCheckpoint",
        "fashion_transfer.commands.checkpoints.LastCheckpoint",
    )
    dirpath: PathName | None = OPTIONAL
    filename: str | None = OPTIONAL
    monitor: Watched | None = OPTIONAL
    mode: Mode = OPTIONAL
    save_top_k: Annotated[int, Field(ge=-1)] = OPTIONAL
    save_last: bool | Literal["link"] | None = OPTIONAL
    save_weights_only: bool = OPTIONAL
    every_n_train_steps: Whole | None = OPTIONAL
    every_n_epochs: Whole | None = OPTIONAL
    train_time_interval: Annotated[
        dict[str, Any] | None, "a node with _target_=datetime.timedelta"
    ] = OPTIONAL
    auto_insert_metric_name: bool = OPTIONAL
    enable_version_counter: bool = OPTIONAL


class EarlyStopping(Callback):
    """Ends training when a metric no longer gets better."""

    names = ("lightning.pytorch.callbacks.EarlyStopping",)
    monitor: Watched | None
    patience: Whole
    min_delta: Number = OPTIONAL
    mode: Mode
    verbose: bool = OPTIONAL


class Logger(Target):
    """An entry of `logger`."""


class TensorBoard(Logger):
    """The options that go on to torch's SummaryWriter are named nowhere else."""

    model_config = ConfigDict(extra="forbid")
    names = ("lightning.pytorch.loggers.TensorBoardLogger",)
    save_dir: PathName
    name: str | None = OPTIONAL
    version: str | int | None = OPTIONAL
    sub_dir: PathName | None = OPTIONAL
    prefix: str = OPTIONAL
    log_graph: bool = OPTIONAL
    default_hp_metric: bool = OPTIONAL
    comment: str = OPTIONAL
    purge_step: Whole | None = OPTIONAL
    max_queue: Positive = OPTIONAL
    flush_secs: Positive = OPTIONAL
    filename_suffix: str = OPTIONAL


class Monitor(Node):
    """`monitor`."""

    metric: Metric | None
    mode: Mode


class Sweep(Node):
    """`sweep`."""

    resume: bool = OPTIONAL


class Paths(Node):
    """`paths`."""

    data: PathName
    logs: PathName
    cache: PathName | None


# ---- the commands


class Train(Node):
    """train.py. What others are interpolated from comes first: the first error is reported."""

    seed: Seed
    store: bool
    test: bool
    ckpt_path: PathName | None
    monitor: Monitor
    sweep: Sweep | None = OPTIONAL
    paths: Paths
    data: Data
    model: Model
    policy: Policy
    trainer: Trainer
    callbacks: dict[str, Callback | None] | None = OPTIONAL
    logger: dict[str, Logger | None] | None = OPTIONAL


class Loaded(Node):
    """What evaluate.py, predict.py and app.py have in common."""

    ckpt_path: PathName | None
    device: str
    paths: Paths
    model: LoadedModel
    policy: LoadedPolicy


class Evaluate(Loaded):
    """evaluate.py."""

    store: bool
    images_per_set: Rows
    mnist: PathName | None = OPTIONAL
    data_checks: bool
    reference: PathName | None
    data: Data


class Predict(Loaded):
    """predict.py."""

    input: PathName | list[PathName] | None
    batch_size: Positive


class App(Loaded):
    """app.py."""

    host: str | int
    port: Annotated[int, Field(ge=0, le=65535)] | None
    max_pictures: Positive
    max_megabytes: Annotated[float, Field(gt=0)]
    flags: PathName | None


class Export(Node):
    """export.py."""

    ckpt_path: PathName | None
    output: PathName | None
    paths: Paths
    model: ExportedModel
    policy: LoadedPolicy


CONFIGS: dict[str, type[Node]] = {
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "app": App,
    "export": Export,
}
"""The model of each command's configuration, by the name of its file in `conf/`."""
