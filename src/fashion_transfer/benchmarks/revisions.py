"""Two revisions of this project side by side: a checkout of each, run in the same environment."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fashion_transfer.benchmarks.machine import QUIET, commit
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import quoted

WORKING_TREE = ""
"""The name of the revision that is the working tree, with what is not committed in it."""

RENAMED = {
    "train": {
        "data.synthetic.composites": "data.composites",
        "data.synthetic.controls": "data.controls",
        "model.trainable_stage_lr": "model.tail_lr",
        "policy.threshold_target": "model.auto",
        "policy.threshold": "model.threshold",
        "monitor.metric": "callbacks.best.monitor",
        "monitor.mode": "callbacks.best.mode",
    },
    "evaluate": {
        "images_per_set": "kinds",
        "policy.threshold_target": "policy.auto",
    },
    "predict": {},
}
"""Keys of `conf/` by command, with their names in version 0.1.0."""

PATH_KEYS = ("paths.data", "data.dir", "model.backbone.weights")
EVALUATION_KEYS = ("paths.data", "data.dir", "data.check_md5")

WITHOUT_SYNTHETIC = "data.synthetic=null"


@dataclass(frozen=True)
class Revision:
    """A checkout of one revision.

    Attributes:
        name: of the revision, for people.
        root: its folder, absolute.
        commit: see `machine.commit`.
    """

    name: str
    root: Path
    commit: str

    @property
    def is_v0_1_0(self) -> bool:
        """Whether it has the packages and the configuration keys of version 0.1.0."""
        return not (self.root / "src" / "fashion_transfer" / "evaluation").is_dir()

    def overrides(self, overrides: Sequence[str], command: str = "train") -> list[str]:
        """Returns overrides of a command with the keys that this revision has.

        Args:
            overrides: with today's keys.
            command: `train`, `evaluate` or `predict`.
        """
        if not self.is_v0_1_0:
            return list(overrides)
        renamed = []
        for override in overrides:
            if override == WITHOUT_SYNTHETIC:
                renamed += ["data.composites=0", "data.controls=0"]
            else:
                renamed.append(_rename(override, RENAMED[command]))
        return renamed

    def environment(self, cache: Path | None = None) -> dict[str, str]:
        """Returns the environment of a process that is to import this revision's package.

        Args:
            cache: of features; None: the user's own.
        """
        environment = os.environ | {"PYTHONPATH": str(self.root / "src")}
        if cache is not None:
            environment["FASHION_TRANSFER_CACHE"] = str(cache.resolve())
        return environment

    def command(self, script: str, overrides: Sequence[str], run_dir: Path) -> list[str]:
        """Returns the command line of a script of the root, without a progress bar.

        Args:
            script: `train`, `evaluate` or `predict`.
            overrides: with today's keys.
            run_dir: of the run.
        """
        run = f"hydra.run.dir={quoted(run_dir.resolve())}"
        path = str(self.root / f"{script}.py")
        quiet = QUIET if script == "train" or self.is_v0_1_0 else ()
        return [sys.executable, path, *self.overrides(overrides, script), run, *quiet]


@contextmanager
def checkout(name: str, repository: Path = Path()) -> Iterator[Revision]:
    """Yields a checkout of a revision: the working tree itself, or a git worktree that goes again.

    Args:
        name: of a revision as git knows it, a folder that is a checkout already, or
            `WORKING_TREE`.
        repository: a folder in the repository.

    Raises:
        FashionTransferError: there is no such revision.
    """
    if name == WORKING_TREE or (repository / name / "src" / "fashion_transfer").is_dir():
        root = (repository / name).resolve()
        yield Revision(name or "working tree", root, commit(root))
        return
    with tempfile.TemporaryDirectory(prefix="fashion-transfer-revision-") as folder:
        root = Path(folder).resolve() / "checkout"
        _git(repository, name, "worktree", "add", "--quiet", "--detach", str(root), name)
        try:
            yield Revision(name, root, commit(root))
        finally:
            _git(repository, name, "worktree", "remove", "--force", str(root))


def absolute_paths(overrides: Sequence[str]) -> list[str]:
    """Returns overrides with absolute paths: a revision's commands run in its own folder."""
    absolute = []
    for override in overrides:
        key, _, value = override.partition("=")
        path = Path(value.strip("'\""))
        if key in PATH_KEYS and path.exists():
            override = f"{key}={quoted(path.resolve())}"
        absolute.append(override)
    return absolute


def evaluation_overrides(overrides: Sequence[str]) -> list[str]:
    """Returns those overrides of `train.py` that say to `evaluate.py` where the data are."""
    return [override for override in overrides if override.partition("=")[0] in EVALUATION_KEYS]


def _git(repository: Path, name: str, *arguments: str) -> None:
    ended = subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True
    )
    if ended.returncode:
        reason = (ended.stderr.strip().splitlines() or ["git failed"])[-1]
        raise FashionTransferError(f"no checkout of revision {name} ({reason}): see `git tag`")


def _rename(override: str, names: dict[str, str]) -> str:
    key, equals, value = override.partition("=")
    prefix = key[: len(key) - len(key.lstrip("+~"))]
    key = key.removeprefix(prefix)
    for today, before in names.items():
        if key == today or key.startswith(f"{today}."):
            return f"{prefix}{before}{key.removeprefix(today)}{equals}{value}"
    return override
