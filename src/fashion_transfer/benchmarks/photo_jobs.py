"""What runs on photos cost: their passes, a warm run beside the default's, and a small folder."""

import statistics
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import Tensor

from fashion_transfer.benchmarks.jobs import JobTimer
from fashion_transfer.benchmarks.rows import Row, bench_row
from fashion_transfer.data import ClassificationDataModule
from fashion_transfer.files import default_cache_dir
from fashion_transfer.paths import quoted

REFERENCE_SIZE = 224
"""Image size, in pixels, of the passes that are counted."""

EXAMPLE = "docs/examples/wardrobe"
"""36 photos in three classes."""


def photo_rows(overrides: list[str], scratch: Path, photos: str, repeats: int) -> list[Row]:
    """Passes of `data=clothing`, its warm run beside the default's, and a folder of 36 photos.

    Args:
        overrides: of the runs on ResNet50, its weights among them.
        scratch: an empty folder for runs and for the store of the small folder.
        photos: folder of the clothing photos.
        repeats: of the warm runs, which use the user's own cached features.
    """
    clothing = ["data=clothing", f"data.dir={quoted(photos)}"]
    passes = count_passes(clothing)
    timer, store = JobTimer(scratch, overrides), str(default_cache_dir().resolve())
    seconds: dict[str, list[float]] = {"default": [], "clothing": []}
    for repeat in range(repeats + 1):
        for name, arguments in (("default", []), ("clothing", clothing)):
            taken, _, _ = timer.train(store, *arguments)
            if repeat:  # the first one fills the store where it has to
                seconds[name].append(taken)
    default, of_clothing = (statistics.median(taken) for taken in seconds.values())
    small = ["data=folder", f"data.dir={EXAMPLE}", "experiment=offline"]
    wall, _, _ = JobTimer(scratch, []).train("small", *small)
    title = f"data=clothing, cold: images at {REFERENCE_SIZE} px through the backbone"
    return [
        bench_row("photos_passes", title, passes, "passes"),
        bench_row("photos_default", "default job, warm", default, "s"),
        bench_row(
            "photos_warm",
            "data=clothing, warm; ratio to the default job",
            of_clothing,
            "s",
            ratio=of_clothing / default,
        ),
        bench_row("photos_small", "36 photos in 3 classes, experiment=offline, cold", wall, "s"),
    ]


def count_passes(overrides: list[str]) -> float:
    """Returns how many images of `REFERENCE_SIZE` a cold `train.py` sends through the backbone.

    An image of another size counts by its pixels.

    Args:
        overrides: of `train.py`.
    """
    with initialize_config_dir(str(Path("conf").resolve()), version_base=None):
        cfg = compose("train", overrides)
    datamodule: ClassificationDataModule = instantiate(cfg.data)
    counter = _Counter()
    datamodule.extractor = counter
    datamodule.prepare_data()
    datamodule.setup()
    return counter.images * (datamodule.image_size / REFERENCE_SIZE) ** 2


class _Counter:
    """An extractor that counts images, each once per view, and computes nothing."""

    batch_field = "features"
    width = 0

    def __init__(self) -> None:
        self.images = 0

    def plan(self, requests: object) -> AbstractContextManager[None]:
        """Nothing is stored, so there is room."""
        return nullcontext()

    def __call__(
        self,
        key: Mapping[str, Any],
        source_size: int | None,
        rows: np.ndarray,
        inputs: Callable[[np.ndarray, torch.device], Tensor],
        title: str = "images",
    ) -> "_Counter":
        self.images += len(np.unique(rows))
        return self

    def gather(self, rows: np.ndarray, out: Tensor | None = None) -> Tensor:
        """Nothing is computed, so there is nothing to gather."""
        raise NotImplementedError
