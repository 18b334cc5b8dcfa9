"""What `make` would do, with the programs that it calls stood in for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMES = [
    f"{name}-idx{dimensions}-ubyte.gz"
    for name, dimensions in (
        ("train-images", 3),
        ("train-labels", 1),
        ("t10k-images", 3),
        ("t10k-labels", 1),
    )
]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


@pytest.fixture
def make(tmp_path):
    """`make(*arguments)`: make in a folder where Python, apt-get and dpkg-deb are scripts.

    Python finds the data where there are four files, and no weights; apt-get finds the package.
    """
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    programs = {
        ".venv/bin/python": """
            case "$2" in
                fashion_transfer.data) [ "$(ls data/*.gz 2>/dev/null | wc -l)" = 4 ];;
                fashion_transfer.features) exit 1;;
                fashion_transfer.data.cutout_net | fashion_transfer.benchmarks.*)
                    echo "asked for: $*";;
                pip_audit) echo "looked up: $*"; exit 1;;
            esac
            case "$*" in *pypi.org*) [ -e pypi.org ];; esac
            case "$1" in train.py | search.py) echo "trained: $*";; esac
        """,
        "bin/apt-get": 'case "$*" in *download*) touch package.deb;; esac',
        "bin/dpkg-deb": f"""
            mkdir -p usr/share/datasets/fashion-mnist && cd usr/share/datasets/fashion-mnist
            for name in {" ".join(NAMES)}; do echo of the package >"$name"; done
        """,
    }
    for name, script in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/bash\nset -e\n{script}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()

    def run(*arguments: str) -> subprocess.CompletedProcess:
        path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # `make test` itself leaves ARGS, WEIGHTS, MAKEFLAGS, MAKELEVEL and MFLAGS behind.
        left = ("ARGS", "WEIGHTS", "MFLAGS")
        clean = {k: v for k, v in os.environ.items() if k not in left and not k.startswith("MAKE")}
        return subprocess.run(
            ["make", *arguments],
            cwd=tmp_path,
            env=clean | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
        )

    run.folder = tmp_path
    return run


@pytest.fixture
def data(make):
    """The folder that `make data` fills."""
    (make.folder / "data").mkdir()
    return make.folder / "data"


def test_the_package_gives_the_files_that_are_not_there(make, data):
    ended = make("data")
    assert ended.returncode == 0, ended.stderr
    assert sorted(file.name for file in data.iterdir()) == sorted(NAMES)


def test_files_that_are_there_are_left_as_they_are(make, data):
    (data / NAMES[0]).write_text("the user's own\n")
    ended = make("data")
    assert ended.returncode == 0, ended.stderr
    found = {file.name: file.read_text() for file in data.iterdir()}
    assert found == dict.fromkeys(NAMES, "of the package\n") | {NAMES[0]: "the user's own\n"}


@pytest.mark.parametrize(
    "chosen",
    [
        "debug=tiny",
        "ckpt_path=last",
        "experiment=fast",
        "model/backbone=resnet50",
        "seed=1 model.backbone.weights=x.pth",
    ],
)
def test_what_says_which_backbone_is_wanted_leaves_the_choice_to_it(make, data, chosen):
    ended = make("train", f"ARGS={chosen}")
    assert ended.stdout.splitlines()[-1] == f"trained: train.py {chosen}", ended.stderr


@pytest.mark.parametrize("other", ["", "seed=1", "trainer.max_epochs=1"])
def test_without_weights_it_trains_the_offline_experiment_and_says_so(make, data, other):
    ended = make("train", f"ARGS={other}")
    trained = " ".join(["trained: train.py experiment=offline", *filter(None, [other])])
    assert ended.stdout.splitlines()[-1] == trained, ended.stderr
    assert "not on this machine" in ended.stderr


@pytest.mark.parametrize(
    "name", ["a b.pth", "it's.pth", 'so "called".pth', "~/w.pth", "$x`y`.pth", "$(x)", "a\\", "#1"]
)
def test_weights_are_handed_on_as_they_were_typed(make, data, name):
    override = f"model.backbone.weights={name}"
    for target, expected in (
        ("train", f"trained: train.py {override} seed=1"),
        ("search", f"trained: search.py {override} seed=1"),
        ("photos", f"asked for: -m fashion_transfer.benchmarks.cross_fit --weights={name} seed=1"),
    ):
        ended = make(target, f"WEIGHTS={name}", "ARGS=seed=1")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.splitlines()[-1] == expected


def test_the_index_of_packages_is_handed_on_to_what_gets_the_cutout_net(make):
    ended = make("cutout", "PIP_ARGS=--index-url=https://my.company")
    assert ended.returncode == 0, ended.stderr
    asked = "asked for: -m fashion_transfer.data.cutout_net --index-url=https://my.company"
    assert ended.stdout.splitlines()[-1] == asked


def test_audit_without_its_data_base_says_that_nothing_was_looked_up(make):
    ended = make("audit")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("make audit: the data base of security holes (pypi.org) is out of reach")


def test_audit_fails_on_what_is_found(make):
    (make.folder / "pypi.org").touch()
    ended = make("audit")
    assert ended.returncode != 0
    assert ended.stdout.splitlines()[-1] == "looked up: -m pip_audit --local --skip-editable"
