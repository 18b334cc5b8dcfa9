"""Folders downloaded as an archive of a git commit, and checked by git's own hash of their content.

GitHub packs such an archive anew now and then, so its bytes vary; what is in it does not.
"""

import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import Lock, download
from fashion_transfer.paths import user_path
from fashion_transfer.progress import progress_bar

REMEDY = "try again, or name a folder that has the files already"


def download_folder(url: str, tree: str, directory: str | Path) -> None:
    """Downloads and unpacks an archive; nothing happens if the folder has files already.

    The folder is there with all its files or not at all. A second process waits for the first.

    Args:
        url: of a `.tar.gz` as `git archive` writes it, with one folder that holds everything.
        tree: git's hash of that folder, in hexadecimal (`git rev-parse COMMIT^{tree}`).
        directory: to unpack to.

    Raises:
        FashionTransferError: the download failed, is damaged or has another content, or the folder
            cannot be written.
    """
    directory = user_path(directory).resolve()
    temporary = directory.with_name(f".{directory.name}.part")
    try:
        if _has_files(directory):
            return
        directory.parent.mkdir(parents=True, exist_ok=True)
        with Lock(directory.with_name(f".{directory.name}.lock")):
            if _has_files(directory):
                return
            shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
            try:
                download(url, temporary / "archive.tar.gz")
                _unpack(url, temporary / "archive.tar.gz", tree, temporary / "content")
                if directory.is_dir():
                    directory.rmdir()
                (temporary / "content").rename(directory)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise FashionTransferError(
            f"cannot download to {directory} ({error.strerror}): name a folder that can be written"
        ) from error
    except FashionTransferError as error:
        raise FashionTransferError(f"{error}: {REMEDY}") from error


def tree_hash(folder: Path, executable: Collection[Path] = ()) -> str:
    """Returns git's hash of the content of a folder, in hexadecimal.

    Chacon & Straub, "Pro Git", chapter 10.2, "Git objects".

    Args:
        folder: without empty folders, which git does not know.
        executable: the files in it that git knows as executable.
    """
    return _tree(folder, executable).hex()


def _tree(folder: Path, executable: Collection[Path]) -> bytes:
    entries = []
    for path in folder.iterdir():
        name = order = os.fsencode(path.name)
        if path.is_symlink():
            mode, sha = b"120000", _object(b"blob", os.fsencode(os.readlink(path)))
        elif path.is_dir():
            mode, sha, order = b"40000", _tree(path, executable), name + b"/"
        else:
            mode = b"100755" if path in executable else b"100644"
            sha = _object(b"blob", path.read_bytes())
        entries.append((order, mode + b" " + name + b"\0" + sha))
    return _object(b"tree", b"".join(entry for _, entry in sorted(entries)))


def _object(object_type: bytes, content: bytes) -> bytes:
    header = object_type + b" " + str(len(content)).encode() + b"\0"
    return hashlib.sha1(header + content, usedforsecurity=False).digest()


def _unpack(url: str, archive: Path, tree: str, folder: Path) -> None:
    """Unpacks an archive into a new folder, and checks it."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = _members(url, tar)
            executable = _write(tar, members, folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        # Reading a damaged .gz raises an OSError, too, but one that no system call gave.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FashionTransferError(f"{url} gave a damaged archive ({error})") from error
    for path in members:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise FashionTransferError(f"{url} gave an archive whose link {path} leads out of it")
    actual = tree_hash(folder, executable)
    if actual != tree:
        raise FashionTransferError(
            f"{url} gave another content (its git tree is {actual}, expected {tree})"
        )


def _members(url: str, tar: tarfile.TarFile) -> dict[PurePosixPath, tarfile.TarInfo]:
    """Returns the files and links of an archive by their path in its one folder."""
    members: dict[PurePosixPath, tarfile.TarInfo] = {}
    roots = set()
    for member in tar.getmembers():
        path = PurePosixPath(member.name)
        roots.add(path.parts[:1])
        outside = path.is_absolute() or ".." in path.parts or "\\" in member.name
        if outside or len(roots) > 1 or not (member.isdir() or path.parts[1:]):
            raise FashionTransferError(
                f"{url} gave an archive with {member.name!r}, which is not inside its one folder"
            )
        if not (member.isdir() or member.isreg() or member.issym()):
            raise FashionTransferError(
                f"{url} gave an archive with {member.name!r}, which is neither a file nor a link"
            )
        if not member.isdir():
            members[PurePosixPath(*path.parts[1:])] = member
    for path in members:
        if any(parent in members for parent in path.parents):
            raise FashionTransferError(f"{url} gave an archive with {path}, which is in no folder")
    return members


def _write(
    tar: tarfile.TarFile, members: dict[PurePosixPath, tarfile.TarInfo], folder: Path
) -> set[Path]:
    """Writes files and links into a new folder; returns the files that are executable."""
    executable = set()
    folder.mkdir()
    with progress_bar("unpacking", len(members)) as progress:
        for inside, member in members.items():
            path = folder / inside
            path.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member) if member.isreg() else None
            if content is None:
                path.symlink_to(member.linkname)
            else:
                path.write_bytes(content.read())
                if member.mode & 0o100:
                    path.chmod(path.stat().st_mode | 0o111)
                    executable.add(path)
            progress.advance(1)
    return executable


def _has_files(directory: Path) -> bool:
    return any(directory.iterdir()) if directory.is_dir() else directory.exists()
