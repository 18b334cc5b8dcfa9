"""Where backbone and store meet: features of images, computed once and never again."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.backbone import Backbone
from fashion_transfer.features.store import FeatureStore, FeatureTable, kernel_dir

log = logging.getLogger(__name__)

SAY_EVERY = 60.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

BLOCK = 8
"""Passes between two writes: what a killed run loses at most."""


MOST_BYTES = 10e9
"""On disk, that one run may add: maps of large images are large."""


class Extractor:
    """Gives the features of images, from the store where it has them, else from the backbone.

    Args:
        backbone: the classifier's own, so that nothing is built twice.
        store: where features are kept.
        device: where the backbone computes.

    Attributes:
        computed: images that had to go through the backbone so far.
        announced: bytes on disk of what they need.
    """

    def __init__(
        self, backbone: Backbone, store: FeatureStore, device: torch.device | str = "cpu"
    ) -> None:
        self.backbone = backbone
        self.store = store
        self.device = torch.device(device)
        self.computed = 0
        self.announced = 0
        # torch's default is a temporary folder. It may have put that here by now, and reads it
        # again when it compiles.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(kernel_dir(store))

    def __call__(
        self,
        key: Mapping[str, Any],
        rows: int,
        indices: np.ndarray,
        render: Callable[[np.ndarray, torch.device], Tensor],
        title: str = "images",
    ) -> FeatureTable:
        """Features of the images at `indices`, computing those that are missing.

        Args:
            key: all that determines the pixels that reach the backbone, JSON types only.
            rows: how many images the file has.
            indices: the images wanted, int64.
            render: gives images (B, C, S, S) in [0, 1] for some of the indices, on a device.
            title: what to call this work on the progress bar.

        Raises:
            FashionTransferError: the features cannot be written, or are not finite.
        """
        self.backbone.settle(self.device)
        size = render(indices[:1], self.device).shape[-1]
        table = self._table(key, rows, size)
        missing = table.missing(indices)
        if len(missing) and self.backbone.compiles(size) and not self.backbone.try_compiling(size):
            table = self._table(key, rows, size)
            missing = table.missing(indices)
        if len(missing):
            with self.store.lock(table.folder):
                # Again: another run may have filled them while this one waited.
                self._fill(table, table.missing(indices), render, size, title)
        return table

    def _table(self, key: Mapping[str, Any], rows: int, size: int) -> FeatureTable:
        # Each stage is a file of its own, and the fingerprint says more than the weights' name.
        apart = ("pool", "unfreeze_last", "weights")
        identity = {k: v for k, v in self.backbone.identity.items() if k not in apart}
        folder = self.store.folder(
            {
                "images": dict(key),
                "backbone": identity,
                "precision": self.backbone.settle(self.device),
                "compiled": self.backbone.compiles(size),
                "pass": self.backbone.pass_size(size),
                "device": self.device.type,
                "versions": {"torch": torch.__version__, **self.backbone.versions},
            }
        )
        return FeatureTable(folder, self.backbone.kept_widths(size), rows)

    def _fill(
        self,
        table: FeatureTable,
        missing: np.ndarray,
        render: Callable[[np.ndarray, torch.device], Tensor],
        size: int,
        title: str,
    ) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        if not len(missing):
            return
        size_on_disk = 2 * len(missing) * sum(table.stages.values())
        self.announced += size_on_disk
        if self.announced > MOST_BYTES:
            raise FashionTransferError(
                f"this run would keep {self.announced / 1e9:.1f} GB of features, over the limit of "
                f"{MOST_BYTES / 1e9:.0f} GB: use fewer images, views or pixels (data.image_size)"
            )
        log.info(
            "computing the features of %d %s (%.0f MB on disk)",
            len(missing),
            title,
            size_on_disk / 1e6,
        )
        with Progress(*columns) as progress:
            task = progress.add_task(title, total=len(missing))
            said = time.monotonic()
            width = self.backbone.pass_size(size)
            for block in np.split(missing, range(width * BLOCK, len(missing), width * BLOCK)):
                found: list[dict[str, Tensor]] = []
                for part in np.split(block, range(width, len(block), width)):
                    found.append(self.backbone.extract(render(part, self.device)))
                    progress.advance(task, len(part))
                features = {name: torch.cat([f[name] for f in found]) for name in found[0]}
                self._check(features)
                table.write(block, features)
                self.computed += len(block)
                if not progress.console.is_terminal and time.monotonic() - said > SAY_EVERY:
                    said = time.monotonic()  # a bar shows in no log file
                    left = (progress.tasks[task].time_remaining or 0) / 60
                    done = int(progress.tasks[task].completed)
                    log.info("%s: %d of %d, %.0f min left", title, done, len(missing), left)

    def _check(self, features: Mapping[str, Tensor]) -> None:
        for name, stage in features.items():
            if not stage.to(torch.float16).isfinite().all():
                raise FashionTransferError(
                    f"the backbone's {name} gives values that are not finite or over 65,504: try "
                    "model.backbone.precision=float32, or check the weights"
                )
