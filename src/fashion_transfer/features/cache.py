"""`make cache`: lists what the feature store holds and how large it is, and can remove it."""

import argparse
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.store import FeatureStore, kernel_dir, nodes_in
from fashion_transfer.files import default_cache_dir

COLUMNS = ("key", "backbone", "weights", "images", "size", "view", "nodes", "rows", "MB")


def main(arguments: list[str] | None = None) -> None:
    """Lists the store, or removes what `--remove` names: keys, `kernels`, or `all`."""
    parser = argparse.ArgumentParser(prog="make cache ARGS=…", description=__doc__)
    parser.add_argument("--dir", type=Path, help=f"the cache; default {default_cache_dir()}")
    parser.add_argument(
        "--remove", nargs="+", metavar="KEY", help="keys from the list, kernels, or all"
    )
    chosen = parser.parse_args(arguments)
    store = FeatureStore(chosen.dir)
    try:
        if chosen.remove:
            _remove(store, chosen.remove)
        else:
            _list(store)
    except FashionTransferError as error:
        sys.exit(f"error: {error}")


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
            " ".join(counts),
            f"{max(counts.values(), default=0):,}",
            f"{size / 1e6:.1f}",
        )
        total += size
    kernels = kernel_dir(store)
    size = sum(file.stat().st_blocks * 512 for file in kernels.rglob("*") if file.is_file())
    table.add_row("kernels", "compiled", *[""] * 6, f"{size / 1e6:.1f}")
    table.add_row("all", *[""] * 7, f"{(total + size) / 1e6:.1f}")
    Console().print(table)
    print('remove some with `make cache ARGS="--remove KEY …"`')


def _describe(key: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Returns backbone, weights, images, size and view; blank where the key has no such entry."""
    backbone, images = key.get("backbone", {}), key.get("images", {})
    if "content" in images:
        source = f"{images.get('preparation', '')} by content"
    elif "split" in images:
        source = " ".join([images.get("preparation", ""), images["split"][:8]])
    else:
        source = "v0.1.0" if "pixels" in images else "unreadable key"
    return (
        f"{backbone.get('name', '')} {key.get('precision', '')}",
        backbone.get("fingerprint", "")[:8],
        source,
        f"{images['image_size']} px" if "image_size" in images else "",
        str(images.get("view", "")),
    )


def _remove(store: FeatureStore, names: list[str]) -> None:
    known = {folder.name: folder for folder, _, _ in store.entries()}
    for name in names:
        if name not in {*known, "kernels", "all"}:
            raise FashionTransferError(
                f"--remove {name}: nothing is cached under that key; `make cache` lists the keys"
            )
    everything = "all" in names
    for folder in known.values() if everything else [known[n] for n in names if n in known]:
        store.remove(folder)
        print(f"removed {folder}")
    if everything or "kernels" in names:
        shutil.rmtree(kernel_dir(store), ignore_errors=True)
        print(f"removed {kernel_dir(store)}")


if __name__ == "__main__":
    main()
