"""Keys of finished runs: equal only if nothing has changed that can change a number.

Comments, docstrings and layout of the source change no number, so they are left out.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from fashion_transfer.benchmarks.recipes import Recipe

PACKAGES = ("data", "synthetic", "features", "models", "confidence", "evaluation")
"""Whose source can change a number. What reports, writes files or words an error cannot."""

LIBRARIES = ("torch", "torchvision", "lightning", "numpy", "timm")

TRAINING = ("commands/train", "commands/trainer", "commands/build", "ranks")
"""What the numbers of a run depend on beside those packages."""

BASELINE = ("benchmarks/baselines", "benchmarks/candidates")
BASELINE_LIBRARIES = ("scikit-learn", "scikit-image")
"""What the numbers of a baseline depend on, too."""

SOURCE = Path(__file__).resolve().parents[1]


def run_key(recipe: Recipe, weights_sha256: str) -> str:
    """Returns the key of a training run: recipe, weights, configuration, source, libraries.

    Experiments count only where the recipe names one, and weights where it takes them.
    """
    experiments = any(override.startswith("experiment=") for override in recipe.overrides)
    return _digest(
        (*recipe.program, *recipe.overrides),
        weights_sha256 if recipe.resnet else "",
        _configuration(experiments),
        _source((*TRAINING, *(BASELINE if recipe.baseline else ()))),
        _versions((*LIBRARIES, *(BASELINE_LIBRARIES if recipe.baseline else ()))),
    )


def evaluation_key(checkpoints: Sequence[Path], *others: str) -> str:
    """Returns the key of an `evaluate.py` run: checkpoints, configuration, source, libraries.

    Args:
        checkpoints: files.
        *others: further things that it depends on.
    """
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in checkpoints]
    source = _source(("commands/evaluate", "commands/inference", "commands/build"))
    configuration = _configuration(experiments=False)
    return _digest(hashes, configuration, source, _versions(LIBRARIES), others)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _configuration(experiments: bool) -> dict[str, Any]:
    files = sorted(Path("conf").rglob("*.yaml"))
    return {
        str(file): _contents(file.read_text(encoding="utf-8"))
        for file in files
        if experiments or file.parent.name != "experiment"
    }


@cache
def _contents(text: str) -> Any:
    # A first line `# @package _global_` is a comment for YAML, but not for Hydra.
    package = [line for line in text.splitlines() if line.startswith("# @package")]
    return [package, yaml.safe_load(text)]


def _source(modules: Iterable[str]) -> dict[str, str]:
    files = [file for name in PACKAGES for file in sorted((SOURCE / name).rglob("*.py"))]
    files += [SOURCE / f"{name}.py" for name in modules]
    return {
        str(file.relative_to(SOURCE)): _code(file.read_text("utf-8"))
        for file in files
        if file.is_file()
    }


@cache
def _code(text: str) -> str:
    """Hash of the syntax tree of a file without its docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_string(part)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_string(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    versions = {}
    for name in libraries:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    return versions
