"""How the source is built: import circles, layers, sizes, and words that are no names here."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import yaml

PACKAGE = "fashion_transfer"
SOURCE = Path(__file__).resolve().parents[1]
PLAIN = {"errors", "files", "paths", "progress", "ranks", "terminal"}
DATA = {*PLAIN, "data"}
MODELS = {*DATA, "features", "confidence"}
EVALUATION = {*MODELS, "synthetic", "models"}

MAY_IMPORT = {
    "": {"models"},  # the package itself, for `load`
    "errors": set(),
    "paths": set(),
    "progress": set(),
    "ranks": set(),
    "terminal": {"errors", "files", "paths"},
    "files": {"errors", "paths", "progress"},
    "data": PLAIN,
    "features": PLAIN,
    "confidence": PLAIN,
    "runs": PLAIN,
    "synthetic": DATA,
    "models": MODELS,
    "evaluation": EVALUATION,
    "reporting": {*PLAIN, "confidence"},
    "search": {*PLAIN, "runs", "reporting"},
    "export": {*MODELS, "models"},
    "page": {*MODELS, "models", "reporting"},
    "commands": {*EVALUATION, "evaluation", "reporting", "export", "page", "runs", "search"},
    "benchmarks": {*EVALUATION, "evaluation", "reporting", "export", "page", "runs", "search"},
}
"""The packages that each package may import, beside itself."""

PRIVATE_WORDS = {
    "told",
    "kind",
    "kinds",
    "several",
    "settle",
    "settled",
    "made",
    "tail",
    "strange",
    "familiar",
    "sure",
    "kept",
    "answer",
    "answers",
    "says",
    "whatever",
    "framing",
}
"""Words that are no part of a name: the field has better ones."""

PRIVATE_NAMES = {"found", "frame", "least", "right"}
"""Words that are no name by themselves; `right` is one beside a `left`."""


class Size(NamedTuple):
    """A file or a class, and its lines."""

    name: str
    lines: int


def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Returns the files of the package by module name, such as `fashion_transfer.data.batch`."""
    files = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
        files[".".join((PACKAGE, *parts))] = path
    return files


def count_lines(*files: str, source: Path = SOURCE) -> int:
    """Returns the lines of some files together.

    Args:
        files: relative to `source`.
        source: folder of the package.
    """
    return sum(len((source / file).read_text(encoding="utf-8").splitlines()) for file in files)


def import_graph(source: Path = SOURCE) -> dict[str, set[str]]:
    """Returns the modules that each module imports, anywhere in it; others' packages are left out.

    An import for type checkers alone does not count: it is never executed.
    """
    files = modules(source)
    return {
        name: {m for m in _imports(ast.parse(path.read_text("utf-8")), set(files)) if m != name}
        for name, path in files.items()
    }


def import_circles(source: Path = SOURCE) -> list[list[str]]:
    """Returns circles of imports, each as its modules; breaking each of them leaves none."""
    graph = import_graph(source)
    circles = []
    while True:
        try:
            tuple(TopologicalSorter(graph).static_order())
        except CycleError as error:
            circle: list[str] = error.args[1]
            circles.append(circle)
            # A circle is given as predecessors: each imports the one before it.
            graph[circle[1]].discard(circle[0])
            graph[circle[0]].discard(circle[1])
        else:
            return circles


def upward_imports(source: Path = SOURCE) -> list[str]:
    """Returns imports against the direction of the layers (see `MAY_IMPORT`), as sentences."""
    upward = []
    for module, imported in import_graph(source).items():
        package = _package(module)
        for name in sorted(imported):
            allowed = {package, *MAY_IMPORT.get(package, set())}
            if _package(name) not in allowed:
                upward.append(f"{module} imports {name}")
    return upward


def private_words(source: Path = SOURCE) -> list[str]:
    """Returns names in the source that hold a private word, each with file and line."""
    names = []
    for path in modules(source).values():
        bound = list(_bound_names(ast.parse(path.read_text("utf-8"))))
        has_left = any(name == "left" for name, _ in bound)
        for name, line in bound:
            if name == "right" and has_left:
                continue
            if name in PRIVATE_NAMES or PRIVATE_WORDS & set(_words(name)):
                names.append(f"{path.relative_to(source)}:{line} {name}")
    return names


def private_keys(configuration: Path) -> list[str]:
    """Returns keys of the configuration that hold a private word, each with its file."""
    keys = []
    for path in sorted(configuration.rglob("*.yaml")):
        for key in _keys(yaml.safe_load(path.read_text("utf-8"))):
            if key in PRIVATE_NAMES or PRIVATE_WORDS & set(_words(key)):
                keys.append(f"{path.relative_to(configuration)} {key}")
    return keys


def file_sizes(folder: Path = SOURCE) -> list[Size]:
    """Returns every Python file with its lines, the largest first."""
    sizes = [
        Size(str(path.relative_to(folder)), len(path.read_text("utf-8").splitlines()))
        for path in folder.rglob("*.py")
    ]
    return sorted(sizes, key=lambda size: (-size.lines, size.name))


def class_sizes(source: Path = SOURCE) -> list[Size]:
    """Returns every class with its lines, the largest first."""
    sizes = []
    for module, path in modules(source).items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                sizes.append(Size(f"{module}.{node.name}", lines))
    return sorted(sizes, key=lambda size: (-size.lines, size.name))


def _package(module: str) -> str:
    return f"{module}.".split(".")[1]


def _imports(tree: ast.AST, known: set[str]) -> Iterator[str]:
    for node in _executed(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else node.module


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _executed(node)


def _bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Names that the source gives: of functions, classes, arguments, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def _words(name: str) -> list[str]:
    """The words of a name: `makeTail`, `make_tail` and `MAKE_TAIL` are make and tail."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in spaced.lower().split("_") if word]


def _keys(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(node, list):
        for entry in node:
            yield from _keys(entry)
