"""The notebook runs from top to bottom, in a clone and outside, and is stored with its outputs."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import pytest
from git_repository import commit

from fashion_transfer.benchmarks.notebook import (
    code_cell,
    machine_names,
    read_notebook,
    run_notebook,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
MAX_BYTES = 1_500_000
BUILD = "setuptools>=78.1.1"
"""What pip builds the package with, as pyproject.toml states."""

TINY = {
    "BACKBONE": "resnet18",
    "WEIGHTS": None,
    "IMAGE_SIZE": 32,
    "IMAGES_PER_CLASS": 8,
    "VAL_PER_CLASS": 4,
    "EPOCHS": 2,
    "IMAGES_PER_SET": 40,
    "CHECK_MD5": False,
}

DRAWN = [
    "data",
    "views",
    "composites",
    "curves",
    "test",
    "mistakes",
    "calibration",
    "warning-examples",
    "photos",
]
"""Cells with a picture, by id."""

BESIDE = {
    # No download, and no passes filled up to the usual size.
    "settings": """
        from fashion_transfer.data import cutout_net
        from fashion_transfer.errors import FashionTransferError
        from fashion_transfer.features.engine import MAX_PASS_SIZE

        def no_net(*options):
            raise FashionTransferError("neither GitHub nor PyPI gave the cut-out net")

        MAX_PASS_SIZE["cpu"] = 8
        cutout_net.get_net = no_net
    """,
    "checkpoint": """
        print(Path(fashion_transfer.__file__).parent)
    """,
    "page": """
        from gradio_client import Client, handle_file

        paths = [str(image.path) for image, _ in shown]
        client = Client(page.url, verbose=False)
        rows = client.predict([handle_file(path) for path in paths], api_name="/predict")
        print([row["label"] for row in rows] == [image.prediction.label for image, _ in shown])
        page.close()
    """,
}
"""Cells that run beside the notebook's own, by the id of the one before."""


@pytest.fixture(scope="module")
def notebook():
    return read_notebook(QUICKSTART)


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """The environment of kernels: nothing of the user's, one thread."""
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("PYTHONPATH", raising=False)


def source(notebook, name):
    return next("".join(cell["source"]) for cell in notebook["cells"] if cell["id"] == name)


def printed(notebook, name):
    """The text that a cell printed."""
    cell = next(cell for cell in notebook["cells"] if cell["id"] == name)
    return "".join("".join(output.get("text", "")) for output in cell["outputs"])


def drawn(notebook):
    """The ids of the cells that drew something."""
    return [
        cell["id"]
        for cell in notebook["cells"]
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))
    ]


def run(notebook, folder, data, kernel="python3"):
    """Runs all cells and those `BESIDE` them, in a small setting, and checks the outputs."""
    cells = []
    for cell in notebook["cells"]:
        cells.append(cell)
        if code := BESIDE.get(cell["id"]):
            cells.append(code_cell(textwrap.dedent(code), f"after-{cell['id']}"))
    longer = notebook | {"cells": cells}
    ran = run_notebook(longer, folder, TINY | {"DATA": str(data)}, kernel)
    assert drawn(ran) == DRAWN
    assert "weights: random" in printed(ran, "features")
    assert "test accuracy" in printed(ran, "test")
    assert "composites, layouts held out" in printed(ran, "warning")
    assert printed(ran, "checkpoint").count("->") == 5
    assert "Nothing can be cut out: neither GitHub nor PyPI" in printed(ran, "photos")
    assert printed(ran, "after-page") == "True\n"
    return ran


# ---- running it


def test_notebook_runs_in_a_clone_with_its_source(notebook, idx_dir, tmp_path, kernels):
    # One of its own, so that the run is not left behind in this one.
    clone = tmp_path / "clone"
    (clone / "notebooks").mkdir(parents=True)
    (clone / "src").symlink_to(ROOT / "src")
    shutil.copy(ROOT / "pyproject.toml", clone)
    ran = run(notebook, clone / "notebooks", idx_dir)
    assert printed(ran, "install") == "fashion_transfer comes from this clone\n"
    assert printed(ran, "after-checkpoint").strip() == str(clone / "src" / "fashion_transfer")
    assert [path.name for path in (clone / "notebooks").iterdir()] == []
    assert [*(clone / "logs" / "notebook").rglob("classifier.ckpt")]


@pytest.fixture
def address(tmp_path):
    """The git address of a repository with what is installed."""
    folder = tmp_path / "repository"
    cache = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=cache)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    commit(folder)
    return folder.as_uri()


