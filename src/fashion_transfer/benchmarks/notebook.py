"""`make notebook`: runs a notebook from top to bottom, and stores it with its outputs.

Settings that are given here are used and not stored: the stored notebook has its own. Nor does it
have anything that names this machine, such as a path.
"""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from importlib import import_module
from os.path import expanduser
from pathlib import Path
from typing import Any

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.files import write_text

Notebook = dict[str, Any]
"""A notebook in format 4.5, as JSON."""

QUICKSTART = Path("notebooks/quickstart.ipynb")
SETTINGS = "settings"
"""The id of the cell with the settings."""

TIMEOUT = 1800
"""Seconds that a cell may take."""

WIDGET = "application/vnd.jupyter.widget-view+json"
"""A progress bar: it lives as long as its kernel."""

PAGE = "The page appears here when the cell is run."

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

PATHS = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|var|work|usr|opt|private)/[\w.-]|site-packages"
)
"""What a path on some machine looks like."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the notebook that the arguments name, stores it, and prints how long it took.

    Args:
        arguments: of the command line; None: those of this process.

    Raises:
        FashionTransferError: a cell fails, or an output names this machine.
    """
    options = _parse(arguments)
    path = Path(options.notebook)
    settings = {"WEIGHTS": options.weights, "DATA": options.data}
    given = {name: _absolute(value) for name, value in settings.items() if value}
    notebook = read_notebook(path)
    start = time.perf_counter()
    ran = run_notebook(notebook, path.parent, given)
    seconds = time.perf_counter() - start
    output = Path(options.output or path)
    write_notebook(output, with_outputs(notebook, ran))
    print(f"{output}: {seconds:.0f} s, {output.stat().st_size / 1e6:.2f} MB")


def read_notebook(path: str | Path) -> Notebook:
    """Returns the notebook of a file.

    Raises:
        FashionTransferError: it is not there, or is no notebook in format 4.5 or newer.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        version = notebook["nbformat"], notebook["nbformat_minor"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FashionTransferError(f"{path} is no notebook ({error}): name an .ipynb") from error
    if version < (4, 5):
        raise FashionTransferError(f"{path} has format {version}: save it in format 4.5 or newer")
    return dict(notebook)


def write_notebook(path: str | Path, notebook: Notebook) -> None:
    """Writes a notebook as Jupyter does, whole or not at all."""
    nbformat: Any = _import("nbformat")
    write_text(path, nbformat.writes(nbformat.from_dict(notebook)) + "\n")


def code_cell(source: str, id: str) -> dict[str, Any]:
    """Returns a cell of code that has not run."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": id,
        "metadata": {},
        "outputs": [],
        "source": source,
    }


def with_settings(notebook: Notebook, settings: Mapping[str, Any]) -> Notebook:
    """Returns a copy in which one more cell, after the settings, changes some of them.

    Args:
        notebook: with a cell `SETTINGS`.
        settings: values by the name of the variable: numbers, texts, None.

    Raises:
        FashionTransferError: the notebook has no such setting.
    """
    changed = deepcopy(notebook)
    position = next(i for i, cell in enumerate(changed["cells"]) if cell.get("id") == SETTINGS)
    source = "".join(changed["cells"][position]["source"])
    unknown = [name for name in settings if not re.search(rf"^{name} = ", source, re.MULTILINE)]
    if unknown:
        raise FashionTransferError(f"the notebook has no setting {', '.join(unknown)}")
    lines = [f"{name} = {value!r}\n" for name, value in settings.items()]
    changed["cells"].insert(position + 1, code_cell("".join(lines), "other-settings"))
    return changed


