"""Checkouts of two revisions, and the overrides that each of them has."""

import shutil
import subprocess
from pathlib import Path

import pytest

from fashion_transfer.benchmarks.revisions import (
    WORKING_TREE,
    Revision,
    absolute_paths,
    checkout,
    evaluation_overrides,
)
from fashion_transfer.errors import FashionTransferError

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="needs git")


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with a tag `v1`, and a file that has changed since."""
    root = tmp_path / "repository"
    (root / "src" / "fashion_transfer").mkdir(parents=True)
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "n")
        monkeypatch.setenv(f"{name}_EMAIL", "n@n")
    (root / "src" / "fashion_transfer" / "__init__.py").write_text("VERSION = 1\n")
    for command in ("init", "add .", "commit -m one", "tag v1"):
        subprocess.run(["git", *command.split()], cwd=root, check=True, capture_output=True)
    (root / "src" / "fashion_transfer" / "__init__.py").write_text("VERSION = 2\n")
    return root


def version(revision: Revision) -> str:
    return (revision.root / "src" / "fashion_transfer" / "__init__.py").read_text().strip()


@needs_git
def test_checkout_of_a_tag_is_a_worktree_that_goes_again(repository):
    with checkout("v1", repository) as revision:
        assert version(revision) == "VERSION = 1"
        assert len(revision.commit) == 40
        root = revision.root
    assert not root.exists()
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=repository, capture_output=True, text=True
    )
    assert len(listed.stdout.splitlines()) == 1


@needs_git
def test_checkout_goes_when_something_fails(repository):
    with pytest.raises(RuntimeError), checkout("v1", repository) as revision:  # noqa: PT012
        root = revision.root
        raise RuntimeError
    assert not root.exists()


@needs_git
def test_working_tree_is_used_where_it_is(repository):
    with checkout(WORKING_TREE, repository) as revision:
        assert version(revision) == "VERSION = 2"
        assert revision.root == repository.resolve()
        assert revision.name == "working tree"
        assert revision.commit.endswith("+")
    assert repository.exists()


def test_folder_of_a_checkout_is_used_as_it_is(tmp_path):
    (tmp_path / "old" / "src" / "fashion_transfer").mkdir(parents=True)
    with checkout(str(tmp_path / "old")) as revision:
        assert revision.root == (tmp_path / "old").resolve()


@needs_git
def test_unknown_revision_is_named(repository):
    with (
        pytest.raises(FashionTransferError, match="no checkout of revision v9"),
        checkout("v9", repository),
    ):
        pass


def old(root: Path) -> Revision:
    (root / "src" / "fashion_transfer").mkdir(parents=True, exist_ok=True)
    return Revision("old", root, "")


@pytest.mark.parametrize(
    ("today", "before"),
    [
        ("data.synthetic.composites=5", ["data.composites=5"]),
        ("data.synthetic=null", ["data.composites=0", "data.controls=0"]),
        ("model.trainable_stage_lr=0.1", ["model.tail_lr=0.1"]),
        ("policy.threshold=auto", ["model.threshold=auto"]),
        ("policy.threshold_target.warned=0.1", ["model.auto.warned=0.1"]),
        ("+monitor.metric=val/loss", ["+callbacks.best.monitor=val/loss"]),
        ("experiment=fast", ["experiment=fast"]),
        ("model.backbone.pool=[a,b]", ["model.backbone.pool=[a,b]"]),
    ],
)
def test_overrides_get_the_keys_of_version_0_1_0(tmp_path, today, before):
    assert old(tmp_path).overrides([today]) == before
    (tmp_path / "src" / "fashion_transfer" / "evaluation").mkdir()
    assert Revision("new", tmp_path, "").overrides([today]) == [today]


def test_overrides_of_the_evaluation_have_names_of_their_own(tmp_path):
    renamed = old(tmp_path).overrides(["images_per_set=5", "policy.threshold=0.5"], "evaluate")
    assert renamed == ["kinds=5", "policy.threshold=0.5"]


def test_environment_puts_the_revision_first(tmp_path):
    environment = old(tmp_path).environment(tmp_path / "store")
    assert environment["PYTHONPATH"] == str(tmp_path / "src")
    assert environment["FASHION_TRANSFER_CACHE"] == str(tmp_path / "store")


def test_paths_in_overrides_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    overrides = absolute_paths(
        ["paths.data=data", "model.backbone.weights=IMAGENET1K_V1", "a=data"]
    )
    assert overrides == [
        f"paths.data='{tmp_path / 'data'}'",
        "model.backbone.weights=IMAGENET1K_V1",
        "a=data",
    ]


def test_evaluation_gets_the_place_of_the_data_alone():
    overrides = ["paths.data=d", "data.check_md5=false", "data.views=2", "model.mixup=0"]
    assert evaluation_overrides(overrides) == ["paths.data=d", "data.check_md5=false"]
