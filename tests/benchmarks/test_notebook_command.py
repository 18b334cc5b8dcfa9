"""`make notebook`: what is run, and what of it is stored."""

import json
from pathlib import Path

import pytest

from fashion_transfer.benchmarks import notebook as command
from fashion_transfer.benchmarks.notebook import (
    METADATA,
    PAGE,
    code_cell,
    machine_names,
    main,
    read_notebook,
    run_notebook,
    with_outputs,
    with_settings,
    write_notebook,
)
from fashion_transfer.errors import FashionTransferError


def notebook_of(*cells):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def ran_with(*outputs, **metadata):
    """A notebook with one cell, and the same after a run that gave these outputs."""
    notebook = notebook_of(code_cell("1 + 1", "sum"))
    cell = notebook["cells"][0] | {"execution_count": 7, "outputs": list(outputs)}
    return notebook, notebook | {"cells": [cell], "metadata": metadata}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


@pytest.fixture
def settings():
    return notebook_of(code_cell("WEIGHTS = 'a'  # why\nEPOCHS = 2\n", "settings"))


def test_settings_are_changed_in_a_cell_of_their_own(settings):
    changed = with_settings(settings, {"WEIGHTS": None, "EPOCHS": 3})
    assert [cell["source"] for cell in changed["cells"]] == [
        settings["cells"][0]["source"],
        "WEIGHTS = None\nEPOCHS = 3\n",
    ]
    assert len(settings["cells"]) == 1


def test_a_setting_that_does_not_exist_is_refused(settings):
    with pytest.raises(FashionTransferError, match="has no setting EPOCH$"):
        with_settings(settings, {"EPOCHS": 1, "EPOCH": 1})


def test_outputs_are_stored_with_the_number_of_their_cell():
    result = {"output_type": "execute_result", "execution_count": 7, "data": {}, "metadata": {}}
    notebook, ran = ran_with(stream("2\n"), result, user="somebody")
    stored = with_outputs(notebook, ran)
    [cell] = stored["cells"]
    assert cell["execution_count"] == 1
    assert cell["outputs"] == [stream("2\n"), result | {"execution_count": 1}]
    assert stored["metadata"] == METADATA


def test_progress_bars_are_not_stored():
    bar = {"output_type": "display_data", "metadata": {}, "data": {command.WIDGET: {}}}
    [cell] = with_outputs(*ran_with(bar, stream("2\n")))["cells"]
    assert cell["outputs"] == [stream("2\n")]


def test_a_page_that_ends_with_its_kernel_is_stored_as_a_sentence():
    data = {"text/html": ["<div>", '<iframe src="http://127.0.0.1:7860/">'], "text/plain": "<x>"}
    page = {"output_type": "display_data", "metadata": {}, "data": data}
    [cell] = with_outputs(*ran_with(page))["cells"]
    assert cell["outputs"][0]["data"] == {"text/plain": PAGE}


def test_a_picture_is_stored_once():
    data = {"image/jpeg": "b", "image/png": "a", "text/plain": "<x>"}
    result = {"output_type": "execute_result", "execution_count": 7, "data": data, "metadata": {}}
    [cell] = with_outputs(*ran_with(result))["cells"]
    assert cell["outputs"][0]["data"] == {"image/png": "a", "text/plain": "<x>"}


@pytest.mark.parametrize(
    "text",
    [
        "saved /home/somebody/logs/best.ckpt",
        "C in '/root/x'",
        "/usr/lib/python3/dist-packages/x.py:1: UserWarning",
        "lib/site-packages/x.py",
        f"{Path.cwd()}",
    ],
)
def test_outputs_that_name_the_machine_are_refused(text):
    with pytest.raises(FashionTransferError, match="outputs name this machine"):
        with_outputs(*ran_with(stream(f"first\n{text}\n")))


@pytest.mark.parametrize("text", ["T-shirt/top", "and/or", "https://example.org/home/x", "1/2"])
def test_other_slashes_are_no_path(text):
    assert machine_names(ran_with(stream(text))[1]) == []


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"nbformat": 4}'])
def test_what_is_no_notebook_is_refused(tmp_path, content):
    path = tmp_path / "x.ipynb"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FashionTransferError, match="is no notebook"):
        read_notebook(path)


def test_an_older_format_is_refused(tmp_path, settings):
    write_notebook(tmp_path / "x.ipynb", settings | {"nbformat_minor": 4})
    with pytest.raises(FashionTransferError, match="format 4.5 or newer"):
        read_notebook(tmp_path / "x.ipynb")


def test_what_is_given_reaches_the_run_and_not_the_file(settings, tmp_path, monkeypatch, capsys):
    path, weights = tmp_path / "x.ipynb", tmp_path / "w.pth"
    write_notebook(path, settings)
    weights.touch()
    given = []

    def fake(notebook, folder, settings):
        given.append((folder, settings))
        return with_settings(notebook, settings)

    monkeypatch.setattr(command, "run_notebook", fake)
    monkeypatch.chdir(tmp_path)
    main(["x.ipynb", "--weights", "w.pth"])
    assert given == [(Path(), {"WEIGHTS": str(weights)})]
    assert "w.pth" not in path.read_text()
    assert json.loads(path.read_text())["cells"][0]["execution_count"] == 1
    assert capsys.readouterr().out.startswith("x.ipynb: 0 s")


def test_a_cell_that_fails_stops_the_run_with_its_error(settings, tmp_path, monkeypatch):
    pytest.importorskip("ipykernel")
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    settings["cells"].append(code_cell("{}['nothing there']", "fails"))
    with pytest.raises(FashionTransferError, match="nothing there"):
        run_notebook(settings, tmp_path)
