"""Notebooks run from top to bottom, on small generated data."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_of_notebook_run_in_order(path, idx_dir, capsys):
    cells = [
        "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if cell["cell_type"] == "code"
    ]
    # The first cell is the settings; everything after it must run with tiny ones, too.
    settings = {
        "BACKBONE": "resnet18",
        "WEIGHTS": None,
        "IMAGE_SIZE": 32,
        "IMAGES_PER_CLASS": 8,
        "VAL_PER_CLASS": 4,
        "EPOCHS": 1,
        "COMPOSITES": 16,
        "CONTROLS": 16,
        "DATA": str(idx_dir),
        "CHECK_MD5": False,
    }
    namespace: dict = {}
    exec(cells[0], namespace)
    assert set(settings) == {name for name in namespace if name.isupper()}
    namespace |= settings
    for cell in cells[1:]:
        exec(cell, namespace)
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_output(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
