"""Features of images, each computed once: where backbone and store meet."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.backbone import Backbone
from fashion_transfer.features.store import FeatureStore, FeatureTable, kernel_dir
from fashion_transfer.progress import progress_bar

log = logging.getLogger(__name__)

Inputs = Callable[[np.ndarray, torch.device], Tensor]
"""Rows of a source and a device in; images (B, C, S, S) in [0, 1] on that device out."""

PASSES_PER_WRITE = 8
"""Passes between two writes: what a killed run loses at most."""

MAX_BYTES = 10e9
"""What one run may add on disk: maps of large images are large."""


class Extractor:
    """Gives features of images: from the store where they are cached, else from the backbone.

    Args:
        backbone: the classifier's own, so that nothing is built twice.
        store: where features are cached.
        device: where the backbone computes.

    Attributes:
        computed: images that had to go through the backbone so far.
        announced: bytes on disk that their features need.
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
        source_size: int | None,
        rows: np.ndarray,
        inputs: Inputs,
        title: str = "images",
    ) -> FeatureTable:
        """Returns a table with the features of images, computing those that are missing.

        Args:
            key: all that determines the images that reach the backbone, JSON types only.
            source_size: how many images the source has; None: they are content-addressed.
            rows: which of them are wanted, int64; the keys of content-addressed images.
            inputs: gives the images of some rows, on a device.
            title: what to call the images on the progress bar.

        Raises:
            FashionTransferError: the features cannot be written, are too many, or are not finite.
        """
        engine = self.backbone.engine
        engine.to_device(self.device)
        image_size = inputs(rows[:1], self.device).shape[-1]
        table = self._table(key, source_size, image_size)
        missing = table.missing(rows)
        if len(missing) and engine.compiles(image_size) and not engine.try_compiling(image_size):
            table = self._table(key, source_size, image_size)
            missing = table.missing(rows)
        if len(missing):
            with self.store.lock(table.folder):
                # Again: another run may have filled them while this one waited.
                self._fill(table, table.missing(rows), inputs, image_size, title)
        return table

    def _table(
        self, key: Mapping[str, Any], source_size: int | None, image_size: int
    ) -> FeatureTable:
        # Each node is a file of its own, and a renamed file of weights is the same weights.
        excluded = ("pool", "unfreeze_last", "weights")
        identity = {k: v for k, v in self.backbone.identity.items() if k not in excluded}
        folder = self.store.folder(
            {
                "images": dict(key),
                "backbone": identity,
                "precision": self.backbone.to_device(self.device),
                "compiled": self.backbone.compiles(image_size),
                "pass": self.backbone.pass_size(image_size),
                "device": self.device.type,
                "versions": {"torch": torch.__version__, **self.backbone.versions},
            }
        )
        return FeatureTable(folder, self.backbone.cached_widths(image_size), source_size)

    def _fill(
        self, table: FeatureTable, rows: np.ndarray, inputs: Inputs, image_size: int, title: str
    ) -> None:
        if not len(rows):
            return
        self._announce(table, len(rows), title)
        size = self.backbone.pass_size(image_size)
        with progress_bar(title, len(rows)) as progress:
            for block in _split(rows, size * PASSES_PER_WRITE):
                passes: list[dict[str, Tensor]] = []
                for part in _split(block, size):
                    passes.append(self.backbone.extract(inputs(part, self.device)))
                    progress.advance(len(part))
                features = {n: torch.cat([nodes[n] for nodes in passes]) for n in passes[0]}
                _check_finite(features)
                table.write(block, features)
                self.computed += len(block)

    def _announce(self, table: FeatureTable, count: int, title: str) -> None:
        size = 2 * count * sum(table.widths.values())  # float16
        self.announced += size
        if self.announced > MAX_BYTES:
            raise FashionTransferError(
                f"this run would store {self.announced / 1e9:.1f} GB of features, over the limit "
                f"of {MAX_BYTES / 1e9:.0f} GB: use fewer images or views, or a smaller image size"
            )
        log.info("computing the features of %d %s (%.0f MB on disk)", count, title, size / 1e6)


def _split(rows: np.ndarray, size: int) -> list[np.ndarray]:
    return np.split(rows, range(size, len(rows), size))


def _check_finite(features: Mapping[str, Tensor]) -> None:
    for node, values in features.items():
        if not values.to(torch.float16).isfinite().all():
            raise FashionTransferError(
                f"the backbone's {node} gives values that are not finite or over 65,504: use the "
                "precision float32, or check the weights"
            )
