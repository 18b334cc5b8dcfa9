"""The backbone as a package: compiled ahead of time, with its weights, and cached in the store.

torch.compile compiles a network with frozen weights anew in every process. A package is compiled
once, computes the same numbers, and is loaded in a fraction of a second, without a compiler.

This is the only module that knows AOTInductor, a prototype interface of torch.
"""

import hashlib
import json
import logging
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fashion_transfer.features.store import FeatureStore
from fashion_transfer.features.usage import KEY_FILE, mark_used

log = logging.getLogger(__name__)

FORMAT = 1
"""Of what is in a folder; another one is another key."""

CONTENT = "package"
"""The folder, in that of the key, which is there only if it is whole."""

CHECKSUM = "package.sha256"
"""Its file with the hash of all others."""

SCRATCH = ".build-"
"""How the folder begins in which a package is made."""


class Package:
    """A network, loaded from its package, for images of one shape.

    It keeps its folder in the store in use.

    Args:
        folder: of its key.

    Attributes:
        shape: of the images, (B, C, H, W).
        nodes: names of what it computes.

    Raises:
        ValueError: the package is damaged.
        OSError: it is not there.
        RuntimeError: it cannot be loaded here.
    """

    def __init__(self, folder: Path) -> None:
        mark_used(folder, self)
        key = json.loads((folder / KEY_FILE).read_text())
        self.shape = torch.Size(key["shape"])
        self.nodes = tuple(key["nodes"])
        content = folder / CONTENT
        if _hash(content) != (content / CHECKSUM).read_text():
            raise ValueError(f"the package in {folder} is damaged")
        # Not by way of torch._inductor, which takes a second to import. Of a folder, the library
        # is mapped into memory, by all processes together; a file would be unpacked every time.
        loader: Any = torch._C._aoti.AOTIModelPackageLoader
        self._loader = loader(str(content), "model", False, 1, -1)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Computes all nodes of one pass.

        Args:
            images: float32, of exactly `shape`, on the CPU.

        Returns:
            Each node by name: float32, (B, D).

        Raises:
            ValueError: they are others. The machine code checks nothing, and would read past them.
        """
        given = (images.shape, images.dtype, images.device.type)
        if given != (self.shape, torch.float32, "cpu"):
            raise ValueError(f"a package of {tuple(self.shape)} float32 cpu was given {given}")
        outputs = self._loader.run([images.detach().contiguous()])
        return dict(zip(self.nodes, outputs, strict=True))


class PackageCache:
    """The packages of one network in a store: one per precision and shape of images.

    Args:
        store: where they are, beside the features.
        network: all that determines what it computes, its nodes apart; JSON types.
        nodes: names of what it computes.
    """

    def __init__(
        self, store: FeatureStore, network: Mapping[str, Any], nodes: Sequence[str]
    ) -> None:
        self.store = store
        self.network = dict(network)
        self.nodes = tuple(nodes)

    def has(self, precision: str, shape: Sequence[int]) -> bool:
        """Whether there is a package."""
        return (self.store.path(self._key(precision, shape)) / CONTENT).is_dir()

    def open(self, precision: str, shape: Sequence[int]) -> Package | None:
        """Returns a package; None if there is none, or a damaged one.

        Raises:
            RuntimeError: it cannot be loaded here.
        """
        if not self.has(precision, shape):
            return None
        try:
            return Package(self.store.path(self._key(precision, shape)))
        except (OSError, ValueError) as error:
            log.warning("%s: it is built anew", error)
            return None

    def build(self, stages: nn.Module, precision: str, shape: Sequence[int]) -> Package:
        """Builds a package and opens it, or the one that another run has built meanwhile.

        Args:
            stages: images in, a dictionary of the nodes out; on the CPU, in the precision.
            precision: its name.
            shape: of the images.

        Raises:
            Exception: whatever the compiler raises.
        """
        folder = self.store.folder(self._key(precision, shape))
        with self.store.lock(folder, "builds this package"):
            if package := self.open(precision, shape):
                return package
            for leftover in folder.glob(f"{SCRATCH}*"):  # of a killed run
                shutil.rmtree(leftover)
            builder = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder)
            mark_used(folder, builder)  # or it could be removed meanwhile
            with builder as scratch:
                log.info("building the backbone's package (some 20 s, once for these weights)")
                content = Path(scratch) / CONTENT
                _compile(_InOrder(stages, self.nodes), torch.zeros(*shape), content)
                (content / CHECKSUM).write_text(_hash(content))
                if (damaged := folder / CONTENT).exists():
                    damaged.rename(Path(scratch) / "damaged")
                content.rename(folder / CONTENT)
            return Package(folder)

    def _key(self, precision: str, shape: Sequence[int]) -> dict[str, Any]:
        return {
            "package": FORMAT,
            "backbone": self.network,
            "nodes": list(self.nodes),
            "precision": precision,
            "shape": list(shape),
            "torch": torch.__version__,
            "processor": _processor(),
        }


class _InOrder(nn.Module):
    """Gives the nodes as a tuple: a package knows no names."""

    def __init__(self, stages: nn.Module, nodes: Sequence[str]) -> None:
        super().__init__()
        self.stages = stages
        self.nodes = tuple(nodes)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        nodes = self.stages(images)
        return tuple(nodes[name] for name in self.nodes)


@torch.no_grad()
def _compile(network: nn.Module, images: Tensor, content: Path) -> None:
    """Compiles a network for images of one shape into a new folder."""
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.utils import fresh_cache

    archive = content.with_suffix(".pt2")
    # As torch.compile does it in the engine, but for any number of threads.
    options = {"freezing": True, "cpp.dynamic_threads": True}
    with fresh_cache(dir=str(content.parent)):  # what it leaves is as large as the package
        program = torch.export.export(network, (images,))
        aoti_compile_and_package(program, package_path=str(archive), inductor_configs=options)
    with zipfile.ZipFile(archive) as file:
        file.extractall(archive.with_suffix(".files"))
    (unpacked,) = archive.with_suffix(".files").iterdir()  # all of it is in one folder
    unpacked.rename(content)


def _hash(folder: Path) -> str:
    """Returns the SHA-256 of all files in a folder, names and contents, less `CHECKSUM`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CHECKSUM:
            digest.update(str(path.relative_to(folder)).encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@cache
def _processor() -> str:
    """Returns what tells processors apart that do not run each other's machine code."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        flags = platform.processor()
    features = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {features}"
