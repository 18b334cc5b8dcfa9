"""A small git repository, and the archive that git makes of it."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Commit(NamedTuple):
    """A `.tar.gz` of a commit, and git's own hash of what is in it."""

    archive: bytes
    tree: str


def commit(folder: Path) -> Commit:
    """Commits the files in a folder; skips the test where git is not installed."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments: str) -> bytes:
        identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
        command = ["git", *identity, "-c", "commit.gpgsign=false", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message=Photos")
    archive = git("archive", "--format=tar.gz", "--prefix=photos-main/", "HEAD")
    return Commit(archive, git("rev-parse", "HEAD^{tree}").decode().strip())
