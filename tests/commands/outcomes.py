"""Reads what runs of the commands left, for tests of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

State = dict[str, torch.Tensor]


def only_run(logs: Path, command: str = "train") -> Path:
    """The folder of the only run of a command."""
    [folder] = (logs / command / "runs").iterdir()
    return folder


def read_metrics(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def without_seconds(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not name.startswith("seconds/")}


def of_test(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name.startswith("test/")}


def state_of(checkpoint: Path) -> State:
    state: State = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def same_state(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
