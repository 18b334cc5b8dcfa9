"""Files are written whole or not at all; downloads are checked, retried and given up on."""

import errno
import hashlib
import os
import re
import socket
import stat
import tempfile
import threading
import time

import pytest

from fashion_transfer import files
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import atomic_path, download, write_text

CONTENT = bytes(range(256)) * 500


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.bin"


@pytest.fixture
def served(site):
    """A site with one file, `file.bin`."""
    site.files["file.bin"] = CONTENT
    return site


def sha256(content: bytes = CONTENT) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def downloads(site) -> int:
    """Number of times that the file was asked for; that the site answers is asked apart."""
    return site.requests.count("GET file.bin")


def rejected(url, path, *args, **options) -> str:
    """The one line that a failed download says; nothing of it is left on the disk."""
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else None
    with pytest.raises(FashionTransferError) as caught:
        download(url, path, *args, **options)
    if before is not None:
        assert sorted(path.parent.iterdir()) == before
    assert "\n" not in str(caught.value)
    assert f"could not download {url} (" in str(caught.value)
    return str(caught.value)


# Atomic paths


def test_atomic_path_puts_the_file_in_place_at_the_end_only(path):
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".bin"
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_replaces_an_older_file(path):
    path.write_bytes(b"old")
    with atomic_path(str(path)) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_path_leaves_the_older_file_where_writing_fails(path, error):
    def write_half():
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise error

    path.write_bytes(b"old")
    pytest.raises(error, write_half)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_without_a_file_written_is_an_error_and_leaves_nothing(path):
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass
    assert list(path.parent.iterdir()) == []


def test_atomic_path_gives_each_writer_a_path_of_its_own(path):
    with atomic_path(path) as one, atomic_path(path) as other:
        assert one != other
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one"  # it ended last
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_of_a_folder_that_does_not_exist_is_an_os_error(tmp_path):
    with (
        pytest.raises(OSError, match="absent"),
        atomic_path(tmp_path / "absent" / "x") as temporary,
    ):
        temporary.write_bytes(b"")


def test_write_text_writes_utf_8(path):
    write_text(path, "größe 日本\n")
    assert path.read_bytes() == "größe 日本\n".encode()


# Downloads, from a server on this machine


def test_download_writes_the_file_and_creates_its_folder(served, tmp_path):
    path = tmp_path / "new" / "folder" / "renamed.bin"
    download(f"{served.url}file.bin", path)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]
    assert downloads(served) == 1


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_download_accepts_a_file_of_the_expected_hash(served, path, algorithm):
    digest = hashlib.new(algorithm, CONTENT).hexdigest()
    download(f"{served.url}file.bin", str(path), f"{algorithm}:{digest}")
    assert path.read_bytes() == CONTENT


def test_download_replaces_an_older_file(served, path):
    path.write_bytes(b"old")
    download(f"{served.url}file.bin", path)
    assert path.read_bytes() == CONTENT


