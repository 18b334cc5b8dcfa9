"""`make bench`: what runs cost, beside what they would cost without the store and the fast path.

Every row is measured in the same run, on real images, as a median over repeats taken in turn, so
that a machine whose speed drifts slows all alike. Ratios travel; absolute times do not.
"""

import argparse
import sys
import tempfile
from os.path import expanduser
from pathlib import Path

from fashion_transfer.benchmarks.engines import backbone_rows, openvino_rows
from fashion_transfer.benchmarks.evaluate_job import evaluate_rows, uncached_rows
from fashion_transfer.benchmarks.export_job import export_rows, train_checkpoints
from fashion_transfer.benchmarks.jobs import JobTimer
from fashion_transfer.benchmarks.page_job import page_rows
from fashion_transfer.benchmarks.photo_jobs import EXAMPLE, photo_rows
from fashion_transfer.benchmarks.predict_job import predict_rows
from fashion_transfer.benchmarks.revisions import WORKING_TREE, checkout
from fashion_transfer.benchmarks.rows import Row, print_rows, write_rows
from fashion_transfer.benchmarks.start import start_rows
from fashion_transfer.benchmarks.sweep_job import long_sweep_rows
from fashion_transfer.benchmarks.warm_job import warm_rows
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import user_path

GROUPS = (
    "backbone",
    "start",
    "openvino",
    "int8",
    "job",
    "sweep",
    "long-sweep",
    "warm",
    "fast",
    "fidelity",
    "growth",
    "photos",
    "predict",
    "evaluate",
    "evaluate-uncached",
    "export",
    "page",
)

FIRST = "v0.1.0"
"""The revision that `predict.py` is compared with where none is named."""


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints one table, and writes it as JSON."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument(
        "--weights", type=expanduser, default="IMAGENET1K_V1", help="of ResNet50, name or path"
    )
    parser.add_argument("--data", default="data", help="folder of the Fashion-MNIST files")
    parser.add_argument("--photos", default="data/clothing", help="folder of the clothing photos")
    parser.add_argument("--repeats", type=int, default=5, help="of the rows taken in turn")
    parser.add_argument("--only", nargs="+", choices=GROUPS)
    parser.add_argument(
        "--base",
        metavar="REVISION",
        help="another revision (or folder of one): `evaluate.py` of both is timed in turn; the "
        "first answer of `predict.py`, warm jobs, the long sweep and evaluate-uncached are "
        f"compared with it, else with {FIRST}",
    )
    parser.add_argument(
        "--store",
        type=user_path,
        help="cached features for the row evaluate; default: the user's own",
    )
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        type=user_path,
        default=[],
        help="for the rows export, named by their files, and the first for the rows page; default: "
        "some that are trained for them",
    )
    parser.add_argument(
        "--override", nargs="+", default=[], metavar="KEY=VALUE", help="of all commands"
    )
    parser.add_argument(
        "--screenshots",
        type=user_path,
        metavar="FOLDER",
        help="for those of the page; default: none",
    )
    parser.add_argument("--output", type=user_path, default=Path("results") / "bench.json")
    chosen = parser.parse_args(arguments)
    groups = set(chosen.only or GROUPS)
    if not chosen.only and chosen.base is None:
        groups -= {"predict", "evaluate", "evaluate-uncached", "long-sweep", "warm"}
    if not chosen.only and not Path(chosen.photos).is_dir():
        groups.remove("photos")
    if not chosen.only:
        groups.remove("page")  # needs a browser
    overrides = [f"model.backbone.weights={chosen.weights}", f"paths.data={chosen.data}"]
    overrides += chosen.override
    sources = Path(chosen.photos if Path(chosen.photos).is_dir() else EXAMPLE)
    rows: list[Row] = []
    try:
        if "evaluate" in groups and chosen.base is None:
            raise FashionTransferError(
                "--only evaluate compares with another revision: name it, as --base v0.1.0"
            )
        with tempfile.TemporaryDirectory(prefix="fashion-transfer-bench-") as scratch:
            if groups & {"backbone", "job"}:
                rows += backbone_rows(chosen.weights, chosen.data, chosen.repeats)
            if "start" in groups:
                rows += start_rows(chosen.weights, Path(scratch), chosen.repeats)
            if "openvino" in groups:
                for size in (224, 64):
                    rows += openvino_rows(chosen.weights, chosen.data, chosen.repeats, size)
            timer = JobTimer(Path(scratch), overrides)
            if "job" in groups:
                rows += timer.default_rows(plain_rate=rows[0]["value"])
            if "sweep" in groups:
                if "job" not in groups:
                    timer.train("default")  # a sweep is measured on cached features
                rows += timer.sweep_rows()
            if "long-sweep" in groups:
                with checkout(chosen.base or FIRST) as base, checkout(WORKING_TREE) as head:
                    rows += long_sweep_rows(base, head, Path(scratch), overrides, chosen.store)
            if "warm" in groups:
                with checkout(chosen.base or FIRST) as base, checkout(WORKING_TREE) as head:
                    rows += warm_rows(
                        base, head, Path(scratch), overrides, chosen.repeats, chosen.store
                    )
            if "int8" in groups:
                rows += timer.int8_rows()
            if groups & {"fast", "fidelity"}:
                rows += timer.fast_rows()
            if "fidelity" in groups:
                rows += timer.fidelity_rows()
            if "growth" in groups:
                rows += timer.growth_rows()
            if "photos" in groups:
                rows += photo_rows(overrides, Path(scratch), chosen.photos, chosen.repeats)
            if "predict" in groups:
                with checkout(chosen.base or FIRST) as base, checkout(WORKING_TREE) as head:
                    rows += predict_rows(
                        base, head, Path(scratch), overrides, chosen.repeats, sources
                    )
            if "evaluate" in groups:
                with checkout(chosen.base) as base, checkout(WORKING_TREE) as head:
                    rows += evaluate_rows(
                        base, head, Path(scratch), overrides, chosen.repeats, chosen.store
                    )
            if "evaluate-uncached" in groups:
                with checkout(chosen.base or FIRST) as base, checkout(WORKING_TREE) as head:
                    rows += uncached_rows(base, head, Path(scratch), overrides, chosen.repeats)
            if "export" in groups:
                with checkout(WORKING_TREE) as head:
                    checkpoints = {path.stem: path for path in chosen.checkpoints}
                    rows += export_rows(
                        head,
                        checkpoints or train_checkpoints(head, Path(scratch), overrides),
                        Path(chosen.data),
                        sources,
                        Path(scratch),
                        chosen.repeats,
                    )
            if "page" in groups:
                with checkout(WORKING_TREE) as head:
                    checkpoint = chosen.checkpoints[0] if chosen.checkpoints else None
                    rows += page_rows(
                        head, Path(scratch), overrides, sources, checkpoint, chosen.screenshots
                    )
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
    print_rows(rows)
    write_rows(rows, chosen.output)
    print(f"written: {chosen.output}")


if __name__ == "__main__":
    main()