@pytest.fixture
def environment(tmp_path, monkeypatch, kernels):
    """An environment of its own, with a kernel of the same name and the packages of this one.

    The project itself is not among them. Only what pip builds with may come from an index.
    """
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=os.name != "nt")
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    Path(paths["purelib"], "packages.pth").write_text("\n".join(packages))
    kernel = folder / "share" / "jupyter" / "kernels" / "environment"
    kernel.mkdir(parents=True)
    python = str(folder / "bin" / "python")
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "environment", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
    pip = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=0", "--timeout=5"]
    wheels = tmp_path / "wheels"
    ended = subprocess.run([*pip, f"--dest={wheels}", BUILD], capture_output=True, text=True)
    if ended.returncode:
        pytest.skip(f"pip cannot get {BUILD}: {ended.stderr.strip().splitlines()[-1:]}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PIP_NO_COMPILE", "1")
    return folder


def test_notebook_installs_the_project_from_its_address_alone(
    notebook, idx_dir, tmp_path, environment, address
):
    folder = tmp_path / "empty"
    folder.mkdir()
    named = json.loads(
        json.dumps(notebook).replace('REPOSITORY = \\"\\"', f"REPOSITORY = '{address}'")
    )
    ran = run(named, folder, idx_dir, "environment")
    assert printed(ran, "install").endswith("fashion_transfer comes from the installed package\n")
    assert Path(printed(ran, "after-checkpoint").strip()).is_relative_to(environment)
    assert [path.name for path in folder.iterdir()] == ["logs"]
    assert [*(folder / "logs" / "notebook").rglob("classifier.ckpt")]


@pytest.fixture
def run_cells(notebook, monkeypatch):
    """`run_cells(*names, installed=True)`: runs cells here, as if all or nothing were installed."""

    def run_here(*names, installed=True):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed or None)
        monkeypatch.setattr(sys, "path", list(sys.path))
        namespace = {}
        for name in names:
            transformer = pytest.importorskip("IPython.core.inputtransformer2")
            code = transformer.TransformerManager().transform_cell(source(notebook, name))
            exec(code, namespace)
        return namespace

    return run_here


def test_without_clone_and_address_one_sentence_states_what_to_do(run_cells, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="^Write the address of the repository .*\\.$") as stop:
        run_cells("install", installed=False)
    assert stop.value._render_traceback_() == [str(stop.value)]


@pytest.mark.parametrize("inside", [True, False], ids=["in a clone", "elsewhere"])
def test_data_belong_into_the_clone_or_into_this_folder(run_cells, tmp_path, monkeypatch, inside):
    monkeypatch.chdir(ROOT / "notebooks" if inside else tmp_path)
    assert run_cells("install", "settings")["DATA"] == (ROOT / "data" if inside else Path("data"))


# ---- what is stored


def test_stored_notebook_is_valid(notebook):
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(notebook))
    assert QUICKSTART.stat().st_size < MAX_BYTES


def test_stored_notebook_has_the_outputs_of_one_run(notebook):
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert drawn(notebook) == DRAWN
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert not [output for output in outputs if output.get("name") == "stderr"]


def test_stored_notebook_names_no_machine(notebook):
    assert machine_names(notebook) == []
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert not any(cell["metadata"] for cell in notebook["cells"])


def test_stored_notebook_has_the_default_settings(notebook):
    assert re.search(r'^REPOSITORY = ""$', source(notebook, "install"), re.MULTILINE)
    settings = source(notebook, "settings")
    assert re.search(r'^WEIGHTS = "IMAGENET1K_V1"', settings, re.MULTILINE)
    assert [line.split(" = ")[0] for line in settings.splitlines()] == [*TINY][:-1] + [
        "DATA",
        "CHECK_MD5",
    ]


def test_stored_notebook_names_the_weights_that_its_numbers_are_of(notebook):
    match = re.match(r"weights: (\S+); licence: (.+)", printed(notebook, "features"))
    assert match
    assert f"`{match[1]}`" in source(notebook, "settings-text")
    assert match[2].split(" (")[0] in source(notebook, "settings-text")


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=lambda c: c[0])
def test_cells_have_the_style_of_the_code(command):
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    ended = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", str(QUICKSTART)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_extras_that_the_notebook_installs_exist(notebook):
    [extras] = re.findall(r"fashion-transfer\[([a-z,]+)\]", source(notebook, "install"))
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra
