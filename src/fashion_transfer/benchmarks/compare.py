"""`make compare BASE=v0.1.0`: does this revision give the numbers of another one?

Both run on this machine, each in processes of its own: images that reach the backbone, features,
trained weights and logits bit for bit, metrics as the tables print them.
"""

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Sequence
from os.path import expanduser
from pathlib import Path
from typing import Any

from fashion_transfer.benchmarks.compare_jobs import (
    JOBS,
    RevisionRunner,
    checkpoints,
    read_metrics,
)
from fashion_transfer.benchmarks.comparison import (
    Compared,
    compare_arrays,
    compare_metrics,
    print_comparison,
)
from fashion_transfer.benchmarks.machine import conditions
from fashion_transfer.benchmarks.revisions import WORKING_TREE, Revision, absolute_paths, checkout
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text
from fashion_transfer.paths import user_path

CHECKS = ("pixels", "features", "runs")


def main(arguments: list[str] | None = None) -> None:
    """Compares, prints a table, writes it as JSON; exit status 1 if something must not differ."""
    chosen = _parser().parse_args(arguments)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="fashion-transfer-compare-") as scratch,
            checkout(chosen.base) as base,
            checkout(chosen.head) as head,
        ):
            rows: list[Compared] = []
            for name in chosen.only or JOBS:
                comparison = _comparison(name, chosen, Path(scratch), base, head)
                rows += comparison.compare(chosen.checks)
            about = conditions() | {
                "base": {"name": base.name, "commit": base.commit},
                "head": {"name": head.name, "commit": head.commit},
            }
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    print_comparison(rows)
    accepted = all(row.accepted for row in rows)
    entries = [row._asdict() | {"largest": _json_number(row.largest)} for row in rows]
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    result = about | {"equal": accepted, "full": chosen.full, "rows": entries}
    write_text(chosen.output, json.dumps(result, indent=1) + "\n")
    print(f"written: {chosen.output}")
    print(f"{head.name} against {base.name}: {'equal' if accepted else 'DIFFERENT'}")
    if not accepted:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make compare BASE=… ARGS=…", description=__doc__)
    parser.add_argument("--base", required=True, help="a revision, or a folder of one")
    parser.add_argument("--head", default=WORKING_TREE, help="another; default: the working tree")
    parser.add_argument(
        "--weights", type=expanduser, default="IMAGENET1K_V1", help="of ResNet50, name or path"
    )
    parser.add_argument("--data", default="data", help="folder of the Fashion-MNIST files")
    parser.add_argument(
        "--store", type=user_path, help="folder of cached features; default: the user's own"
    )
    parser.add_argument("--only", nargs="+", choices=JOBS)
    parser.add_argument("--checks", nargs="+", choices=CHECKS, default=CHECKS)
    parser.add_argument("--count", type=int, default=32, help="images per set compared whole")
    parser.add_argument("--images-per-set", type=int, default=200, help="of the evaluation sets")
    parser.add_argument("--full", action="store_true", help="the notebook's epoch on all images")
    parser.add_argument(
        "--override", nargs="+", default=[], metavar="KEY=VALUE", help="of all runs"
    )
    parser.add_argument(
        "--base-runs", type=user_path, help="earlier runs of the base, JOB/SEED each: not repeated"
    )
    parser.add_argument("--output", type=user_path, default=Path("results") / "compare.json")
    return parser


class JobComparison:
    """Compares one job of two revisions.

    Args:
        name: in `JOBS`.
        base: runs the one.
        head: runs the other.
        overrides: of every run, with today's keys.
    """

    def __init__(
        self, name: str, base: RevisionRunner, head: RevisionRunner, overrides: Sequence[str]
    ) -> None:
        self.name = name
        self.job = JOBS[name]
        self.base = base
        self.head = head
        self.overrides = overrides

    def compare(self, checks: Sequence[str]) -> list[Compared]:
        """Returns the rows of some of `CHECKS`."""
        rows: list[Compared] = []
        if "pixels" in checks:
            rows += self._probe("pixels", f"{self.name}: pixels", all_images=self.job.all_images)
        if "features" in checks and self.job.features:
            rows += self._probe("features", f"{self.name}: features")
        if "runs" in checks:
            for seed in self.job.seeds:
                rows += self._compare_runs(seed)
        return rows

    def _compare_runs(self, seed: int) -> list[Compared]:
        check = f"{self.name}, seed {seed}"
        base = self.base.train(self.name, self.overrides, seed)
        head = self.head.train(self.name, self.overrides, seed)
        renamed = self.base.revision.is_v0_1_0
        metrics = read_metrics(base), read_metrics(head)
        rows = compare_metrics(f"{check}: metrics", *metrics, renamed)
        rows += self._probe("trained", f"{check}: weights and logits", runs=(base, head))
        if self.job.evaluation:
            metrics = self.base.evaluate(base, seed), self.head.evaluate(head, seed)
            rows += compare_metrics(f"{check}: evaluation", *metrics, renamed)
        return rows

    def _probe(
        self, task: str, check: str, runs: Sequence[Path] | None = None, **entries: Any
    ) -> list[Compared]:
        arrays = []
        for number, runner in enumerate((self.base, self.head)):
            if runs is not None:
                entries["checkpoints"] = checkpoints(runs[number])
            arrays.append(runner.probe(task, self.overrides, **entries))
        return compare_arrays(check, *arrays)


def _comparison(
    name: str, chosen: argparse.Namespace, scratch: Path, base: Revision, head: Revision
) -> JobComparison:
    job = JOBS[name]
    general = [f"paths.data={chosen.data}", *chosen.override]
    if job.resnet:
        general.insert(0, f"model.backbone.weights={chosen.weights}")
    general = absolute_paths(general)
    base_runs = chosen.base_runs.resolve() if chosen.base_runs else None

    def runner(revision: Revision, folder: str, finished: Path | None) -> RevisionRunner:
        return RevisionRunner(
            revision,
            scratch / folder,
            tuple(general),
            chosen.store,
            finished,
            chosen.count,
            chosen.images_per_set,
        )

    reduced = () if chosen.full else job.reduced
    overrides = [*job.overrides, *reduced, *general]
    return JobComparison(
        name, runner(base, "base", base_runs), runner(head, "head", None), overrides
    )


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


if __name__ == "__main__":
    main()
