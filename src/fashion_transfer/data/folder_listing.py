"""Photos of one's own, listed with their classes: from a folder per class, or from a CSV file."""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from unicodedata import category, normalize

from fashion_transfer.data.datamodule import SplitName
from fashion_transfer.data.decoding import image_endings
from fashion_transfer.data.image_files import images_below, is_hidden
from fashion_transfer.errors import FashionTransferError

log = logging.getLogger(__name__)

SPLITS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "val",
    "valid": "val",
    "val": "val",
    "test": "test",
    "testing": "test",
}
"""Splits by the names that folders and CSV files give them, in lower case."""


class Photo(NamedTuple):
    """A photo as it is listed, read or not.

    Attributes:
        path: of the file.
        label: name of its class.
        split: that it is in; None: its content decides.
    """

    path: Path
    label: str
    split: SplitName | None


class Listing(NamedTuple):
    """The photos of a data set.

    Attributes:
        class_names: sorted; at least two.
        photos: sorted by path, or in the order of the CSV file.
    """

    class_names: tuple[str, ...]
    photos: list[Photo]


def list_photos(source: Path) -> Listing:
    """The photos of a folder or a CSV file, of which none is opened.

    A folder holds a folder per class, or such folders in `train`, `validation` and `test`; only
    `train` must be there. A CSV file has the columns `path`, relative to it, `label` and, if it
    gives splits, `split`.

    Raises:
        FashionTransferError: there is no such folder or file, or it is not as described, lists a
            file that does not exist, has under two classes, one without a photo, or one whose name
            cannot be printed.
    """
    try:
        if source.is_dir():
            listing = _list_folder(source)
        elif source.suffix.lower() == ".csv" and source.is_file():
            listing = _list_csv(source)
        else:
            problem = "neither a folder nor a .csv file" if source.exists() else "no such folder"
            raise FashionTransferError(f"{source}: {problem}: name the folder of your photos")
    except OSError as error:
        raise FashionTransferError(
            f"{error.filename}: cannot be read ({error.strerror})"
        ) from error
    if len(listing.class_names) == 1:
        raise FashionTransferError(
            f"{source} has only one class, {listing.class_names[0]}: add photos of another class"
        )
    for name in listing.class_names:
        if any(category(letter) in ("Cc", "Cs") for letter in name):
            raise FashionTransferError(
                f"{source} has a class named {name!a}: rename it, in UTF-8 and without control "
                "characters"
            )
    return listing


def _list_folder(folder: Path) -> Listing:
    splits = _split_folders(folder)
    photos: list[Photo] = []
    class_names: tuple[str, ...] = ()
    for split, parent in splits.items():
        names = {normalize("NFC", path.name): path for path in _subfolders(parent)}
        if not class_names:  # those of the training photos, which come first
            if not names:
                raise FashionTransferError(
                    f"{parent} holds no class folder: put the photos of each class into a folder "
                    f"of its own, such as {parent / 'cat'}"
                )
            class_names = tuple(sorted(names))
        for name in sorted(names.keys() - set(class_names)):
            raise FashionTransferError(
                f"{names[name]} is a class that {splits['train']} lacks: add training photos of "
                "it, or remove the folder"
            )
        inside = list(_photos_below(parent, split))
        photos += inside
        for name in sorted(names.keys() - {photo.label for photo in inside}):
            if split in (None, "train"):
                raise FashionTransferError(
                    f"{names[name]} holds no photo: add photos of this class, or remove the folder"
                )
    return Listing(class_names, photos)


def _split_folders(folder: Path) -> dict[SplitName | None, Path]:
    """The folders that hold class folders, by split, training first; by None where it is one."""
    splits: dict[SplitName | None, Path] = {}
    others = []
    for path in _subfolders(folder):
        split = SPLITS.get(path.name.lower())
        if split is None:
            others.append(path.name)
        elif split in splits:
            raise FashionTransferError(
                f"{folder} holds both {splits[split].name} and {path.name}: put their photos into "
                "one of them"
            )
        else:
            splits[split] = path
    # Where the classes are vehicles, train is one of them.
    train_is_class = "train" in splits and others and not _subfolders(splits["train"])
    if not splits or train_is_class:
        return {None: folder}
    if "train" not in splits:
        name = next(iter(splits.values())).name
        raise FashionTransferError(
            f"{folder} holds {name} but no train: add a folder train, or rename {name} if it is a "
            "class"
        )
    if others:
        log.warning("%s beside train in %s: ignored, as no split", ", ".join(others), folder)
    return {"train": splits.pop("train"), **splits}


def _photos_below(parent: Path, split: SplitName | None) -> Iterator[Photo]:
    """Yields the photos in the class folders of a folder."""
    for folder in _subfolders(parent):
        label = normalize("NFC", folder.name)
        yield from (Photo(path, label, split) for path in images_below(folder))
    endings = image_endings()
    loose = sum(path.suffix.lower() in endings for path in parent.iterdir())
    if loose:
        log.warning("photos in %s, in no class folder: %d, ignored", parent, loose)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def _list_csv(file: Path) -> Listing:
    try:
        photos = list(_rows(file))
    except UnicodeDecodeError:
        raise FashionTransferError(f"{file} is not in UTF-8: save it as CSV in UTF-8") from None
    except csv.Error as error:
        raise FashionTransferError(f"{file}: cannot be read as CSV ({error})") from error
    if not photos:
        raise FashionTransferError(f"{file} lists no photo: add a line with path,label for each")
    missing = [photo.path for photo in photos if not photo.path.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FashionTransferError(
            f"{file} lists {missing[0]}{more}, which does not exist: give paths relative to "
            f"{file.parent}"
        )
    return Listing(tuple(sorted({photo.label for photo in photos})), photos)


def _rows(file: Path) -> Iterator[Photo]:
    """Yields the photos that the lines of a CSV file list."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        lines = csv.reader(text)
        header = [name.strip().lower() for name in next(lines, [])]
        if not {"path", "label"} <= set(header):
            raise FashionTransferError(
                f"{file} has the columns {','.join(header) or '(none)'}: its first line must be "
                "path,label or path,label,split"
            )
        for values in lines:
            row = dict(zip(header, map(str.strip, values), strict=False))
            if not any(row.values()):
                continue
            path, label, split = (row.get(name, "") for name in ("path", "label", "split"))
            if not path or not label:
                problem = "path or label is missing: fill it in"
            elif "split" in header and split.lower() not in SPLITS:
                problem = f"split must be train, validation or test, got {split!r}"
            else:
                yield Photo(file.parent / path, normalize("NFC", label), SPLITS.get(split.lower()))
                continue
            raise FashionTransferError(f"{file}, line {lines.line_num}: {problem}")
