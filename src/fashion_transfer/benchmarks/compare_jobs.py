"""What two revisions are compared on, and the processes that run it in each of them."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fashion_transfer.benchmarks.machine import BEST, LAST, METRICS, execute, log_progress
from fashion_transfer.benchmarks.revisions import Revision, evaluation_overrides
from fashion_transfer.files import write_text
from fashion_transfer.paths import quoted

PROBE = Path(__file__).with_name("probe.py")
SMALL_SIZE = 32
"""Height and width of the images that are compared by digest, pixels."""

ONE_EPOCH = "trainer.max_epochs=1"


class Job(NamedTuple):
    """A training run that both revisions make.

    Attributes:
        overrides: of `train.py`.
        seeds: of the runs.
        reduced: further overrides unless the comparison is a full one.
        resnet: whether it takes the weights that the command is given.
        all_images: whether the inputs of all images are compared, at a small size.
        features: whether freshly computed features are compared.
        evaluation: whether `evaluate.py` is compared.
    """

    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    reduced: tuple[str, ...] = ()
    resnet: bool = True
    all_images: bool = False
    features: bool = True
    evaluation: bool = False


JOBS = {
    "default": Job(seeds=(0, 1, 2), all_images=True, evaluation=True),
    "linear": Job(("model/head=linear",), features=False),
    "fast": Job(("experiment=fast",)),
    "offline": Job(("experiment=offline",), resnet=False),
    "finetune": Job(("experiment=finetune", ONE_EPOCH)),
    # A fresh view of each image goes through the whole backbone: minutes for 5,000 images.
    "notebook": Job(("experiment=notebook", ONE_EPOCH), reduced=("data.images_per_class=50",)),
}
"""Each is compared in pixels, features, trained weights, logits and metrics."""


@dataclass(frozen=True)
class RevisionRunner:
    """Runs jobs and probes of one revision.

    Args:
        revision: whose code runs.
        scratch: a folder for runs, and for features that are computed anew.
        overrides: of every run, with today's keys and absolute paths.
        store: of the runs' features; None: the user's own.
        finished: folder of earlier runs, `JOB/SEED` each; None: there are none.
        count: images of each set that are compared whole.
        images_per_set: size of each synthetic evaluation set.
    """

    revision: Revision
    scratch: Path
    overrides: tuple[str, ...]
    store: Path | None
    finished: Path | None
    count: int
    images_per_set: int

    def train(self, name: str, overrides: Sequence[str], seed: int) -> Path:
        """Trains, or takes a finished run, and returns its folder."""
        if self.finished is not None and (self.finished / name / str(seed) / METRICS).is_file():
            return self.finished / name / str(seed)
        folder = self._new_folder(f"{name}-{seed}")
        log_progress(f"{self.revision.name}: train.py, {name}, seed {seed}")
        arguments = [*overrides, f"seed={seed}", "callbacks.progress=null"]
        self._execute(self.revision.command("train", arguments, folder), folder)
        return folder

    def evaluate(self, run: Path, seed: int) -> dict[str, Any]:
        """Returns the metrics of `evaluate.py` for the best checkpoint of a run."""
        finished = run / "evaluate"
        if not (finished / METRICS).is_file():
            finished = self._new_folder(f"evaluation-{seed}")
            log_progress(f"{self.revision.name}: evaluate.py, seed {seed}")
            arguments = evaluation_overrides(self.overrides)
            arguments += [f"ckpt_path={quoted((run / BEST).resolve())}"]
            arguments += [f"images_per_set={self.images_per_set}"]
            self._execute(self.revision.command("evaluate", arguments, finished), finished)
        return read_metrics(finished)

    def probe(
        self, task: str, overrides: Sequence[str], **entries: Any
    ) -> Mapping[str, np.ndarray]:
        """Returns the arrays of a task of `probe`."""
        folder = self._new_folder(f"probe-{task}")
        output = folder / "arrays.npz"
        entries |= {
            "task": task,
            "root": str(self.revision.root),
            "overrides": self.revision.overrides(overrides),
            "output": str(output),
            "scratch": str(self.scratch / self.revision.root.name / "features"),
            "small_size": SMALL_SIZE,
            "count": self.count,
            "images_per_set": self.images_per_set,
        }
        write_text(folder / "task.json", json.dumps(entries))
        log_progress(f"{self.revision.name}: {task}")
        self._execute([sys.executable, str(PROBE), str(folder / "task.json")], folder)
        with np.load(output) as arrays:
            return dict(arrays)

    def _execute(self, command: Sequence[str], folder: Path) -> None:
        environment = self.revision.environment(self.store)
        execute(command, folder / "output.txt", self.revision.root, environment)

    def _new_folder(self, name: str) -> Path:
        number = sum(1 for _ in self.scratch.glob(f"*-{name}"))
        folder = self.scratch / f"{number}-{name}"
        folder.mkdir(parents=True)
        return folder.resolve()


def checkpoints(run: Path) -> list[str]:
    """Returns the paths of a run's checkpoints, the best one first."""
    return [str((run / path).resolve()) for path in (BEST, LAST)]


def read_metrics(run: Path) -> dict[str, Any]:
    """Returns the metrics of a finished run."""
    metrics: dict[str, Any] = json.loads((run / METRICS).read_text())
    return metrics
