"""Folders from archives on a local site: whole and with the right content, or not at all."""

import gzip
import io
import os
import tarfile
import threading
from pathlib import Path

import pytest
from git_repository import Commit, commit

from fashion_transfer.data.git_archive import REMEDY, download_folder, tree_hash
from fashion_transfer.errors import FashionTransferError

NAME = "photos.tar.gz"

FILES = {
    # Git sorts a folder as if its name ended in a slash: a.b, a/, a0.
    "a.b": "a file whose name sorts before the folder",
    "a/x/deep.txt": "nested",
    "a/x.txt": "beside a folder of that name",
    "a0": "a file whose name sorts after the folder",
    "empty": "",
    "run.sh": "#!/bin/sh\n",
    "photos/grün und gelb.txt": "not ASCII",
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Commit:
    """A commit of `FILES`, one of which is executable, and a link."""
    folder = tmp_path_factory.mktemp("repository")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("a/x.txt")
    return commit(folder)


def packed(*members: tuple[str, bytes | str | None]) -> bytes:
    """An archive of files (bytes), links (text) and folders (None) with the given names."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def rejected(url: str, tree: str, directory: Path) -> str:
    """The message, one line, of a download that fails and leaves nothing."""
    before = {path for path in directory.parent.parent.rglob("*") if path.suffix != ".lock"}
    with pytest.raises(FashionTransferError) as caught:
        download_folder(url, tree, directory)
    left = {path for path in directory.parent.parent.rglob("*") if path.suffix != ".lock"}
    assert left - before <= {directory.parent}
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what arrives


def test_folder_has_the_files_of_the_commit(site, photos, tmp_path):
    site.files[NAME] = photos.archive
    folder = tmp_path / "data" / "photos"
    download_folder(f"{site.url}{NAME}", photos.tree, folder)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {*FILES, "link"}
    assert all((folder / name).read_text("utf-8") == text for name, text in FILES.items())
    assert os.access(folder / "run.sh", os.X_OK)
    assert not os.access(folder / "a0", os.X_OK)
    assert os.readlink(folder / "link") == "a/x.txt"
    assert {path.name for path in folder.parent.iterdir()} == {"photos", ".photos.lock"}


def test_archive_packed_in_another_way_is_the_same_content(site, photos, tmp_path):
    # With other times and owners, in another order, and with folders.
    content = gzip.decompress(photos.archive)
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(content)) as tar,
        tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as other,
    ):
        for member in reversed(tar.getmembers()):
            member.mtime, member.uname, member.pax_headers = 7, "somebody", {}
            other.addfile(member, tar.extractfile(member) if member.isreg() else None)
    assert buffer.getvalue() != photos.archive
    site.files[NAME] = buffer.getvalue()
    download_folder(f"{site.url}{NAME}", photos.tree, tmp_path / "photos")
    assert (tmp_path / "photos" / "a0").is_file()


def test_folder_with_files_is_left_as_it_is(site, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.txt").write_text("mine")
    download_folder(f"{site.url}{NAME}", "0" * 40, tmp_path / "photos")
    assert site.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_empty_folder_is_filled(site, photos, tmp_path):
    site.files[NAME] = photos.archive
    (tmp_path / "photos").mkdir()
    download_folder(f"{site.url}{NAME}", photos.tree, tmp_path / "photos")
    assert (tmp_path / "photos" / "a0").is_file()


def test_remains_of_a_killed_process_do_not_matter(site, photos, tmp_path):
    site.files[NAME] = photos.archive
    (tmp_path / ".photos.part" / "content").mkdir(parents=True)
    download_folder(f"{site.url}{NAME}", photos.tree, tmp_path / "photos")
    assert {path.name for path in tmp_path.iterdir()} == {"photos", ".photos.lock"}


def test_two_at_once_download_once(site, photos, tmp_path):
    site.files[NAME] = photos.archive
    failures = []

    def fetch():
        try:
            download_folder(f"{site.url}{NAME}", photos.tree, tmp_path / "photos")
        except BaseException as error:
            failures.append(error)

    # Threads stand for processes: the lock is on the open file, of which each has its own.
    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert site.requests.count(f"GET {NAME}") == 1
    assert (tmp_path / "photos" / "a0").is_file()


# ---- what is refused


def test_download_that_breaks_off_leaves_nothing(site, photos, tmp_path):
    site.files[NAME], site.cut = photos.archive, {NAME}
    message = rejected(f"{site.url}{NAME}", photos.tree, tmp_path / "data" / "photos")
    assert message.startswith(f"could not download {site.url}{NAME} (")
    assert message.endswith(REMEDY)
    site.cut = set()  # the next attempt succeeds
    download_folder(f"{site.url}{NAME}", photos.tree, tmp_path / "data" / "photos")


@pytest.mark.parametrize("length", [0, 5, 100, -200])
def test_truncated_archive_leaves_nothing(site, photos, tmp_path, length):
    site.files[NAME] = photos.archive[:length]
    message = rejected(f"{site.url}{NAME}", photos.tree, tmp_path / "data" / "photos")
    assert message.startswith(f"{site.url}{NAME} gave ")
    assert message.endswith(REMEDY)


def test_archive_with_a_flipped_byte_leaves_nothing(site, photos, tmp_path):
    content = bytearray(photos.archive)
    content[len(content) // 2] ^= 255
    site.files[NAME] = bytes(content)
    rejected(f"{site.url}{NAME}", photos.tree, tmp_path / "data" / "photos")


def test_web_page_instead_of_an_archive_leaves_nothing(site, tmp_path):
    site.files[NAME] = b"<html>please log in</html>"
    message = rejected(f"{site.url}{NAME}", "0" * 40, tmp_path / "data" / "photos")
    assert "gave a damaged archive (not a gzip file)" in message


def test_other_content_is_refused_with_both_hashes(site, photos, tmp_path):
    site.files[NAME] = photos.archive
    message = rejected(f"{site.url}{NAME}", "0" * 40, tmp_path / "data" / "photos")
    assert f"gave another content (its git tree is {photos.tree}, expected {'0' * 40})" in message


@pytest.mark.parametrize(
    "members",
    [
        [("root/a", b"a"), ("root/../../outside", b"x")],
        [("root/a", b"a"), ("root/../b", b"x")],
        [("../outside", b"x")],
        [("/root/outside", b"x")],
        [("root/a", b"a"), ("other/b", b"x")],
        [("root", b"a file")],
        [("root/..\\..\\outside", b"x")],
    ],
)
def test_name_outside_of_the_one_folder_is_refused(site, tmp_path, members):
    site.files[NAME] = packed(*members)
    message = rejected(f"{site.url}{NAME}", "0" * 40, tmp_path / "data" / "photos")
    assert f"{members[-1][0]!r}, which is not inside its one folder" in message


@pytest.mark.parametrize("target", ["../../outside", "/", "/etc/hostname", "a/../.."])
def test_link_that_leads_out_is_refused(site, tmp_path, target):
    site.files[NAME] = packed(("root/a/b", b"b"), ("root/link", target))
    message = rejected(f"{site.url}{NAME}", "0" * 40, tmp_path / "data" / "photos")
    assert "link leads out of it" in message


def test_nothing_is_written_through_a_link(site, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    site.files[NAME] = packed(("root/link", str(outside)), ("root/link/file", b"x"))
    message = rejected(f"{site.url}{NAME}", "0" * 40, tmp_path / "data" / "photos")
    assert "link/file, which is in no folder" in message
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("member_type", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
def test_device_or_hard_link_is_refused(site, tmp_path, member_type):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("root/odd")
        info.type, info.linkname = member_type, "root/a"
        tar.addfile(info)
    site.files[NAME] = buffer.getvalue()
    message = rejected(f"{site.url}{NAME}", "0" * 40, tmp_path / "data" / "photos")
    assert "'root/odd', which is neither a file nor a link" in message


def test_folder_that_cannot_be_written_is_an_error_of_one_line(site, photos, read_only_dir):
    site.files[NAME] = photos.archive
    read_only_dir.protect()
    with pytest.raises(FashionTransferError, match="name a folder that can be written") as caught:
        download_folder(f"{site.url}{NAME}", photos.tree, read_only_dir.path / "photos")
    assert str(read_only_dir.path / "photos") in str(caught.value)


# ---- the hash


def test_tree_hash_of_an_empty_folder_is_gits(tmp_path):
    assert tree_hash(tmp_path) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_tree_hash_depends_on_names_content_and_modes(tmp_path):
    (tmp_path / "a").write_text("1")
    hashes = [tree_hash(tmp_path), tree_hash(tmp_path, {tmp_path / "a"})]
    (tmp_path / "a").write_text("2")
    hashes.append(tree_hash(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    hashes.append(tree_hash(tmp_path))
    assert len(set(hashes)) == 4