def test_downloaded_files_have_the_permissions_of_any_new_file(served, path, tmp_path):
    (tmp_path / "other").write_bytes(b"")
    download(f"{served.url}file.bin", path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(os.stat(tmp_path / "other").st_mode)


def test_download_rejects_another_hash_after_a_second_attempt(served, path):
    message = rejected(f"{served.url}file.bin", path, sha256(b"other"))
    assert sha256().removeprefix("sha256:") in message
    assert sha256(b"other").removeprefix("sha256:") in message
    assert downloads(served) == 2


def test_download_leaves_the_older_file_where_it_fails(served, path):
    path.write_bytes(b"old")
    rejected(f"{served.url}file.bin", path, sha256(b"other"))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("known_hash", [None, sha256()])
def test_download_tries_again_after_a_broken_connection(served, path, known_hash):
    served.cut_once = {"file.bin"}
    download(f"{served.url}file.bin", path, known_hash)
    assert path.read_bytes() == CONTENT
    assert downloads(served) == 2


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_download_rejects_half_a_file_even_without_a_hash(served, path, retries):
    served.cut = {"file.bin"}
    rejected(f"{served.url}file.bin", path, retries=retries)
    assert downloads(served) == 1 + retries


def test_download_asks_once_for_a_file_that_the_site_lacks(site, path):
    assert "404" in rejected(f"{site.url}file.bin", path)
    assert downloads(site) == 1


def test_download_from_a_closed_port_fails_at_once(closed_url, path):
    start = time.monotonic()
    rejected(closed_url, path)
    assert time.monotonic() - start < 10


def test_download_from_a_site_that_speaks_no_http_is_rejected(nonsense_url, path):
    rejected(nonsense_url, path)


def test_download_gives_a_silent_site_up_after_the_timeout(silent_url, path, monkeypatch):
    assert 0 < files.TIMEOUT <= 30
    monkeypatch.setattr(files, "TIMEOUT", 0.2)
    start = time.monotonic()
    assert re.search("timed out|no answer within 0.2 s", rejected(silent_url, path))
    assert time.monotonic() - start < 10


def test_download_gives_up_if_name_resolution_hangs(path, monkeypatch):
    over = threading.Event()

    def hang(*args, **options):
        over.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(files, "TIMEOUT", 0.2)
    assert "no answer within 0.2 s" in rejected("http://site.invalid/file.bin", path)
    over.set()


def test_download_works_from_a_site_that_rejects_head_requests(served, path, monkeypatch):
    handler = served.server.RequestHandlerClass
    monkeypatch.setattr(handler, "do_HEAD", lambda handler: handler.send_error(405))
    download(f"{served.url}file.bin", path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["no url", "http://", "http://[", "ftp://127.0.0.1/x"])
def test_download_rejects_what_is_no_http_address(url, path):
    rejected(url, path)


def test_download_to_a_folder_that_is_a_file_is_rejected(served, path, tmp_path):
    (tmp_path / "folder").write_bytes(b"")
    rejected(f"{served.url}file.bin", tmp_path / "folder" / "file.bin")


def test_download_to_a_folder_that_cannot_be_written_is_rejected(served, read_only_dir):
    read_only_dir.protect()
    rejected(f"{served.url}file.bin", read_only_dir.path / "file.bin")


def test_concurrent_downloads_of_one_file_give_it_whole(served, path):
    threads = [
        threading.Thread(target=download, args=(f"{served.url}file.bin", path, sha256()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


# Errors of the disk


def test_atomic_path_names_the_file_that_there_is_no_space_for(path, monkeypatch):
    path.write_bytes(b"whole")

    def full(file, text, **_):
        file.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(path, "text")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"whole"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_names_the_file_and_not_the_temporary_one(tmp_path):
    file = tmp_path / "no" / "folder" / "file.bin"
    with pytest.raises(FileNotFoundError) as caught:
        write_text(file, "text")
    assert caught.value.filename == str(file)


def test_atomic_path_leaves_the_name_of_another_file(path, tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_path(path):
        (tmp_path / "absent").read_bytes()
    assert caught.value.filename == str(tmp_path / "absent")


def test_atomic_path_reports_what_went_wrong_where_nothing_can_be_deleted(path, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.unlink", read_only)
    with pytest.raises(ValueError, match="the point"), atomic_path(path):
        raise ValueError("the point")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space on that disk, or write elsewhere"),
        (errno.EDQUOT, "make room within your quota, or write elsewhere"),
        (errno.EFBIG, "raise the limit for the size of a file (ulimit -f), or write elsewhere"),
        (errno.EROFS, "write elsewhere"),
        (errno.EACCES, "write elsewhere"),
        (errno.ENOTDIR, "remove the file that is where a folder is needed, or write elsewhere"),
        (errno.ENOLCK, "use a disk that has file locks, or write elsewhere"),
    ],
)
def test_cannot_write_says_which_file_why_and_what_to_do(number, remedy):
    error = OSError(number, os.strerror(number), "/logs/run.json")
    expected = f"/logs/run.json cannot be written ({os.strerror(number)}): {remedy}"
    assert files.cannot_write(error) == expected


def test_cannot_write_names_the_folder_for_an_error_without_a_file():
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert files.cannot_write(error, "/logs").startswith("/logs cannot be written (No space left")
    assert files.cannot_write(error) is None


@pytest.mark.parametrize("error", [OSError("x"), FileNotFoundError(errno.ENOENT, "x", "y")])
def test_cannot_write_returns_none_for_other_errors(error):
    assert files.cannot_write(error, "/logs") is None


def test_cannot_write_says_what_to_do_without_a_temporary_folder(monkeypatch):
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", list)
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.mkdtemp()
    assert "give TMPDIR a folder that can be written" in files.cannot_write(caught.value)


def test_remove_temporary_deletes_what_a_killed_process_had_begun(tmp_path):
    names = (".last.0123abcd.ckpt", ".key.0123abcd", ".lock", ".sweep.lock", "a.0123abcd.ckpt")
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra/.config.0123abcd.yaml").touch()
    files.remove_temporary(tmp_path.rglob(".*"))
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", ".sweep.lock", "a.0123abcd.ckpt", ".hydra"}
    assert list((tmp_path / ".hydra").iterdir())  # another run may be writing there


def test_default_cache_dir_is_refused_without_a_home_folder(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("FASHION_TRANSFER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", no_home)
    with pytest.raises(FashionTransferError, match="no home folder .* FASHION_TRANSFER_CACHE=DIR"):
        files.default_cache_dir()
    monkeypatch.setenv("FASHION_TRANSFER_CACHE", "/cache")
    assert str(files.default_cache_dir()) == "/cache"
