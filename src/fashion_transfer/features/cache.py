"""`make cache`: lists what the feature store holds and how large it is, and can remove it."""

import argparse
import re
import shutil
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.quantisation import quantised_dir
from fashion_transfer.features.store import FeatureStore, disk_usage, kernel_dir, nodes_in
from fashion_transfer.features.usage import last_used
from fashion_transfer.files import default_cache_dir
from fashion_transfer.paths import user_path
from fashion_transfer.terminal import command

COLUMNS = (
    "key",
    "backbone",
    "weights",
    "images",
    "size",
    "view",
    "nodes",
    "last use",
    "rows",
    "MB",
)
QUANTISED = "quantised"
"""The int8 networks in the list. `all` leaves them: no head that was trained on one can do without
it, and calibrating again may give another one."""

OTHERS = {"kernels": "compiled", QUANTISED: "int8"}
"""What is cached beside the entries, with what people read for it."""

SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
BYTES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}


@command()
def main(arguments: list[str] | None = None) -> None:
    """Lists the store, or removes what `--remove` names, or what is over the limits."""
    parser = argparse.ArgumentParser(prog="make cache ARGS=…", description=__doc__)
    parser.add_argument("--dir", type=user_path, help=f"the cache; default {default_cache_dir()}")
    parser.add_argument(
        "--remove",
        nargs="+",
        metavar="KEY",
        help="keys from the list, kernels, quantised (which heads trained in int8 need), or all "
        "but quantised",
    )
    parser.add_argument(
        "--older-than", metavar="AGE", help="remove what was not used for 12h, 30d, 8w or the like"
    )
    parser.add_argument(
        "--max-size",
        metavar="SIZE",
        help="remove what was not used for longest, until the rest has 500MB, 20GB or the like",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be removed, and remove nothing"
    )
    chosen = parser.parse_args(arguments)
    store = FeatureStore(chosen.dir)
    if chosen.remove:
        _remove(store, chosen.remove, chosen.dry_run)
    elif chosen.older_than is not None or chosen.max_size is not None:
        age = _quantity("--older-than", chosen.older_than, SECONDS)
        size = _quantity("--max-size", chosen.max_size, BYTES)
        _limit(store, age, size, chosen.dry_run)
    else:
        _list(store)


def _list(store: FeatureStore) -> None:
    print(f"cached features in {store.directory}")  # no title: a path must not be wrapped
    table = Table()
    for heading in COLUMNS:
        table.add_column(heading, justify="right" if heading in ("rows", "MB") else "left")
    total = 0
    for folder, key, size in store.entries():
        counts = nodes_in(folder)
        table.add_row(
            folder.name,
            *_describe(key),
            " ".join(counts or key.get("nodes", [])),
            datetime.fromtimestamp(last_used(folder)).strftime("%Y-%m-%d %H:%M"),
            f"{max(counts.values(), default=0):,}",
            f"{size / 1e6:.1f}",
        )
        total += size
    for name, folder in _other_folders(store).items():
        size = disk_usage(folder)
        table.add_row(name, OTHERS[name], *[""] * 7, f"{size / 1e6:.1f}")
        total += size
    table.add_row("all", *[""] * 8, f"{total / 1e6:.1f}")
    Console().print(table)
    print('remove some with `make cache ARGS="--remove KEY …"`, or what is old or over a size with')
    print('`make cache ARGS="--older-than 30d"` and `make cache ARGS="--max-size 20GB"`')


def _describe(key: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Returns backbone, weights, images, size and view; blank where the key has no such entry."""
    backbone, images = key.get("backbone", {}), key.get("images", {})
    size = f"{images['image_size']} px" if "image_size" in images else ""
    if "package" in key:
        count, channels, _, side = key["shape"]
        source, size = f"package: {count} x {channels}", f"{side} px"
    elif "content" in images:
        source = f"{images.get('preparation', '')} by content"
    elif "split" in images:
        source = " ".join([images.get("preparation", ""), images["split"][:8]])
    else:
        source = "v0.1.0" if "pixels" in images else "unreadable key"
    if backbone.get("mirror"):
        size = f"{size}, mirrored"
    return (
        f"{backbone.get('name', '')} {key.get('precision', '')}",
        backbone.get("fingerprint", "")[:8],
        source,
        size,
        str(images.get("view", "")),
    )


def _limit(store: FeatureStore, age: float, size: float, dry_run: bool) -> None:
    """Removes entries, the least recently used first, until none is over a limit.

    Args:
        store: whose entries.
        age: seconds since their last use that they may have.
        size: bytes that all of them together may have.
        dry_run: only say what would be removed.
    """
    entries = sorted(store.entries(), key=lambda entry: last_used(entry[0]))
    total, before = sum(used for _, _, used in entries), time.time() - age
    removed = 0
    for folder, _, used in entries:
        too_old = last_used(folder) < before
        if (too_old or total > size) and _remove_folder(store, folder, dry_run):
            total -= used
            removed += used
    verb = "would be" if dry_run else "were"
    print(f"{removed / 1e6:.1f} MB {verb} removed, {total / 1e6:.1f} MB are left")


def _remove_folder(store: FeatureStore, folder: Path, dry_run: bool) -> bool:
    if not (store.is_unused(folder) if dry_run else store.remove(folder)):
        print(f"{folder} is in use by a run and stays")
        return False
    print(f"{_done(dry_run)} {folder}")
    return True


def _done(dry_run: bool) -> str:
    return "would remove" if dry_run else "removed"


def _quantity(option: str, text: str | None, units: Mapping[str, float]) -> float:
    """Returns a number with a unit as a plain number; infinity for none."""
    if text is None:
        return float("inf")
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]+)", text.strip())
    if match is None or match[2] not in units:
        raise FashionTransferError(
            f"{option} {text}: give a number and a unit, {', '.join(units)}, as in "
            f"{option} 30{next(iter(units))}"
        )
    return float(match[1]) * units[match[2]]


def _remove(store: FeatureStore, names: list[str], dry_run: bool) -> None:
    known = {folder.name: folder for folder, _, _ in store.entries()}
    for name in names:
        if name not in {*known, *OTHERS, "all"}:
            raise FashionTransferError(
                f"--remove {name}: nothing is cached under that key; `make cache` lists the keys"
            )
    everything = "all" in names
    for folder in known.values() if everything else [known[n] for n in names if n in known]:
        _remove_folder(store, folder, dry_run)
    for name, folder in _other_folders(store).items():
        if name in names or (everything and name != QUANTISED):
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
            print(f"{_done(dry_run)} {folder}")


def _other_folders(store: FeatureStore) -> dict[str, Path]:
    """What is cached beside the store's entries, by its name in the list."""
    return {"kernels": kernel_dir(store), QUANTISED: quantised_dir(store.directory.parent)}


if __name__ == "__main__":
    main()
