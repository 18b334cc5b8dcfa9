"""Features of images, each computed once: where backbone and store meet."""

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from fashion_transfer import ranks
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.backbone import Backbone
from fashion_transfer.features.prefetch import Inputs, Part, Prefetcher
from fashion_transfer.features.store import FeatureStore, kernel_dir
from fashion_transfer.features.table import ANOTHER_FOLDER, FeatureTable
from fashion_transfer.progress import ProgressBar, progress_bar

log = logging.getLogger(__name__)

PASSES_PER_WRITE = 8
"""Passes between two writes: what a killed run loses at most."""

MAX_BYTES = 10e9
"""What one run may add on disk: maps of large images are large."""

ALL_NODES_BYTES = 4e9
"""What a run may add on disk for all nodes that a pass gives; over it, only those it needs."""

FEWER = "use fewer images or views, or a smaller image size"


T = TypeVar("T")

Request = tuple[Mapping[str, Any], int | None, np.ndarray, Inputs, str]
"""The arguments of a call of an extractor."""


class Extractor:
    """Gives features of images: from the store where they are cached, else from the backbone.

    Of several ranks, each computes its part of what is missing, and waits for the others.

    Args:
        backbone: the classifier's own, so that nothing is built twice.
        store: where features are cached.
        device: where the backbone computes.

    Attributes:
        computed: images that had to go through the backbone so far, in this process.
        announced: bytes on disk that their features need.
        all_nodes: whether nodes that a pass gives are stored that this run does not need: another
            one may, and they cost nothing but space.
    """

    def __init__(
        self, backbone: Backbone, store: FeatureStore, device: torch.device | str = "cpu"
    ) -> None:
        self.backbone = backbone
        self.store = store
        self.device = torch.device(device)
        self.computed = 0
        self.announced = 0
        self.all_nodes = True
        self._progress: ProgressBar | None = None
        self._wanted = 0  # images of all requests
        self._prefetcher: Prefetcher | None = None
        self._planned: dict[int, FeatureTable] = {}  # by the identity of the key
        backbone.use_packages(store)
        backbone.engine.auto = None  # of this run: another one may have had the backbone
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
            key: all that determines the images that reach the backbone, JSON types only; their
                height and width in pixels is its `image_size`.
            source_size: how many images the source has; None: they are content-addressed.
            rows: which of them are wanted, int64; the keys of content-addressed images.
            inputs: gives the images of some rows, on a device.
            title: what to call the images on the progress bar.

        Raises:
            FashionTransferError: the features cannot be written, are too many, or are not finite.
        """
        image_size = key["image_size"]
        table = self._planned.get(id(key)) or self._table(key, source_size)
        missing = self._missing(table, rows)
        # All ranks compile, or none: compiled features are entries of their own.
        if len(missing) and not all(ranks.gather(self._compiles(image_size, missing, inputs))):
            self.backbone.engine.compile = False
            table = self._table(key, source_size)
            missing = self._missing(table, rows)
        if len(missing):
            with nullcontext() if ranks.rank() else self.store.lock(table.folder):
                # Again: another run may have filled them while this one waited.
                missing = self._missing(table, rows)
                if len(missing) and not ranks.rank():
                    self._announce(table, missing, title)
                ranks.barrier()
                part = np.array_split(missing, ranks.world_size())[ranks.rank()]
                self._fill(table, part, inputs, image_size, title)
                ranks.barrier()
        if ranks.world_size() > 1 and len(table.absent(rows)):
            raise FashionTransferError(
                f"{self.store.directory} lacks what another process has computed: all machines "
                "need the same cache folder, on a disk that they share"
            )
        return table

    @contextmanager
    def plan(self, requests: Iterable[Request]) -> Iterator[None]:
        """Makes the calls within it share a progress bar; checks before that there is room.

        Args:
            requests: the calls to come.

        Raises:
            FashionTransferError: what is missing has no room on the disk, or is too much.
        """
        requests, absent, parts = list(requests), [], []
        self._decide_compiling(requests)
        if not ranks.rank():
            for key, source_size, rows, inputs, _ in requests:
                table = self._planned[id(key)] = self._table(key, source_size)
                absent.append((table, table.absent(rows)))
                parts.append(Part(inputs, absent[-1][1]))
            self.all_nodes &= self.announced + self._size(absent) <= ALL_NODES_BYTES
            _check_room(self._size(absent), self.announced, self.store.directory)
        images = sum(len(rows) for _, rows in absent)
        self.all_nodes = ranks.broadcast(self.all_nodes)
        with progress_bar("features", -(-images // ranks.world_size())) as progress:
            self._progress = progress
            try:
                planned = parts if ranks.world_size() == 1 else ()
                with Prefetcher(self.device, planned) as self._prefetcher:
                    yield
            finally:
                self._progress = self._prefetcher = None
                self._planned.clear()
            # Another run may have computed some meanwhile, and what is damaged is found late.
            progress.advance(progress.total - progress.done)

    def _decide_compiling(self, requests: Sequence[Request]) -> None:
        """Decides whether compiling pays, once it does, for all images of this extractor.

        By how many are wanted, not by how many are missing: a few new ones belong into the table
        of the many that were compiled.
        """
        engine = self.backbone.engine
        requests = [request for request in requests if len(request[2])]
        self._wanted += sum(len(rows) for _, _, rows, _, _ in requests)
        if engine.auto or not requests:
            return
        key, _, rows, inputs, _ = requests[0]
        self.backbone.to_device(self.device)
        channels = inputs(rows[:1], self.device).shape[1]
        engine.auto = ranks.broadcast(engine.pays(key["image_size"], channels, self._wanted))

    def _table(self, key: Mapping[str, Any], source_size: int | None) -> FeatureTable:
        """The table of a source under a view."""
        precision, image_size = self.backbone.to_device(self.device), key["image_size"]
        # Each node is a file of its own, and a renamed file of weights is the same weights.
        excluded = ("pool", "unfreeze", "weights")
        identity = {k: v for k, v in self.backbone.identity.items() if k not in excluded}
        full_key = {
            "images": dict(key),
            "backbone": identity,
            "precision": precision,
            "compiled": self.backbone.compiles(image_size),
            "pass": self.backbone.pass_size(image_size),
            "device": self.device.type,
            "versions": {"torch": torch.__version__, **self.backbone.versions},
        }
        widths = self.backbone.cached_widths(image_size)
        return self.store.open(full_key, widths, source_size)

    def _compiles(self, image_size: int, rows: np.ndarray, inputs: Inputs) -> bool:
        """Whether what is to be compiled can be."""
        engine = self.backbone.engine
        if not engine.compiles(image_size):
            return True
        return engine.try_compiling(image_size, inputs(rows[:1], self.device).shape[1])

    def _missing(self, table: FeatureTable, rows: np.ndarray) -> np.ndarray:
        """The missing rows, as rank 0 finds them: to check all of them takes a while."""
        return ranks.broadcast(rows if ranks.rank() else table.missing(rows))

    def _fill(
        self, table: FeatureTable, rows: np.ndarray, inputs: Inputs, image_size: int, title: str
    ) -> None:
        size = self.backbone.pass_size(image_size)
        parts = [Part(inputs, p) for p in np.split(rows, range(size, len(rows), size)) if len(p)]
        with (
            _shared(self._progress) or progress_bar(title, len(rows)) as progress,
            _shared(self._prefetcher) or Prefetcher(self.device) as prefetcher,
        ):
            progress.rename(title)
            following = iter([*parts[1:], prefetcher.planned_after(inputs, size)])
            for start in range(0, len(parts), PASSES_PER_WRITE):
                block = parts[start : start + PASSES_PER_WRITE]
                passes: list[dict[str, Tensor]] = []
                for part in block:
                    passes.append(self.backbone.extract(prefetcher.images(part, next(following))))
                    progress.advance(len(part.rows))
                names = self._stored(table)
                features = {n: torch.cat([nodes[n] for nodes in passes]) for n in names}
                _check_finite(features)
                written = np.concatenate([part.rows for part in block])
                table.write(written, features)
                self.computed += len(written)

    def _announce(self, table: FeatureTable, rows: np.ndarray, title: str) -> None:
        size = self._size([(table, rows)])
        _check_room(size, self.announced, self.store.directory)
        self.announced += size
        log.info("computing the features of %d %s (%.0f MB on disk)", len(rows), title, size / 1e6)
        if ranks.world_size() > 1:
            table.reserve(rows, self._stored(table))

    def _size(self, absent: Iterable[tuple[FeatureTable, np.ndarray]]) -> int:
        """Bytes on disk of what some tables lack: float16, and a checksum of 4 bytes."""
        stored = [(len(rows), self._stored(table).values()) for table, rows in absent]
        return sum(count * (2 * width + 4) for count, widths in stored for width in widths)

    def _stored(self, table: FeatureTable) -> dict[str, int]:
        """Width of each node that is stored."""
        return (self.backbone.node_widths if self.all_nodes else {}) | table.widths


def _shared(value: T | None) -> AbstractContextManager[T] | None:
    """A context with what a plan's calls share, which stays open; None outside of a plan."""
    return None if value is None else nullcontext(value)


def _check_room(size: int, announced: int, folder: Path) -> None:
    """Checks that so many more bytes, beside those announced, can be stored in a folder."""
    total = announced + size
    if total > MAX_BYTES:
        raise FashionTransferError(
            f"this run would store {total / 1e9:.1f} GB of features, over the limit of "
            f"{MAX_BYTES / 1e9:.0f} GB: {FEWER}"
        )
    free = _free_space(folder)
    if size > free:
        raise FashionTransferError(
            f"the features need {size / 1e9:.1f} GB in {folder}, where "
            f"{free / 1e9:.1f} GB are free: {FEWER}, or {ANOTHER_FOLDER} (`make cache` lists "
            "what is cached)"
        )


def _free_space(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _check_finite(features: Mapping[str, Tensor]) -> None:
    for node, values in features.items():
        if not values.to(torch.float16).isfinite().all():
            raise FashionTransferError(
                f"the backbone's {node} gives values that are not finite or over 65,504: use the "
                "precision float32, or check the weights"
            )