def run_notebook(
    notebook: Notebook,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    kernel: str = "python3",
) -> Notebook:
    """Runs all cells in one kernel, in their order, and returns a copy with their outputs.

    Args:
        notebook: what to run.
        folder: where the kernel starts, as Jupyter does in the notebook's own.
        settings: see `with_settings`.
        kernel: name of the kernel.

    Raises:
        FashionTransferError: a cell fails; the message ends in its traceback.
    """
    nbformat, nbclient = _import("nbformat"), _import("nbclient")
    text = json.dumps(with_settings(notebook, settings or {}))
    client = nbclient.NotebookClient(
        nbformat.reads(text, as_version=4),
        timeout=TIMEOUT,
        kernel_name=kernel,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
    )
    try:
        ran = client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        raise FashionTransferError(f"a cell of the notebook failed:\n{error}") from error
    return dict(json.loads(json.dumps(ran)))


def with_outputs(notebook: Notebook, ran: Notebook) -> Notebook:
    """Returns a notebook with the outputs of its cells, and nothing else, of one that ran.

    Args:
        notebook: as it is to be stored.
        ran: what `run_notebook` gives for it.

    Raises:
        FashionTransferError: an output names this machine.
    """
    cells = {cell["id"]: cell for cell in ran["cells"]}
    stored = deepcopy(notebook)
    stored["metadata"] = deepcopy(METADATA)
    number = 0
    for cell in stored["cells"]:
        if cell["cell_type"] == "code":
            number += 1
            cell["execution_count"] = number
            cell["outputs"] = [
                _storable(o, number) for o in cells[cell["id"]]["outputs"] if _lasts(o)
            ]
    if names := machine_names(stored):
        raise FashionTransferError(
            f"outputs name this machine ({'; '.join(names)}): have the cell print something else"
        )
    return stored


def machine_names(notebook: Notebook) -> list[str]:
    """Returns what names the machine that a notebook ran on: lines with a path of it."""
    own = [name for name in (str(Path.home()), sys.prefix, str(Path.cwd())) if len(name) > 3]
    return [
        line.strip()
        for text in _texts(notebook)
        for line in text.splitlines()
        if PATHS.search(line) or any(name in line for name in own)
    ]


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise FashionTransferError(f"{name} is not installed: run `make install`") from error


def _texts(notebook: Notebook) -> Iterator[str]:
    """All text of a notebook: its sources, and its outputs but for pictures."""
    yield json.dumps(notebook["metadata"])
    for cell in notebook["cells"]:
        yield "".join(cell["source"])
        for output in cell.get("outputs", ()):
            texts = {n: v for n, v in output.get("data", {}).items() if not n.startswith("image/")}
            yield from ("".join(map(str, v)) for v in texts.values())
            yield "".join(output.get("text", ""))
            yield "\n".join(output.get("traceback", ()))


def _lasts(output: Mapping[str, Any]) -> bool:
    """Whether an output is still of use when its kernel has ended."""
    return WIDGET not in output.get("data", {})


def _storable(output: Mapping[str, Any], number: int) -> dict[str, Any]:
    """An output with one picture, and a sentence instead of a page that its kernel serves."""
    stored = deepcopy(dict(output))
    if "image/png" in stored.get("data", {}):
        stored["data"].pop("image/jpeg", None)
    if "<iframe" in "".join(output.get("data", {}).get("text/html", "")):
        stored["data"] = {"text/plain": PAGE}
    if "execution_count" in stored:
        stored["execution_count"] = number
    return stored


def _absolute(value: str) -> str:
    """A path as the notebook's kernel reads it, which starts elsewhere; a name as it is."""
    return str(Path(value).resolve()) if Path(value).exists() else value


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make notebook", description=main.__doc__)
    parser.add_argument("notebook", nargs="?", default=QUICKSTART, help="the notebook's file")
    parser.add_argument(
        "--weights", type=expanduser, help="file of weights to use instead of WEIGHTS"
    )
    parser.add_argument("--data", help="folder of data to use instead of DATA")
    parser.add_argument("--output", help="where to store it; by default the notebook itself")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        main()
    except FashionTransferError as error:
        sys.exit(f"error: {error}")
