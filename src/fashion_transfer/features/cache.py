"""`make cache`: what the feature store keeps, how large it is, and a way to remove it."""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.store import FeatureStore, default_cache_dir, kernel_dir


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
    table = Table(title=f"features kept in {store.directory}", title_justify="left")
    for heading in ("key", "backbone", "weights", "pixels", "view", "stages", "images", "MB"):
        table.add_column(heading, justify="right" if heading in ("images", "MB") else "left")
    total = 0
    for folder, key, size in store.entries():
        images, backbone = key["images"], key["backbone"]
        stages = sorted(file.name[: -len(".crc.npy")] for file in folder.glob("*.crc.npy"))
        sums = [np.load(folder / f"{stage}.crc.npy", mmap_mode="r") for stage in stages]
        rows = max((int(np.count_nonzero(column)) for column in sums), default=0)
        table.add_row(
            folder.name,
            f"{backbone['name']} {key['precision']}",
            backbone["fingerprint"][:8],
            f"{images['pixels'][:6]} {images['image_size']} px",
            str(images["view"]),
            " ".join(stages),
            f"{rows:,}",
            f"{size / 1e6:.1f}",
        )
        total += size
    kernels = kernel_dir(store)
    size = sum(file.stat().st_blocks * 512 for file in kernels.rglob("*") if file.is_file())
    table.add_row("kernels", "compiled", "", "", "", "", "", f"{size / 1e6:.1f}")
    table.add_row("all", "", "", "", "", "", "", f"{(total + size) / 1e6:.1f}")
    Console().print(table)
    print('remove some with `make cache ARGS="--remove KEY …"`')


def _remove(store: FeatureStore, names: list[str]) -> None:
    known = {folder.name: folder for folder, _, _ in store.entries()}
    for name in names:
        if name not in {*known, "kernels", "all"}:
            raise FashionTransferError(
                f"--remove {name}: nothing is kept under that key; `make cache` lists them"
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
